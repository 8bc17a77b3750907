//! `bantam engines`: what other engines run on this machine, what they have, and how to use them.

use bantam_admin::EngineReport;

use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;

pub(super) fn run(at: &[String], globals: &Globals) -> Result<(), Failure> {
    let found = super::runtime(1)?.block_on(bantam_admin::find_engines(at));
    let found = found.map_err(|error| Failure::from_error("cannot set up the HTTP client", &error))?;
    // Nobody need be at the usual addresses; at those that were asked for, somebody should.
    let wanted = found.unanswered.iter().filter(|one| one.is_other || !at.is_empty());
    for one in wanted.filter(|one| !globals.quiet || !one.is_other) {
        output::note(format!("{}: {}", one.address, one.reason));
    }
    if globals.json {
        return output::json(&found.engines);
    }
    if found.engines.is_empty() && !globals.quiet {
        output::line(format!("no engine answers at {}", found.addresses.join(", ")));
    }
    found.engines.iter().for_each(show);
    Ok(())
}

fn show(found: &EngineReport) {
    let EngineReport { engine, version, address, models, elsewhere, features, toml } = found;
    let version = version.as_deref().unwrap_or("of unknown version");
    output::line(format!("{engine} {version} at {address}: {} models", models.len()));
    if !elsewhere.is_empty() {
        output::line(format!("runs elsewhere, so never local: {}", elsewhere.join(", ")));
    }
    let mut rows = vec![["feature", "here", ""].map(str::to_owned).to_vec()];
    rows.extend(features.iter().map(|feature| {
        let here = if feature.is_there { "yes" } else { "no" };
        [&*feature.name, here, &*feature.note].map(str::to_owned).to_vec()
    }));
    output::table(&rows).iter().for_each(output::line);
    output::line(format!("\n{toml}"));
}
