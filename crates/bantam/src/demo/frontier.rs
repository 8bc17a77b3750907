//! The simulated frontier model: slow, dear, good but not perfect.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bantam_simulate::{Behaviour, Received, SimulatedUpstream, completion_body};

use super::desk::Turn;
use super::random::hash_text;

/// How good the simulated model is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skill {
    /// Errors on plain requests.
    pub(crate) plain_error: f64,
    /// Errors on requests that can be read two ways.
    pub(crate) ambiguous_error: f64,
}

/// The simulated model's knowledge: what it will say to each text, decided once by the seed.
pub(crate) struct Frontier {
    answers: HashMap<String, Known>,
    seed: u64,
    sensitive_received: AtomicU64,
    received: AtomicU64,
}

struct Known {
    answer: String,
    sensitive: bool,
}

/// The least and the most that one call takes.
const DELAY_MS: (u64, u64) = (600, 900);

const OPEN_ANSWER: &str = "Thank you for telling us, and I am sorry for the trouble this has caused. I have \
    looked into it and passed it on to the colleague who is responsible, who will come back to you by tomorrow \
    noon with a concrete proposal. If you would like it settled another way, say so and we will find one.";

impl Frontier {
    /// Returns a model that knows `turns`, with as many mistakes as `skill` says.
    pub(crate) fn new(turns: &[Turn], labels: &[String], skill: Skill, seed: u64) -> Self {
        let answers = turns.iter().map(|turn| {
            let known = Known { answer: answer(turn, labels, skill, seed), sensitive: turn.sensitive };
            (turn.text.clone(), known)
        });
        Self {
            answers: answers.collect(),
            seed,
            sensitive_received: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// Teaches the model what to say to further texts.
    pub(crate) fn with_answers<'t>(mut self, answers: impl Iterator<Item = (&'t str, String)>) -> Self {
        let known = answers.map(|(text, answer)| (text.to_owned(), Known { answer, sensitive: false }));
        self.answers.extend(known);
        self
    }

    /// Returns how many of `turns` with a label it answers rightly, and how many there are.
    pub(crate) fn score(&self, turns: &[Turn]) -> (u64, u64) {
        let graded = turns.iter().filter_map(|turn| Some((turn, turn.truth.as_ref()?)));
        graded.fold((0, 0), |(right, all), (turn, truth)| {
            let correct = self.answers.get(&turn.text).is_some_and(|known| known.answer == *truth);
            (right + u64::from(correct), all + 1)
        })
    }

    /// Returns how many requests with personal data have arrived, and starts counting again.
    pub(crate) fn take_sensitive(&self) -> u64 {
        self.sensitive_received.swap(0, Ordering::SeqCst)
    }

    /// Returns how many requests have arrived.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    /// Starts its HTTP server on loopback.
    pub(crate) async fn start(self: &Arc<Self>) -> std::io::Result<SimulatedUpstream> {
        let model = Arc::clone(self);
        SimulatedUpstream::start_forgetful(move |received| model.behave(received)).await
    }

    fn behave(&self, received: &Received) -> Behaviour {
        let text = received.last_text();
        self.received.fetch_add(1, Ordering::SeqCst);
        let known = self.answers.get(&text);
        if known.is_some_and(|known| known.sensitive) {
            self.sensitive_received.fetch_add(1, Ordering::SeqCst);
        }
        let answer = known.map_or("out_of_scope", |known| known.answer.as_str());
        let spread = DELAY_MS.1 - DELAY_MS.0;
        let delay = DELAY_MS.0 + hash_text(self.seed ^ received.number, &text) % (spread + 1);
        // A token for about four bytes, as the common tokenizers do on English.
        let prompt_tokens = received.body.len() as u64 / 4;
        let body = completion_body("simulated-frontier", answer, prompt_tokens, answer.len() as u64 / 4 + 1);
        Behaviour::Answer { status: 200, headers: Vec::new(), body, delay: Duration::from_millis(delay) }
    }
}

fn answer(turn: &Turn, labels: &[String], skill: Skill, seed: u64) -> String {
    let Some(truth) = &turn.truth else {
        return OPEN_ANSWER.to_owned();
    };
    let draw = hash_text(seed, &turn.text);
    let chance = (draw >> 11) as f64 / (1_u64 << 53) as f64;
    match &turn.mistakable_for {
        Some(other) if chance < skill.ambiguous_error => other.clone(),
        Some(_) => truth.clone(),
        None if chance < skill.plain_error => {
            let others: Vec<&String> = labels.iter().filter(|label| *label != truth).collect();
            let at = hash_text(seed ^ 1, &turn.text) as usize % others.len().max(1);
            others.get(at).map_or_else(|| truth.clone(), |label| (*label).clone())
        }
        None => truth.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::desk::{Mix, generate, labels};
    use crate::demo::random::Random;

    #[test]
    fn it_errs_about_as_often_as_it_is_told_to_and_always_on_the_same_texts() {
        let turns = generate(4000, Mix::REPLAY, &mut Random::new(2));
        let skill = Skill { plain_error: 0.05, ambiguous_error: 0.3 };
        let score = Frontier::new(&turns, &labels(), skill, 9).score(&turns);
        let accuracy = score.0 as f64 / score.1 as f64;
        assert!((accuracy - 0.945).abs() < 0.015, "{accuracy}");
        assert_eq!(Frontier::new(&turns, &labels(), skill, 9).score(&turns), score);
    }
}
