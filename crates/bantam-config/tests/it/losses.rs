//! What a changed file lost, and what a file that is still being written looks like.

use bantam_config::{Config, EXAMPLE, complete_example};

use crate::world::World;

const BEFORE: &str = "
[privacy]
mid = 'public'

[[privacy.dictionary]]
term = 'Falcon'
label = 'restricted'

[[privacy.dictionary]]
term = 'Osprey'

[upstreams.u]
dialect = 'openai'
base_url = 'http://127.0.0.1:9/v1'

[models.small]
upstream = 'u'
tier = 'local'

[models.large]
upstream = 'u'
tier = 'local'

[tasks.notes]
kind = 'summarize'
ladder = ['small']

[tasks.mail]
kind = 'rewrite'
ladder = ['large']
minimum_label = 'restricted'
";

fn config(text: &str) -> Config {
    World::of_example().good(text)
}

/// Returns what a file lost, as messages name it.
fn lost(text: &str) -> Vec<String> {
    config(BEFORE).losses(&config(text), text).iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(change: &[(&str, &str)], expected: &[&str]) {
    let changed = change.iter().fold(BEFORE.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replacen(old, new, 1)
    });
    assert_eq!(lost(&changed), expected, "{changed}");
}

#[test]
fn additions_changes_and_removals_from_the_middle_are_no_loss() {
    check(&[], &[]);
    check(&[("[upstreams.u]", "[server]\nthreads = 2\n[upstreams.u]")], &[]);
    check(&[("mid = 'public'", "mid = 'internal'")], &[]);
    check(&[("[tasks.notes]\nkind = 'summarize'\nladder = ['small']\n", "")], &[]);
    check(&[("minimum_label = 'restricted'", "minimum_label = 'public'")], &[]);
}

#[test]
fn a_file_without_its_end_lost_what_stood_there() {
    check(&[("minimum_label = 'restricted'\n", "")], &["`tasks.mail.minimum_label`"]);
    let end = BEFORE.find("[tasks.mail]").unwrap();
    assert_eq!(lost(&BEFORE[..end]), ["[tasks.mail]"]);
    let end = BEFORE.find("[tasks.notes]").unwrap();
    assert_eq!(lost(&BEFORE[..end]), ["[tasks.mail]", "[tasks.notes]"]);
}

#[test]
fn whatever_protects_data_is_missed_wherever_it_stood() {
    let osprey = "[[privacy.dictionary]]\nterm = 'Osprey'\n";
    check(&[(osprey, "")], &["1 term of the privacy dictionary"]);
    // More terms than before, and one of the old ones is not among them.
    let others = "[[privacy.dictionary]]\nterm = 'Kestrel'\n[[privacy.dictionary]]\nterm = 'Heron'\n";
    check(&[(osprey, others)], &["1 term of the privacy dictionary"]);
    check(&[("label = 'restricted'\n", "")], &["the label of 1 term of the privacy dictionary"]);
    check(&[("mid = 'public'\n", "")], &["`privacy.mid`"]);
}

#[test]
fn a_section_that_moved_to_the_end_must_be_whole() {
    let notes = "[tasks.notes]\nkind = 'summarize'\nladder = ['small']\n";
    let moved = BEFORE.replace(notes, "") + notes;
    assert_eq!(lost(&moved), [""; 0]);
    let mail = "[tasks.mail]\nkind = 'rewrite'\nladder = ['large']\nminimum_label = 'restricted'\n";
    let first = BEFORE.replace(mail, "").replace("[privacy]", &format!("{mail}[privacy]"));
    assert_eq!(lost(&first), [""; 0]);
}

#[test]
fn nothing_at_all_and_a_value_that_may_be_cut_are_told_apart() {
    for empty in ["", "\n\n", "# nothing is left\n"] {
        assert_eq!(lost(empty), ["every setting"], "{empty:?}");
    }
    let cut = format!("{BEFORE}audit_share = 0.0");
    assert_eq!(lost(&cut), ["the line break after its last value, which may be cut off"]);
    assert_eq!(lost(&format!("{cut}\n")), [""; 0]);
}

/// Whatever beginning of a new file a reader meets, the dictionary in force never gets smaller by it.
#[test]
fn no_beginning_of_a_file_takes_terms_or_the_end_away_unnoticed() {
    let example = complete_example();
    for (old, new) in [(&*example, &*example), (BEFORE, BEFORE), (EXAMPLE, EXAMPLE)] {
        let before = config(old);
        // Every end of a line, and places within lines.
        let is_end = |end: &usize| new[..*end].ends_with('\n') || end.is_multiple_of(13);
        for end in (0..new.len()).filter(|end| new.is_char_boundary(*end)).filter(is_end) {
            let beginning = &new[..end];
            let Ok(changed) = World::of_example().load(beginning) else { continue };
            let is_whole = changed == before || changed.settings().len() == before.settings().len();
            let losses = before.losses(&changed, beginning);
            assert!(is_whole || !losses.is_empty(), "taken over:\n{beginning}");
        }
    }
}
