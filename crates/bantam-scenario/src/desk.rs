//! A support desk: a seeded generator of messages whose truth is known.

use crate::random::Random;
use crate::words::{CLOSERS, FILLERS, FOREIGN, INTENTS, OPEN_ENDED, OPENERS, OUT_OF_SCOPE, PERSONAL};

/// A message of the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the customer, or the agent, wrote.
    pub text: String,
    /// The true label; `None` for open-ended work, which has none.
    pub truth: Option<String>,
    /// Another label that a reader may take it for.
    pub mistakable_for: Option<String>,
    /// Whether it holds personal data.
    pub sensitive: bool,
}

/// What the workload is made of; the rest are plain requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    /// Two intents in one sentence.
    pub(crate) ambiguous: f64,
    /// Nothing to do with the shop.
    pub(crate) foreign: f64,
    /// Open-ended work.
    pub(crate) open_ended: f64,
    /// With personal data.
    pub(crate) sensitive: f64,
    /// With a typing mistake.
    pub(crate) typos: f64,
}

impl Mix {
    /// The workload that is replayed.
    pub(crate) const REPLAY: Self =
        Self { ambiguous: 0.02, foreign: 0.03, open_ended: 0.02, sensitive: 0.08, typos: 0.15 };
    /// The traffic that is learned from: only what may go to the teacher, only classifications.
    pub(crate) const TEACH: Self = Self { open_ended: 0.0, sensitive: 0.0, ..Self::REPLAY };
}

/// Returns the labels of the task.
pub(crate) fn labels() -> Vec<String> {
    INTENTS.iter().map(|intent| intent.label).chain([OUT_OF_SCOPE]).map(str::to_owned).collect()
}

/// Returns `count` messages; equal seeds give equal ones.
pub(crate) fn generate(count: usize, mix: Mix, random: &mut Random) -> Vec<Message> {
    (0..count).map(|_| message(mix, random)).collect()
}

fn message(mix: Mix, random: &mut Random) -> Message {
    let kind = random.next() as f64 / u64::MAX as f64;
    if kind < mix.open_ended {
        let text = fill(random.pick(OPEN_ENDED), random);
        return Message { text, truth: None, mistakable_for: None, sensitive: false };
    }
    if kind < mix.open_ended + mix.foreign {
        let text = dress(&fill(random.pick(FOREIGN), random), mix, random);
        return Message {
            text,
            truth: Some(OUT_OF_SCOPE.to_owned()),
            mistakable_for: None,
            sensitive: false,
        };
    }
    let (label, mut says) = say(random);
    let mut mistakable_for = None;
    if kind < mix.open_ended + mix.foreign + mix.ambiguous {
        let (other, more) = say(random);
        if other != label {
            says = format!("{says} and {more}");
            mistakable_for = Some(other.to_owned());
        }
    }
    let mut text = dress(&says, mix, random);
    let sensitive = random.chance(mix.sensitive);
    if sensitive {
        let personal = personal(random);
        text = if random.chance(0.7) { format!("{text} {personal}") } else { format!("{personal}. {text}") };
    }
    Message { text, truth: Some(label.to_owned()), mistakable_for, sensitive }
}

fn say(random: &mut Random) -> (&'static str, String) {
    match INTENTS.get(random.below(INTENTS.len())) {
        Some(intent) => (intent.label, fill(random.pick(intent.says), random)),
        None => (OUT_OF_SCOPE, String::new()),
    }
}

fn fill(pattern: &str, random: &mut Random) -> String {
    let mut text = pattern.to_owned();
    for (gap, values) in FILLERS {
        while text.contains(gap) {
            text = text.replacen(gap, random.pick(values), 1);
        }
    }
    // Order numbers are short, so that they are no phone numbers to anybody.
    text.replace("{number}", &format!("A-{}", 1000 + random.below(9000)))
}

fn dress(says: &str, mix: Mix, random: &mut Random) -> String {
    let mut text = format!("{}{says}{}", random.pick(OPENERS), random.pick(CLOSERS));
    if random.chance(0.5)
        && let Some(first) = text.get(..1)
    {
        text = format!("{}{}", first.to_uppercase(), text.get(1..).unwrap_or_default());
    }
    if random.chance(mix.typos) {
        text = mistype(&text, random);
    }
    text
}

/// Swaps, drops or doubles one letter.
fn mistype(text: &str, random: &mut Random) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let at = 1 + random.below(letters.len().saturating_sub(2));
    match random.below(3) {
        0 if at + 1 < letters.len() => letters.swap(at, at + 1),
        1 if letters.len() > 4 => drop(letters.remove(at)),
        _ => {
            if let Some(letter) = letters.get(at).copied() {
                letters.insert(at, letter);
            }
        }
    }
    letters.into_iter().collect()
}

fn personal(random: &mut Random) -> String {
    let names = ["anna", "jon", "maria", "piet", "lucia", "olav", "eva", "marek"];
    let email =
        format!("{}.{}{}@example.com", random.pick(&names), random.pick(&names), random.below(900) + 10);
    let phone = format!("+44 20 7946 0{:03}", random.below(1000));
    random
        .pick(PERSONAL)
        .replace("{email}", &email)
        .replace("{phone}", &phone)
        .replace("{card}", &card(random))
        .replace("{iban}", &iban(random))
}

/// Returns a made-up card number whose check digit is right (Luhn).
fn card(random: &mut Random) -> String {
    let mut digits: Vec<u32> = std::iter::once(4).chain((0..14).map(|_| random.below(10) as u32)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, doubled) if doubled > 9 => doubled - 9,
            (0, doubled) => doubled,
            _ => *digit,
        })
        .sum();
    digits.push((10 - sum % 10) % 10);
    let text: String = digits.iter().filter_map(|digit| char::from_digit(*digit, 10)).collect();
    let groups: Vec<&str> = [0, 4, 8, 12].iter().filter_map(|start| text.get(*start..*start + 4)).collect();
    groups.join(" ")
}

/// Returns a made-up German IBAN whose check digits are right (mod 97).
fn iban(random: &mut Random) -> String {
    let account: String = (0..18).filter_map(|_| char::from_digit(random.below(10) as u32, 10)).collect();
    // "DE00" behind the account number, letters as numbers: D = 13, E = 14.
    let remainder = format!("{account}131400")
        .bytes()
        .fold(0_u64, |rest, digit| (rest * 10 + u64::from(digit - b'0')) % 97);
    format!("DE{:02}{account}", 98 - remainder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_messages() {
        let once = generate(200, Mix::REPLAY, &mut Random::new(3));
        assert_eq!(once, generate(200, Mix::REPLAY, &mut Random::new(3)));
        assert_ne!(once, generate(200, Mix::REPLAY, &mut Random::new(4)));
    }

    #[test]
    fn the_workload_holds_everything_it_promises() {
        let messages = generate(5000, Mix::REPLAY, &mut Random::new(1));
        let share = |test: fn(&Message) -> bool| {
            messages.iter().filter(|message| test(message)).count() as f64 / 5000.0
        };
        assert!((share(|message| message.truth.is_none()) - 0.02).abs() < 0.01);
        assert!((share(|message| message.truth.as_deref() == Some(OUT_OF_SCOPE)) - 0.03).abs() < 0.01);
        assert!((share(|message| message.mistakable_for.is_some()) - 0.02).abs() < 0.01);
        assert!((share(|message| message.sensitive) - 0.076).abs() < 0.015);
        assert!(INTENTS.len() >= 20);
        let distinct: std::collections::HashSet<_> = messages.iter().map(|message| &message.text).collect();
        assert!(distinct.len() > 4000, "{} distinct", distinct.len());
        assert!(messages.iter().all(|message| !message.text.contains('{')));
    }

    #[test]
    fn made_up_numbers_have_right_check_digits_and_are_found() {
        let scanner =
            bantam_privacy::Scanner::new(&bantam_privacy::ScannerConfig { dictionary: Vec::new() }).unwrap();
        let label = |text: &str| {
            let mut scan = scanner.begin();
            scan.text(text);
            scan.finish().label()
        };
        let mut random = Random::new(5);
        for _ in 0..300 {
            assert_eq!(label(&card(&mut random)), bantam_types::Label::Restricted);
            assert_eq!(label(&iban(&mut random)), bantam_types::Label::Restricted);
            let personal = personal(&mut random);
            assert!(label(&personal) > bantam_types::Label::Internal, "{personal}");
        }
        for message in generate(3000, Mix::TEACH, &mut random) {
            assert!(label(&message.text) <= bantam_types::Label::Internal, "{}", message.text);
        }
    }
}
