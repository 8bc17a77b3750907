use insta::assert_snapshot;

use crate::place::Place;

/// Runs the binary without a configuration, whose path would be shown.
fn bare(arguments: &[&str]) -> std::process::Output {
    Place::new().command(arguments).env_remove("BANTAM_CONFIG").output().unwrap()
}

#[test]
fn help_lists_the_commands_and_the_flags_of_all() {
    assert_snapshot!(String::from_utf8(bare(&["--help"]).stdout).unwrap());
}

#[test]
fn without_a_command_the_help_is_shown_and_it_is_a_mistake() {
    let output = bare(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stderr, bare(&["-h"]).stdout);
}

#[test]
fn a_flag_that_is_not_there_gets_the_nearest_one() {
    assert_snapshot!(Place::new().run(&["usage", "--bye", "task"]));
}

#[test]
fn a_share_beyond_one_is_refused_with_an_example() {
    assert_snapshot!(Place::new().run(&["certify", "desk", "--error", "2"]));
}
