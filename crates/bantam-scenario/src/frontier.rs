//! The simulated frontier model: slow, expensive, good but not perfect.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bantam_simulate::{Behaviour, Received, SimulatedUpstream, completion_body};

use crate::desk::Message;
use crate::random::hash_text;

/// How good the simulated model is.
#[derive(Clone, Copy, Debug)]
pub struct Skill {
    /// Errors on plain requests.
    pub plain_error: f64,
    /// Errors on requests that can be read two ways.
    pub ambiguous_error: f64,
}

/// The simulated model's knowledge: what it will say to each text, decided once by the seed.
pub struct SimulatedFrontier {
    answers: HashMap<String, KnownAnswer>,
    seed: u64,
    sensitive_received: AtomicU64,
    received: AtomicU64,
}

struct KnownAnswer {
    answer: String,
    sensitive: bool,
}

/// The least and the most that one call takes.
const DELAY_MS: (u64, u64) = (600, 900);

const OPEN_ANSWER: &str = "Thank you for telling us, and I am sorry for the trouble this has caused. I have \
    looked into it and passed it on to the colleague who is responsible, who will come back to you by tomorrow \
    noon with a concrete proposal. If you would like it settled another way, say so and we will find one.";

impl SimulatedFrontier {
    /// Returns a model that knows `messages`, with as many mistakes as `skill` says.
    pub fn new(messages: &[Message], labels: &[String], skill: Skill, seed: u64) -> Self {
        let answers = messages.iter().map(|message| {
            let known =
                KnownAnswer { answer: answer(message, labels, skill, seed), sensitive: message.sensitive };
            (message.text.clone(), known)
        });
        Self {
            answers: answers.collect(),
            seed,
            sensitive_received: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// Teaches the model what to say to further texts.
    pub fn with_answers<'t>(mut self, answers: impl Iterator<Item = (&'t str, String)>) -> Self {
        let known = answers.map(|(text, answer)| (text.to_owned(), KnownAnswer { answer, sensitive: false }));
        self.answers.extend(known);
        self
    }

    /// Returns how many of `messages` with a label it answers rightly, and how many there are.
    pub fn score(&self, messages: &[Message]) -> (u64, u64) {
        let graded = messages.iter().filter_map(|message| Some((message, message.truth.as_ref()?)));
        graded.fold((0, 0), |(right, all), (message, truth)| {
            let correct = self.answers.get(&message.text).is_some_and(|known| known.answer == *truth);
            (right + u64::from(correct), all + 1)
        })
    }

    /// Returns how many requests with personal data have arrived, and starts counting again.
    pub fn take_sensitive(&self) -> u64 {
        self.sensitive_received.swap(0, Ordering::SeqCst)
    }

    /// Returns how many requests have arrived.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    /// Starts its HTTP server on loopback.
    pub async fn start(self: &Arc<Self>) -> std::io::Result<SimulatedUpstream> {
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

fn answer(message: &Message, labels: &[String], skill: Skill, seed: u64) -> String {
    let Some(truth) = &message.truth else {
        return OPEN_ANSWER.to_owned();
    };
    let draw = hash_text(seed, &message.text);
    let chance = (draw >> 11) as f64 / (1_u64 << 53) as f64;
    match &message.mistakable_for {
        Some(other) if chance < skill.ambiguous_error => other.clone(),
        Some(_) => truth.clone(),
        None if chance < skill.plain_error => {
            let others: Vec<&String> = labels.iter().filter(|label| *label != truth).collect();
            let at = hash_text(seed ^ 1, &message.text) as usize % others.len().max(1);
            others.get(at).map_or_else(|| truth.clone(), |label| (*label).clone())
        }
        None => truth.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::{Mix, generate, labels};
    use crate::random::Random;

    #[test]
    fn it_errs_about_as_often_as_it_is_told_to_and_always_on_the_same_texts() {
        let messages = generate(4000, Mix::REPLAY, &mut Random::new(2));
        let skill = Skill { plain_error: 0.05, ambiguous_error: 0.3 };
        let score = SimulatedFrontier::new(&messages, &labels(), skill, 9).score(&messages);
        let accuracy = score.0 as f64 / score.1 as f64;
        assert!((accuracy - 0.945).abs() < 0.015, "{accuracy}");
        assert_eq!(SimulatedFrontier::new(&messages, &labels(), skill, 9).score(&messages), score);
    }
}
