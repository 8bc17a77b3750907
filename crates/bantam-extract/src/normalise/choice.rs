//! Choices from a list, and yes or no.

/// Returns the choice that a text names.
///
/// A choice matches if it is equal apart from case, white space, accents and punctuation; failing that, if it is the
/// only one within one edit of the text (two edits from eight letters on). Ambiguous texts return `None`.
pub fn choice<'c>(text: &str, choices: &[&'c str]) -> Option<&'c str> {
    let folded_text = folded(text);
    if folded_text.is_empty() {
        return None;
    }
    let mut equal = choices.iter().filter(|choice| folded(choice) == folded_text);
    match (equal.next(), equal.next()) {
        (Some(only), None) => return Some(only),
        (Some(_), Some(_)) => return choices.iter().find(|choice| **choice == text).copied(),
        _ => {}
    }
    let edits_max = match folded_text.chars().count() {
        0..4 => return None,
        4..8 => 1,
        _ => 2,
    };
    let is_near = |choice: &&&str| strsim::levenshtein(&folded(choice), &folded_text) <= edits_max;
    let mut near = choices.iter().filter(is_near);
    match (near.next(), near.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Returns the boolean that a text such as `yes` or `off` means.
pub fn boolean(text: &str) -> Option<bool> {
    match &*folded(text) {
        "yes" | "true" | "y" | "on" | "1" => Some(true),
        "no" | "false" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Returns the letters and digits of a text in lower case, without the common Latin accents.
fn folded(text: &str) -> String {
    let plain = |letter: char| match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' | 'đ' => 'd',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' | 'ı' => 'i',
        'ł' | 'ľ' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' => 's',
        'ť' | 'ţ' => 't',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    };
    text.chars().flat_map(char::to_lowercase).filter(|letter| letter.is_alphanumeric()).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_choice_despite_case_accents_punctuation_or_a_typo() {
        let choices = ["high", "in progress", "Café", "normal"];
        let pairs = [
            ("HIGH ", "high"),
            ("in-progress", "in progress"),
            ("cafe", "Café"),
            ("norml", "normal"),
            ("in progres", "in progress"),
        ];
        for (text, expected) in pairs {
            assert_eq!(choice(text, &choices), Some(expected), "{text}");
        }
        for text in ["hi", "", "low", "normandy"] {
            assert_eq!(choice(text, &choices), None, "{text}");
        }
    }

    #[test]
    fn rejects_a_text_that_matches_two_choices() {
        assert_eq!(choice("cart", &["card", "cars"]), None);
        assert_eq!(choice("ok", &["OK", "ok"]), Some("ok"));
        assert_eq!(choice("Ok", &["OK", "ok"]), None);
        assert_eq!((boolean("Yes"), boolean("off"), boolean("maybe")), (Some(true), Some(false), None));
    }
}
