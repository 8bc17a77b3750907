//! A configuration that is written in place, slowly, while it is served.

use proptest::prelude::*;

use crate::desk::{Desk, MODELS, Seen};

fn dictionary(terms: &[String]) -> String {
    let entries = terms
        .iter()
        .map(|term| format!("[[privacy.dictionary]]\nterm = \"{term}\"\nlabel = \"restricted\"\n"));
    entries.collect()
}

fn term() -> impl Strategy<Value = String> {
    "[a-f]{3}"
}

fn sorted(mut terms: Vec<String>) -> Vec<String> {
    terms.sort();
    terms.dedup();
    terms
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// However slowly a new configuration is written, and however often it is looked at meanwhile, every term that both
    /// versions have is served all the time, and never fewer terms than either version has.
    #[test]
    fn no_dictionary_term_is_lost_while_the_file_is_written(
        old in proptest::collection::vec(term(), 1..6).prop_map(sorted),
        new in proptest::collection::vec(term(), 1..8).prop_map(sorted),
        reversed in any::<bool>(),
        comes_first in any::<bool>(),
        cuts in proptest::collection::vec((0_usize..2_000, 0_usize..4), 0..8),
    ) {
        let file = |terms: &[String]| match comes_first {
            true => format!("{}{MODELS}", dictionary(terms)),
            false => format!("{MODELS}{}", dictionary(terms)),
        };
        let mut new = new;
        if reversed {
            new.reverse();
        }
        let desk = Desk::new(&file(&old));
        let mut serving = desk.serve();
        let whole = file(&new);
        let mut cuts: Vec<_> = cuts.into_iter().map(|(end, looks)| (end.min(whole.len()), looks)).collect();
        cuts.sort_unstable();
        cuts.push((whole.len(), 4));
        for (end, looks) in cuts {
            desk.write("bantam.toml", &whole[..end]);
            for _ in 0..looks {
                let _ = serving.look();
                let served = serving.terms();
                prop_assert!(served.len() >= old.len().min(new.len()), "{served:?} of {old:?} and {new:?}");
                let kept = old.iter().filter(|term| new.contains(term));
                prop_assert!(kept.into_iter().all(|term| served.contains(&&**term)), "{served:?}");
            }
        }
        // In the end the new file is served, unless it dropped terms: then somebody has to confirm that.
        let is_larger = old.iter().all(|term| new.contains(term));
        prop_assert_eq!(serving.terms() == new.iter().collect::<Vec<_>>(), is_larger || new == old);
        serving.reloader.confirm();
        prop_assert_eq!(serving.settle(), Seen::Loaded);
        prop_assert_eq!(serving.terms(), new.iter().collect::<Vec<_>>());
    }
}

#[test]
fn an_empty_file_is_never_taken_over() {
    let desk = Desk::new(MODELS);
    let mut serving = desk.serve();
    for empty in ["", "\n", "# nothing\n"] {
        desk.write("bantam.toml", empty);
        let Seen::Refused(reason) = serving.settle() else { panic!("{empty:?} is taken over") };
        assert!(reason.contains("has lost every setting"), "{reason}");
        serving.reloader.confirm();
        assert!(matches!(serving.settle(), Seen::Refused(_)), "{empty:?} is confirmed");
        assert!(serving.deployment.models.contains_key("far"));
    }
    std::fs::remove_file(desk.path("bantam.toml")).unwrap();
    assert!(matches!(serving.settle(), Seen::Refused(_)));
    desk.write("bantam.toml", format!("{MODELS}[server]\nthreads = 2\n"));
    assert_eq!(serving.settle(), Seen::Loaded);
}

#[test]
fn what_a_file_lost_is_said_and_can_be_confirmed_for_just_that_text() {
    let tasks = "[tasks.notes]\nkind = 'summarize'\n[tasks.mail]\nkind = 'rewrite'\n";
    let desk = Desk::new(&format!("{MODELS}{tasks}"));
    let mut serving = desk.serve();
    let shorter = format!("{MODELS}[tasks.notes]\nkind = 'summarize'\n");
    desk.write("bantam.toml", &shorter);
    let expected = "the changed configuration has lost [tasks.mail], and may be half written";
    assert_eq!(serving.settle(), Seen::Refused(expected.to_owned()));
    // Confirmed by whoever knows the text, such as another process.
    desk.write("confirmed", "0000");
    assert!(matches!(serving.settle(), Seen::Refused(_)), "another text is confirmed");
    let sha256: String =
        sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), &shorter))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
    desk.write("confirmed", sha256);
    assert_eq!(serving.settle(), Seen::Loaded);
    assert_eq!(serving.deployment.tasks.len(), 1);
}
