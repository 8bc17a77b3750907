//! What customers write to be replied to, and the replies: the tables that the task that writes draws from.

/// A topic of messages that are replied to: ways of writing them, and the reply. Whatever the reply holds, they all hold.
pub(crate) struct Topic {
    pub(crate) says: &'static [&'static str],
    pub(crate) reply: &'static str,
}

const fn topic(says: &'static [&'static str], reply: &'static str) -> Topic {
    Topic { says, reply }
}

/// What is replied to. Of `{old}` and `{order}` no reply says anything.
pub(crate) const TOPICS: &[Topic] = &[
    topic(
        &[
            "can you bring the {product} to {city} on {day}",
            "deliver the {product} on {day}, I live in {city}",
            "I am in {city} on {day} only, bring the {product} then",
            "on {day} I am at home in {city}, order {order}, the {product}",
        ],
        "The {product} comes to {city} on {day}.",
    ),
    topic(
        &[
            "cancel the {product}",
            "I changed my mind about the {product}, order {order}",
            "do not send the {product} to {city}",
            "I ordered the {product} by mistake on {day}",
        ],
        "We cancel the {product}.",
    ),
    topic(
        &[
            "I moved from {old} to {city}, send the {product} there",
            "the {product} should go to {city} and not to {old}",
            "wrong address on {order}: the {product} is for {city}",
            "send the {product} to my office in {city}",
        ],
        "We send the {product} to {city}.",
    ),
    topic(
        &[
            "the {product} arrived broken, I am at home on {day}",
            "order {order}: the {product} has a crack, come on {day}",
            "my {product} came in pieces, can I have another one on {day}",
            "the {product} leaks, {day} would suit me for a new one",
        ],
        "Sorry about the {product}. A new one comes on {day}.",
    ),
    topic(
        &[
            "I want to return the {product}, I am in {city} on {day}",
            "fetch the {product} in {city} on {day}, it does not fit",
            "can somebody pick up the {product} on {day} in {city}",
            "take the {product} of {order} back, {day} in {city}",
        ],
        "We fetch the {product} in {city} on {day}.",
    ),
    topic(
        &[
            "is the {product} in stock in {city}",
            "can I buy a {product} in {city} on {day}",
            "does your shop in {city} have the {product}",
            "I would like to look at the {product} in {city}",
        ],
        "We ask our shop in {city} about the {product}.",
    ),
    topic(
        &[
            "make it {count} of the {product}",
            "I need {count} of the {product}, order {order}",
            "order {order}: {count} of the {product} and not one",
            "our branch in {city} wants {count} of the {product}",
        ],
        "We note {count} of the {product}.",
    ),
];

/// When it suits them.
pub(crate) const DAYS: &[&str] = &["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
