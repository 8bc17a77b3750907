//! A task that writes: messages to the desk, and the short reply that confirms what happens next.

use crate::desk::Message;
use crate::random::Random;
use crate::topics::{DAYS, TOPICS};
use crate::traffic::{Traffic, errs};
use crate::words::{CITIES, CLOSERS, OPENERS, PRODUCTS};

/// The task's name.
pub const NAME: &str = "reply";
/// What the application tells a model to do.
pub const INSTRUCTIONS: &str = "Reply to the message in one or two short sentences of the shop's own: say what happens next, with the product, \
    number, city and day that the message asks for.";
const TEACH: usize = 4000;
const REPLAY: usize = 1440;
/// How often the simulated frontier names another product.
const ERROR: f64 = 0.002;

/// Returns generated messages.
pub fn generated(random: &mut Random) -> Traffic {
    Traffic::drawn((TEACH, REPLAY), message, random)
}

/// Returns what the simulated frontier says to a message: the reply, or now and then one about another product.
pub fn answer(message: &Message, seed: u64) -> String {
    let truth = message.truth.clone().unwrap_or_default();
    if !errs(message, seed ^ 3, ERROR) {
        return truth;
    }
    let others = PRODUCTS.iter().zip(PRODUCTS.iter().cycle().skip(1));
    let named = others.into_iter().find(|(product, _)| truth.contains(**product));
    named.map_or_else(|| truth.clone(), |(product, other)| truth.replace(product, other))
}

fn message(random: &mut Random) -> Message {
    let city = random.pick(CITIES);
    let others: Vec<&str> = CITIES.iter().copied().filter(|other| *other != city).collect();
    let gaps = [
        ("{order}", format!("A-{}", 1000 + random.below(9000))),
        ("{product}", random.pick(PRODUCTS).to_owned()),
        ("{count}", (2 + random.below(8)).to_string()),
        ("{city}", city.to_owned()),
        ("{old}", random.pick(&others).to_owned()),
        ("{day}", random.pick(DAYS).to_owned()),
    ];
    let fill = |text: &str| gaps.iter().fold(text.to_owned(), |text, (gap, value)| text.replace(gap, value));
    let topic = random.below(TOPICS.len());
    let (says, reply) = TOPICS.get(topic).map_or((&[][..], ""), |topic| (topic.says, topic.reply));
    let text = format!("{}{}{}", random.pick(OPENERS), fill(random.pick(says)), random.pick(CLOSERS));
    Message { text, truth: Some(fill(reply)), mistakable_for: None, sensitive: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_say_what_the_message_says_and_the_frontier_errs_now_and_then() {
        let traffic = generated(&mut Random::new(4));
        for message in traffic.messages() {
            let reply = message.truth.as_deref().unwrap();
            assert!(!message.text.contains('{') && !reply.contains('{'), "{message:?}");
            let values = [PRODUCTS, CITIES, DAYS].concat();
            let said: Vec<&str> = values.into_iter().filter(|value| reply.contains(value)).collect();
            assert!(!said.is_empty() && said.iter().all(|value| message.text.contains(value)), "{message:?}");
        }
        let wrong: Vec<_> =
            traffic.messages().filter(|message| Some(answer(message, 3)) != message.truth).collect();
        assert!((2..30).contains(&wrong.len()), "{}", wrong.len());
    }
}
