//! Properties that hold for random text.

use bantam_types::Label;
use proptest::prelude::*;

use crate::scan;

const VALUES: [&str; 6] = [
    "jane.doe@example.com",
    "4111 1111 1111 1111",
    "DE89370400440532013000",
    "536-22-1234",
    "AKIAZ7Q2M4T9X1C5V8B3",
    "81.2.69.142",
];

proptest! {
    #[test]
    fn scanning_any_text_does_not_panic(texts in prop::collection::vec(any::<String>(), 0..6)) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        scan(&texts);
    }

    #[test]
    fn scanning_a_text_of_triggers_does_not_panic(text in "[@%&\\\\:.0-9a-fu;#xXé\u{200b}=/+ \\-\\[\\](){}]{0,200}") {
        let middle = text.floor_char_boundary(text.len() / 2);
        scan(&[&text]);
        scan(&[&text[..middle], &text[middle..]]);
    }

    #[test]
    fn a_value_is_found_in_any_context(
        before in "[a-zA-Z ,;!éж中]{0,80}",
        after in "[a-zA-Z ,;!éж中]{0,80}",
        value in prop::sample::select(&VALUES[..]),
    ) {
        let alone = scan(&[value]).label();
        let label = scan(&[&format!("{before}, {value}, {after}")]).label();
        prop_assert!(alone >= Label::Confidential);
        prop_assert!(label >= alone, "{} in {:?} {:?}", value, before, after);
    }

    #[test]
    fn a_value_is_found_however_it_is_split(value in prop::sample::select(&VALUES[..]), cut in 0usize..30) {
        let cut = cut.min(value.len());
        prop_assert!(scan(&[&value[..cut], &value[cut..]]).label() >= scan(&[value]).label());
    }
}
