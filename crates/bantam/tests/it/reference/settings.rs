//! `settings.md` and `environment.md`, from the tables of `bantam-config` and of the binary.

use std::fmt::Write as _;

use bantam_admin::HUB_VARIABLES;
use bantam_config::reference::{ALL, DefaultValue, SECTIONS};
use bantam_config::variables;

use super::{check_page, head, heading, row};

#[test]
fn the_page_of_settings_is_the_table_of_settings() {
    let mut page = head(
        "Settings",
        "Everything that `bantam.toml` may hold. `bantam config example` prints a file with comments, `bantam config check` \
         reports every mistake with its line, and `bantam config show --origin` says where each value comes from.\n\n\
         A flag (`--set KEY=VALUE`) beats the [environment](environment.md), which beats the file, which beats the default.",
    );
    for section in SECTIONS {
        // Writing to a string cannot fail.
        let _ = write!(page, "\n## `{}`\n\n{}\n\n", section.header, section.about);
        page.push_str(&heading(&["Key", "Value", "Default", "Meaning"]));
        for setting in ALL.iter().filter(|setting| setting.key.starts_with(section.prefix)) {
            let key = format!("`{}`", setting.key.trim_start_matches(section.prefix));
            let default = match setting.default {
                DefaultValue::Required => "required".to_owned(),
                DefaultValue::Unset => "–".to_owned(),
                DefaultValue::Value(value) => format!("`{value}`"),
                DefaultValue::Derived(words) => words.to_owned(),
            };
            page.push_str(&row(&[&key, &setting.kind.to_string(), &default, setting.about]));
        }
    }
    check_page("settings.md", &page);
}

#[test]
fn the_page_of_variables_is_both_tables_of_variables() {
    let mut page = head(
        "Environment variables",
        "The keys of upstreams and of callers are not in these tables: settings that end in `_env` or `_envs` name their variables.",
    );
    page.push_str("\n## Read by Bantam\n\n");
    page.push_str(&heading(&["Variable", "Meaning"]));
    let own = bantam::VARIABLES.iter().map(|variable| (variable.name, variable.about));
    let hub = HUB_VARIABLES.iter().map(|variable| (variable.name, variable.about));
    for (name, about) in own.chain(hub) {
        page.push_str(&row(&[&format!("`{name}`"), about]));
    }
    page.push_str(
        "\n## Settings that differ from machine to machine\n\n\
         What decides where data may go (`[privacy]`, `[upstreams]`, `[models]`) has no variable: that belongs in a file that \
         somebody reviews.\n\n",
    );
    page.push_str(&heading(&["Variable", "Setting", "Meaning", "Since"]));
    for variable in variables::ALL {
        let (name, key) = (format!("`{}`", variable.name), format!("`{}`", variable.key));
        page.push_str(&row(&[&name, &key, variable.about, variable.since]));
    }
    check_page("environment.md", &page);
}
