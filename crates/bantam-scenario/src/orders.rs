//! A task that extracts: messages about orders, and what stands in them as JSON.

use serde_json::{Value, json};

use crate::desk::Message;
use crate::random::Random;
use crate::traffic::{Traffic, errs};
use crate::words::{CITIES, ORDER_SAYS, PRODUCTS};

/// The task's name.
pub const NAME: &str = "order";
/// What the application tells a model to do.
pub const INSTRUCTIONS: &str = "Read the message. Answer with a JSON object of its order, product, count, day and city, and \
    nothing else; leave out what is not there.";
const TEACH: usize = 3600;
const REPLAY: usize = 2880;
/// How often the simulated frontier forgets a value.
const ERROR: f64 = 0.002;

/// Returns generated messages.
pub fn generated(random: &mut Random) -> Traffic {
    Traffic::drawn((TEACH, REPLAY), message, random)
}

/// Returns what the simulated frontier says to a message: the truth, or now and then all of it but one value.
pub fn answer(message: &Message, seed: u64) -> String {
    let truth = message.truth.as_deref().unwrap_or_default();
    let mut said: Value = serde_json::from_str(truth).unwrap_or_default();
    if let Some(members) = said.as_object_mut().filter(|members| members.len() > 1)
        && errs(message, seed ^ 2, ERROR)
        && let Some(forgotten) = members.keys().next_back().cloned()
    {
        members.remove(&forgotten);
    }
    said.to_string()
}

fn message(random: &mut Random) -> Message {
    let order = format!("A-{}", 1000 + random.below(9000));
    let (product, city) = (random.pick(PRODUCTS), random.pick(CITIES));
    let count = 2 + random.below(11);
    let words = ["two", "three", "four", "five", "six"];
    let count_said = words
        .get(count - 2)
        .filter(|_| random.chance(0.5))
        .map_or_else(|| count.to_string(), |word| (*word).to_owned());
    let (day, month) = (1 + random.below(28), 1 + random.below(12));
    let names = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let name = names.get(month - 1).copied().unwrap_or_default();
    let date_said = match random.below(3) {
        0 => format!("{day} {name} 2027"),
        1 => format!("{name} {day}, 2027"),
        _ => format!("{day}.{month}.2027"),
    };
    let says = random.pick(ORDER_SAYS);
    let mut truth = serde_json::Map::new();
    let values = [
        ("order", order.clone(), json!(order)),
        ("product", product.to_owned(), json!(product)),
        ("count", count_said, json!(count)),
        ("day", date_said, json!(format!("2027-{month:02}-{day:02}"))),
        ("city", city.to_owned(), json!(city)),
    ];
    let mut text = says.to_owned();
    for (name, said, value) in values {
        let gap = format!("{{{name}}}");
        if text.contains(&gap) {
            text = text.replace(&gap, &said);
            truth.insert(name.to_owned(), value);
        }
    }
    Message { text, truth: Some(Value::Object(truth).to_string()), mistakable_for: None, sensitive: false }
}

/// The schema of the answers.
pub fn schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "order": { "type": "string", "pattern": "^A-[0-9]{4}$" },
            "product": { "type": "string" },
            "count": { "type": "integer", "minimum": 1 },
            "day": { "type": "string", "format": "date" },
            "city": { "type": "string" }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_what_their_truth_says() {
        let orders = generated(&mut Random::new(4));
        let slots: Vec<String> = ["order", "product", "count", "day", "city"].map(str::to_owned).to_vec();
        let shape = bantam_extract::Shape::new(&schema(), &slots).unwrap();
        for message in orders.teach.iter().take(500) {
            let truth = message.truth.as_deref().unwrap();
            let row = bantam_student::slots_of_answer(&message.text, truth, &shape);
            assert!(row.is_ok_and(|row| !row.spans.is_empty()), "{} {truth}", message.text);
        }
        let wrong = orders.messages().filter(|message| Some(answer(message, 3)) != message.truth).count();
        assert!((3..40).contains(&wrong), "{wrong}");
    }
}
