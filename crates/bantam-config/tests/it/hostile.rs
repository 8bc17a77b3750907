use bantam_config::{Location, complete_example};

use crate::world::World;

/// Loads whatever it is; every place in the answer has to be one in the text.
fn check(text: &str) {
    let Err(errors) = World::of_example().load(text) else { return };
    assert!(errors.to_string().lines().all(|line| !line.contains('\u{1b}')));
    for diagnostic in &errors.diagnostics {
        if let Location::File { line, column, .. } = &diagnostic.location {
            let lines: Vec<&str> = text.split('\n').collect();
            assert!(*line <= lines.len(), "{diagnostic}");
            assert!(*column <= lines[line - 1].chars().count() + 1, "{diagnostic}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_no_panic() {
    let example = complete_example();
    for end in (0..example.len()).step_by(7) {
        check(&example[..end]);
    }
}

#[test]
fn a_file_without_one_of_its_lines_is_no_panic() {
    let example = complete_example();
    let lines: Vec<&str> = example.lines().collect();
    for missing in 0..lines.len() {
        let rest = lines.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, line)| *line);
        check(&rest.collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn a_file_with_any_value_replaced_is_no_panic() {
    let values = [
        "",
        "0",
        "-1",
        "1e999",
        "nan",
        "true",
        "[]",
        "{}",
        "[{}]",
        "'\u{7f}'",
        "'ü\t'",
        "2026-11-01",
        "[[[[1]]]]",
        "\"",
    ];
    let example = complete_example();
    let lines: Vec<&str> = example.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(" = ") else { continue };
        for value in values {
            let replaced = format!("{key} = {value}");
            let text: Vec<&str> =
                lines.iter().enumerate().map(|(n, line)| if n == at { &replaced } else { *line }).collect();
            check(&text.join("\n"));
        }
    }
}

#[test]
fn escape_sequences_in_values_never_reach_the_terminal() {
    check(
        "[upstreams.u]\nca_file = \"\\u001b[31m\"\ndialect = \"\\u001b\"\n[models.\"\\u001b\"]\nupstream = \"\\u001b\"",
    );
    check(
        "\"\\u001b\" = 1\n[server]\nbind = \"\\u001b\"\nallowed_hosts = [\"\\u001b\"]\n[tasks.\"\\u001b\"]",
    );
    check(
        "[upstreams.u]\nbase_url = \"ht\\u001b://x\"\npath = \"\\u001b\"\n[routing]\nladder = [\"\\u001b\", \"\\u001b\"]",
    );
}

#[test]
fn noise_is_no_panic() {
    for text in
        ["\u{feff}", "\0", "\u{1b}[31m = 1", "=", "]", "[", "[[", "a.b.c", "é = ü", "\r\r\n\r", "a = '''\n\n"]
    {
        check(text);
    }
    check(&"[".repeat(5000));
    check(&format!("a = {}", "[".repeat(5000)));
    check(&"a.".repeat(5000));
    check(&"x\n".repeat(5000));
    check(&"#".repeat(2 << 20));
}

#[test]
fn a_file_that_is_no_configuration_is_answered_in_bounds() {
    let shown = World::default().bad(&"x y z\n".repeat(5000));
    assert!(shown.lines().count() < 400, "{}", shown.lines().count());
    assert!(shown.contains("more not shown"));
}
