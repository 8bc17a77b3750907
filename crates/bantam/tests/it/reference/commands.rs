//! `cli.md`, from clap's tree of commands.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::{cell, check_page, head, heading, row};

#[test]
fn the_page_of_commands_is_what_the_command_line_takes() {
    let mut root = bantam::command_line();
    root.build();
    let mut page = head(
        "Commands",
        "Every command of `bantam` with its arguments. `bantam COMMAND --help` shows the same in the terminal.",
    );
    page.push_str("\n## Flags of every command\n\n");
    page.push_str(&arguments(root.get_arguments().filter(|argument| is_shown(argument))));
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        describe(&mut page, command, "bantam");
    }
    check_page("cli.md", &page);
}

fn describe(page: &mut String, command: &Command, parent: &str) {
    let name = format!("{parent} {}", command.get_name());
    let aliases: Vec<String> = command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## {name}\n\n{}.", about(command));
    if !aliases.is_empty() {
        let _ = write!(page, " Also called {}.", aliases.join(", "));
    }
    page.push('\n');
    let own = || command.get_arguments().filter(|argument| is_shown(argument) && !argument.is_global_set());
    if own().next().is_some() {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = write!(page, "\n```text\n{usage}\n```\n\n{}", arguments(own()));
    }
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        describe(page, inner, &name);
    }
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(|text| cell(&text.to_string()))
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned()
}

fn is_shown(argument: &Arg) -> bool {
    !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
}

fn arguments<'a>(all: impl Iterator<Item = &'a Arg>) -> String {
    let rows = all.map(|argument| row(&[&spelling(argument), &meaning(argument)]));
    format!("{}{}", heading(&["Argument", "Meaning"]), rows.collect::<String>())
}

/// Returns how an argument is written: `--out FILE`, `-q`, `NAME`.
fn spelling(argument: &Arg) -> String {
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let names: Vec<&str> =
        argument.get_value_names().into_iter().flatten().map(clap::builder::Str::as_str).collect();
    let value = if takes_value { names.join(" ") } else { String::new() };
    let flags = [
        argument.get_long().map(|long| format!("--{long}")),
        argument.get_short().map(|short| format!("-{short}")),
    ];
    let flags = flags.into_iter().flatten().collect::<Vec<_>>().join(", ");
    match (flags.is_empty(), value.is_empty()) {
        (true, _) => format!("`{value}`"),
        (false, true) => format!("`{flags}`"),
        (false, false) => format!("`{flags} {value}`"),
    }
}

/// Returns what an argument means, with its values, its default and its variable.
fn meaning(argument: &Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    if takes_value && !values.is_empty() {
        let _ = write!(text, ". One of: {}", values.join("; "));
    }
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.display())).collect();
    if takes_value && !defaults.is_empty() {
        let _ = write!(text, ". Default: {}", defaults.join(", "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, ". Environment: `{}`", variable.display());
    }
    text
}
