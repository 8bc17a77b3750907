//! Discovers prompt templates in traffic: which part of a prompt stays the same and which is the payload.
//!
//! An application sends the same instructions with a new payload each time. The instructions are in the
//! system message, at the start of the first user message, or both. So a template is the system text with
//! its digits masked (dates and counters change) plus the longest stable prefix of the user text. A prefix
//! is stable while it has few distinct continuations relative to how often it was seen; where the
//! continuations fan out, the payload begins.
//!
//! The fingerprint is a hash of that content alone, so it stays the same across restarts and machines.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use bantam_types::Template;

/// The shortest prefix, in words, that can be a template without a system message.
const WORDS_MIN: usize = 3;
/// The longest prefix considered, in words.
const WORDS_MAX: usize = 96;
/// The bytes of a user text that are considered.
const USER_BYTES_MAX: usize = 2048;
/// How often a prefix must be seen before it can be a template.
const SUPPORT: u32 = 24;
/// The most prefixes kept in each of the two generations; each takes about 40 bytes.
const GENERATION_MAX: usize = 16_384;

/// The template that a prompt belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognition {
    /// The template's fingerprint.
    pub template: Template,
    /// Bytes of the user text that belong to the template; the payload follows.
    pub prefix_bytes: usize,
}

/// A prompt as [`TemplateMiner`] sees it: the hashes of its beginnings, of which there are at most about a hundred.
///
/// Making it reads the whole prompt; observing it takes a bounded number of steps. So whoever shares a miner makes
/// this before taking the lock, and a long prompt holds nobody up.
#[derive(Clone, Debug)]
pub struct PromptPrefixes {
    prefixes: Vec<Prefix>,
    has_system: bool,
}

impl PromptPrefixes {
    /// Hashes the beginnings of a prompt.
    pub fn of(system: &str, user: &str) -> Self {
        Self { prefixes: prefixes(hash_system(system), user), has_system: !system.is_empty() }
    }
}

/// Discovers templates in the prompts it observes, in bounded memory.
///
/// Prefixes are kept in two generations. A prefix that recurs moves to the younger one; when that is full, the older one is
/// forgotten and the younger takes its place. Forgetting therefore never looks through the table.
#[derive(Debug, Default)]
pub struct TemplateMiner {
    young: HashMap<u64, Node>,
    old: HashMap<u64, Node>,
    known: HashSet<u64>,
}

/// One prefix: how often it was seen, and a sketch of its distinct continuations.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    seen: u32,
    continuations: u64,
}

impl Node {
    /// Returns whether enough distinct continuations were seen that the payload must begin here.
    ///
    /// The ratio tells a payload from a handful of an application's own prompts that begin alike: those
    /// recur, so their share of distinct continuations falls as requests arrive, and a payload's does
    /// not. The sketch of 64 bits undercounts, which errs towards a longer prefix.
    fn fans_out(self) -> bool {
        let distinct = self.continuations.count_ones();
        self.seen >= SUPPORT && distinct * 5 >= self.seen.min(48)
    }
}

impl TemplateMiner {
    /// Returns a miner that recognises the `known` templates from the first request on.
    pub fn new(known: impl IntoIterator<Item = Template>) -> Self {
        Self { known: known.into_iter().map(|template| template.0).collect(), ..Self::default() }
    }

    /// Observes one prompt and returns the template it belongs to, if one is known or has become stable.
    ///
    /// It takes a few table look-ups for each prefix, however long the prompt was.
    pub fn observe(&mut self, prompt: &PromptPrefixes) -> Option<Recognition> {
        let PromptPrefixes { prefixes, has_system } = prompt;
        let mut known = None;
        let mut fanning = None;
        let mut counting = true;
        for (position, prefix) in prefixes.iter().enumerate() {
            if self.known.contains(&prefix.hash) {
                known = Some(*prefix);
            }
            if !counting {
                continue;
            }
            let next = prefixes.get(position + 1).map_or(prefix.hash, |next| next.hash);
            let node = self.count(prefix.hash, next);
            // A longer prefix is worth remembering only once the shorter one was seen twice: a text that
            // never recurs then leaves one node behind instead of one per word.
            counting = node.seen > 1;
            // All prompts without a system message share one root, so only a prefix that many requests
            // share makes a template there.
            let anchored = *has_system || position > 0;
            if anchored && fanning.is_none() && node.fans_out() {
                fanning = Some(*prefix);
            }
        }
        let found = known.or(fanning)?;
        Some(Recognition { template: Template(found.hash), prefix_bytes: found.bytes })
    }

    /// Makes `template` known, so that it is recognised at once from now on.
    pub fn learn(&mut self, template: Template) {
        self.known.insert(template.0);
    }

    /// Returns whether `template` is known.
    pub fn knows(&self, template: Template) -> bool {
        self.known.contains(&template.0)
    }

    fn count(&mut self, hash: u64, continuation: u64) -> Node {
        let node = match self.young.entry(hash) {
            Entry::Occupied(node) => node.into_mut(),
            Entry::Vacant(place) => place.insert(self.old.remove(&hash).unwrap_or_default()),
        };
        node.seen = node.seen.saturating_add(1);
        node.continuations |= 1 << (continuation % 64);
        let node = *node;
        if self.young.len() >= GENERATION_MAX {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        node
    }
}

/// A prefix of a user text.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    hash: u64,
    /// Its length in the user text.
    bytes: usize,
}

/// Returns the prefixes of `user`, from the empty one up; never the whole text, which would leave no
/// payload.
fn prefixes(root: u64, user: &str) -> Vec<Prefix> {
    let user = clip(user, USER_BYTES_MAX);
    let mut found = Vec::with_capacity(32);
    found.push(Prefix { hash: root, bytes: 0 });
    let (mut hash, mut words, mut bytes) = (root, 0, 0);
    for word in user.split_inclusive(char::is_whitespace) {
        bytes += word.len();
        let bare = word.trim();
        if bare.is_empty() {
            continue;
        }
        hash = hash_bytes(hash_bytes(hash, bare.as_bytes()), b" ");
        words += 1;
        if words > WORDS_MAX || bytes >= user.len() {
            break;
        }
        if words >= WORDS_MIN {
            found.push(Prefix { hash: spread(hash), bytes });
        }
    }
    found
}

/// Hashes a system text with runs of digits masked, so that a date in it does not make a new template.
fn hash_system(system: &str) -> u64 {
    let mut hash = FNV_START;
    let mut in_digits = false;
    for byte in system.trim().bytes() {
        let digit = byte.is_ascii_digit();
        if !(digit && in_digits) {
            hash = hash_bytes(hash, &[if digit { b'0' } else { byte }]);
        }
        in_digits = digit;
    }
    spread(hash)
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a. Its values are stored, so it must never change between versions.
fn hash_bytes(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Mixes a hash's low bits, which index the sketches.
fn spread(hash: u64) -> u64 {
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

fn clip(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECTS: [&str; 13] = [
        "my card",
        "the refund",
        "this transfer",
        "why app",
        "a top-up",
        "how new pin",
        "is fee",
        "our account",
        "hello card",
        "can anyone",
        "where money",
        "please say",
        "I think",
    ];
    const EVENTS: [&str; 9] = [
        "is gone",
        "never came",
        "was charged twice",
        "crashes on start",
        "shows a wrong rate",
        "is pending since monday",
        "must be closed today",
        "was blocked abroad",
        "does not work",
    ];

    fn payload(round: usize) -> String {
        format!("{} {}", SUBJECTS[round % 13], EVENTS[round % 9])
    }

    /// Observes `rounds` prompts made by `prompt` and checks the prefix recognised in the last one.
    fn check(rounds: usize, prompt: impl Fn(usize, &str) -> (String, String), expected_prefix: Option<&str>) {
        let mut miner = TemplateMiner::default();
        let mut last = None;
        for round in 0..rounds {
            let (system, user) = prompt(round, &payload(round));
            last = miner
                .observe(&PromptPrefixes::of(&system, &user))
                .map(|found| (found.template, user[..found.prefix_bytes].to_owned()));
        }
        assert_eq!(last.map(|(_, prefix)| prefix).as_deref(), expected_prefix);
    }

    #[test]
    fn a_system_message_with_changing_questions_is_a_template() {
        check(70, |_, text| ("Label the ticket.".to_owned(), text.to_owned()), Some(""));
    }

    #[test]
    fn a_date_in_the_system_message_does_not_make_a_new_template() {
        check(70, |round, text| (format!("Today is 2026-11-{round}. Label it."), text.to_owned()), Some(""));
    }

    #[test]
    fn instructions_at_the_start_of_the_user_message_end_where_the_payload_begins() {
        let instructions = "Classify the customer message below: ";
        check(70, |_, text| (String::new(), format!("{instructions}{text} {text}")), Some(instructions));
        let instructions = "Classify the customer message below into one of the ten labels: ";
        check(70, |_, text| (String::new(), format!("{instructions}{text}")), Some(instructions));
    }

    #[test]
    fn unrelated_questions_do_not_make_a_template() {
        check(
            200,
            |round, text| (String::new(), format!("question {round} is about {text} number {round}")),
            None,
        );
    }

    #[test]
    fn prompts_of_one_application_that_begin_alike_stay_separate() {
        let prompts =
            ["a poet and write of", "a judge and rule on", "a cook and cook for", "a nurse and care for"];
        check(
            400,
            |round, text| {
                (String::new(), format!("You are always {} the case: {text}", prompts[round / 7 % 4]))
            },
            Some("You are always a judge and rule on the case: "),
        );
    }

    #[test]
    fn a_known_template_is_recognised_from_the_first_request_and_keeps_its_fingerprint() {
        let mut miner = TemplateMiner::default();
        let mut learned = None;
        for round in 0..60 {
            learned = miner.observe(&PromptPrefixes::of("Label.", &payload(round))).or(learned);
        }
        let template = learned.unwrap().template;
        let mut restarted = TemplateMiner::new([template]);
        let new = PromptPrefixes::of("Label.", "new words");
        assert_eq!(restarted.observe(&new).unwrap().template, template);
        assert_eq!(restarted.observe(&PromptPrefixes::of("Other.", "new words")), None);
    }

    #[test]
    fn memory_stays_bounded_and_any_text_is_accepted() {
        let mut miner = TemplateMiner::default();
        for round in 0..60_000_u64 {
            let user = format!("{} é {round} ß {}", round * 7, round * 13);
            miner.observe(&PromptPrefixes::of("", &user));
            assert!(miner.young.len() <= GENERATION_MAX && miner.old.len() <= GENERATION_MAX);
        }
        miner.observe(&PromptPrefixes::of("ü", &"ö".repeat(100_000)));
        miner.observe(&PromptPrefixes::of("", ""));
    }

    #[test]
    fn a_template_that_recurs_outlives_any_number_of_texts_that_do_not() {
        let mut miner = TemplateMiner::default();
        let mut last = None;
        for round in 0..200_000 {
            miner.observe(&PromptPrefixes::of(&format!("{}", spread(round)), "once"));
            if round % 5_000 == 0 {
                last = miner.observe(&PromptPrefixes::of("Label.", &payload(round as usize / 5_000)));
            }
        }
        assert!(last.is_some());
    }

    /// The part that a shared miner does under its lock takes hashes alone, and a bounded number of them.
    #[test]
    fn observing_a_prompt_of_a_megabyte_takes_no_more_steps_than_a_short_one_can() {
        let (system, user) = ("rules ".repeat(180_000), "word ".repeat(220_000));
        assert!(system.len() > 1 << 20 && user.len() > 1 << 20);
        let long = PromptPrefixes::of(&system, &user);
        let short = PromptPrefixes::of("", &"a ".repeat(WORDS_MAX + 1));
        assert_eq!(long.prefixes.len(), short.prefixes.len());
        assert!(long.prefixes.len() <= WORDS_MAX);
        let mut miner = TemplateMiner::default();
        for _ in 0..3 {
            miner.observe(&long);
        }
        assert!(miner.young.len() <= long.prefixes.len());
    }
}
