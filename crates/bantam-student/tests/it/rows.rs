//! Generated rows for the tests.

use bantam_student::{Example, LinearConfig, LinearStudent, linear};

const OPENINGS: [&str; 6] = ["please", "could you", "i want to", "help me", "now", "kindly"];
const TOPICS: [(&str, [&str; 4]); 3] = [
    ("card", ["block my card", "order a new card", "my card was stolen", "the card is broken"]),
    ("rate", ["show the exchange rate", "what is the rate today", "rate for euros", "compare rates"]),
    ("transfer", ["transfer money abroad", "send a transfer", "my transfer is late", "cancel the transfer"]),
];

/// Returns 72 rows of three labels; the rows of a label share words that others do not have.
pub(crate) fn rows() -> Vec<Example> {
    let mut rows = Vec::new();
    for (label, phrases) in TOPICS {
        for phrase in phrases {
            for opening in OPENINGS {
                rows.push(Example { text: format!("{opening} {phrase}"), label: label.to_owned() });
            }
        }
    }
    rows
}

/// Returns [`rows`] and twelve out-of-scope rows.
pub(crate) fn rows_with_out_of_scope() -> Vec<Example> {
    let mut rows = rows();
    for thing in ["weather", "football", "soup", "poem", "holiday", "garden"] {
        for question in ["tell me about the", "who likes a"] {
            rows.push(Example { text: format!("{question} {thing}"), label: "oos".to_owned() });
        }
    }
    rows
}

/// Returns a student trained on [`rows`].
pub(crate) fn student() -> LinearStudent {
    linear::train(&rows(), &LinearConfig::recommended()).unwrap().0
}
