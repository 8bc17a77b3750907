//! Choices out of a list, and yes or no.

/// Returns the one of `members` that a text names: the same but for case, white space, accents and punctuation, or else the
/// only one that is within one slip of the pen (two for eight letters and more). Where two would do it is none.
pub fn choice<'m>(text: &str, members: &[&'m str]) -> Option<&'m str> {
    let wanted = folded(text);
    if wanted.is_empty() {
        return None;
    }
    let mut same = members.iter().filter(|member| folded(member) == wanted);
    match (same.next(), same.next()) {
        (Some(one), None) => return Some(one),
        (Some(_), Some(_)) => return members.iter().find(|member| **member == text).copied(),
        _ => {}
    }
    let slips_max = match wanted.chars().count() {
        0..4 => return None,
        4..8 => 1,
        _ => 2,
    };
    let mut near = members.iter().filter(|member| distance(&folded(member), &wanted) <= slips_max);
    match (near.next(), near.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// Returns what a yes or a no means.
pub fn boolean(text: &str) -> Option<bool> {
    match &*folded(text) {
        "yes" | "true" | "y" | "on" | "1" => Some(true),
        "no" | "false" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A text in lower case, the common Latin accents dropped, without white space and punctuation.
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

/// The letters to insert, drop or change (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (place, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], place + 1);
        for (at, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_in_other_dress_or_one_slip_away() {
        let members = ["high", "in progress", "Café", "normal"];
        let pairs = [
            ("HIGH ", "high"),
            ("in-progress", "in progress"),
            ("cafe", "Café"),
            ("norml", "normal"),
            ("in progres", "in progress"),
        ];
        for (text, expected) in pairs {
            assert_eq!(choice(text, &members), Some(expected), "{text}");
        }
        for text in ["hi", "", "low", "normandy"] {
            assert_eq!(choice(text, &members), None, "{text}");
        }
    }

    #[test]
    fn where_two_would_do_there_is_none() {
        assert_eq!(choice("cart", &["card", "cars"]), None);
        assert_eq!(choice("ok", &["OK", "ok"]), Some("ok"));
        assert_eq!(choice("Ok", &["OK", "ok"]), None);
        assert_eq!((boolean("Yes"), boolean("off"), boolean("maybe")), (Some(true), Some(false), None));
    }
}
