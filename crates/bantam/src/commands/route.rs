//! `bantam route --explain`: the plan and why, without calling anybody.

use std::sync::Arc;

use bantam_books::MemoryBooks;
use bantam_gateway::{Gateway, Hints};
use serde_json::json;

use crate::cli::RouteArgs;
use crate::deploy;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(args: &RouteArgs, globals: &Globals) -> Result<(), Failure> {
    let config = globals.load_aloud()?;
    let deployment = deploy::deployment_aloud(&config, globals)?;
    // Nothing is settled, and no ledger is opened.
    let books = Arc::new(MemoryBooks::new());
    let gateway = Gateway::new(deployment, books, deploy::admission(&config), deploy::id_seed()?);
    let mut messages = Vec::new();
    if let Some(system) = &args.system {
        messages.push(json!({"role": "system", "content": system}));
    }
    messages.push(json!({"role": "user", "content": args.explain}));
    let body = json!({"model": args.model, "messages": messages}).to_string();
    let explained = super::runtime(1)?.block_on(gateway.explain(body.into(), Hints::default()));
    let explanation = explained.map_err(|error| Failure::new(Outcome::Usage, error.message))?;
    if globals.json {
        output::line(json!({"lines": explanation.lines}).to_string());
    } else {
        explanation.lines.iter().for_each(output::line);
    }
    Ok(())
}
