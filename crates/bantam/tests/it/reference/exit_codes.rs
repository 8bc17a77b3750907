//! `exit-codes.md`, from the outcomes of commands.

use bantam::Outcome;

use super::{check_page, head, heading, row};

const ALL: [Outcome; 7] = [
    Outcome::Failed,
    Outcome::Usage,
    Outcome::ModelMissing,
    Outcome::Offline,
    Outcome::Refused,
    Outcome::GateFailed,
    Outcome::Interrupted,
];

/// Returns what an outcome means. It is a match, so that a new outcome gets its words.
fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Failed => "It did not work.",
        Outcome::Usage => "The command, the configuration or a file is not understood.",
        Outcome::ModelMissing => "A model, a student or its base is missing.",
        Outcome::Offline => "The network is needed and may not be used.",
        Outcome::Refused => "A key or a budget refused it.",
        Outcome::GateFailed => "A gate failed: a certificate could not be proved, for example.",
        Outcome::Interrupted => "Interrupted by Ctrl-C.",
    }
}

#[test]
fn the_page_of_exit_codes_is_the_list_of_outcomes() {
    let mut page =
        head("Exit codes", "Every command ends with one of these, so that scripts can tell failures apart.");
    page.push('\n');
    page.push_str(&heading(&["Code", "Meaning"]));
    page.push_str(&row(&["0", "Done."]));
    for outcome in ALL {
        let code = outcome.code();
        page.push_str(&row(&[&code.to_string(), meaning(outcome)]));
    }
    page.push_str(
        "\nWith `--json` a failure is one object on standard error: `{\"error\": {\"message\", \"hint\", \"exit_code\"}}`.\n",
    );
    check_page("exit-codes.md", &page);
}
