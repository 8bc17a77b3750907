//! What the customers of the shop say: the tables that the generator draws from.

/// An intent and the ways of saying it; `{…}` are filled from [`FILLERS`].
pub(crate) struct Intent {
    pub(crate) label: &'static str,
    pub(crate) says: &'static [&'static str],
}

/// The label of everything that the shop has nothing to do with.
pub(crate) const OUT_OF_SCOPE: &str = "out_of_scope";

const fn intent(label: &'static str, says: &'static [&'static str]) -> Intent {
    Intent { label, says }
}

/// The shop's intents.
pub(crate) const INTENTS: &[Intent] = &[
    intent(
        "order_status",
        &[
            "where is my order",
            "has my {item} been shipped yet",
            "when will the {item} I ordered {when} arrive",
            "what is the status of order {number}",
            "I still have no news about my {item}",
            "can you tell me where my package is right now",
            "tracking for order {number} has not moved since {when}",
            "is there any update on the delivery of my {item}",
        ],
    ),
    intent(
        "cancel_order",
        &[
            "I want to cancel my order",
            "please cancel order {number}",
            "can I still cancel the {item} I bought {when}",
            "stop my order before it ships",
            "I ordered the {item} by mistake, cancel it please",
            "how do I cancel an order I placed {when}",
            "changed my mind, do not send the {item}",
        ],
    ),
    intent(
        "change_address",
        &[
            "I need to change the delivery address",
            "send my order to another address",
            "I moved to {city}, update where order {number} goes",
            "the shipping address on my order is wrong",
            "can you deliver the {item} to {city} instead",
            "how can I edit my delivery address",
            "wrong house number on order {number}, please correct the address",
        ],
    ),
    intent(
        "return_item",
        &[
            "I want to return the {item}",
            "how do I send the {item} back",
            "the {item} does not fit, I would like to return it",
            "what is your return policy",
            "can I return something I bought {when}",
            "I need a return label for my {item}",
            "where do I drop off a return",
        ],
    ),
    intent(
        "refund_status",
        &[
            "when will I get my refund",
            "my refund has not arrived",
            "you received my return {when}, where is my money",
            "how long does a refund take",
            "the refund for order {number} is missing",
            "I am still waiting to be refunded for the {item}",
            "has the refund for my {item} been processed",
        ],
    ),
    intent(
        "damaged_item",
        &[
            "my {item} arrived broken",
            "the {item} has a big scratch on it",
            "the box was crushed and the {item} is damaged",
            "the {item} came in pieces",
            "screen of the {item} is cracked out of the box",
            "I received a damaged {item} {when}",
            "the {item} leaks and looks dented",
        ],
    ),
    intent(
        "wrong_item",
        &[
            "you sent me the wrong {item}",
            "I ordered a {item} and got something else",
            "this is not the {item} I ordered",
            "wrong colour, I asked for a {colour} {item}",
            "the parcel had somebody else's {item} in it",
            "I received a {colour} one instead of the {item} I chose",
            "order {number} contained the wrong product",
        ],
    ),
    intent(
        "missing_item",
        &[
            "the {item} is missing from my parcel",
            "one thing was not in the box",
            "only half of order {number} arrived",
            "I paid for two and got one {item}",
            "my delivery is incomplete, no {item}",
            "there was no charger in the box with the {item}",
            "part of my order is missing",
        ],
    ),
    intent(
        "payment_failed",
        &[
            "my payment was declined",
            "I cannot pay for the {item}",
            "the checkout says payment failed",
            "my card does not work at checkout",
            "I get an error when I pay",
            "payment for order {number} did not go through",
            "why was my card rejected when I bought the {item}",
        ],
    ),
    intent(
        "double_charge",
        &[
            "I was charged twice",
            "you took the money two times for order {number}",
            "there are two charges for one {item}",
            "double payment on my statement since {when}",
            "why did you bill me twice for the {item}",
            "the same amount left my account twice",
            "duplicate charge for my {item}",
        ],
    ),
    intent(
        "invoice_request",
        &[
            "I need an invoice for order {number}",
            "can I get a receipt for the {item}",
            "please send the bill as a pdf",
            "where do I download my invoice",
            "my company needs an invoice with vat for the {item}",
            "I lost the receipt of what I bought {when}",
            "send me the tax invoice for my purchase",
        ],
    ),
    intent(
        "discount_code",
        &[
            "my discount code does not work",
            "the voucher is rejected",
            "do you have a coupon for the {item}",
            "promo code says expired",
            "how do I use my voucher at checkout",
            "I forgot to enter my discount code on order {number}",
            "is there any promotion on a {item} this week",
        ],
    ),
    intent(
        "product_availability",
        &[
            "when is the {item} back in stock",
            "do you have the {item} in {colour}",
            "is the {item} available in {city}",
            "the {item} is sold out, when will you get more",
            "can you reserve a {colour} {item} for me",
            "how many {item}s do you have left",
            "will the {item} be restocked soon",
        ],
    ),
    intent(
        "product_question",
        &[
            "is the {item} waterproof",
            "how heavy is the {item}",
            "does the {item} work with my phone",
            "what are the dimensions of the {item}",
            "which battery does the {item} need",
            "what material is the {item} made of",
            "is the {colour} {item} suitable for children",
        ],
    ),
    intent(
        "warranty",
        &[
            "how long is the warranty on the {item}",
            "my {item} stopped working, is it under guarantee",
            "the {item} broke after a year, does warranty cover it",
            "how do I make a warranty claim",
            "is there a guarantee for the {item}",
            "can I extend the warranty of my {item}",
        ],
    ),
    intent(
        "reset_password",
        &[
            "I forgot my password",
            "how do I reset my password",
            "the password reset email never came",
            "I cannot log in, wrong password",
            "please send me a new password link",
            "password link has expired",
            "reset link does not work on my phone",
        ],
    ),
    intent(
        "account_locked",
        &[
            "my account is locked",
            "you blocked my account",
            "it says my account is suspended",
            "please unlock my account",
            "too many attempts and now my account is locked",
            "why was my account disabled {when}",
        ],
    ),
    intent(
        "delete_account",
        &[
            "I want to delete my account",
            "please close my account for good",
            "erase all my data",
            "how do I remove my profile",
            "delete everything you know about me",
            "I no longer want an account with you",
        ],
    ),
    intent(
        "newsletter",
        &[
            "stop sending me emails",
            "unsubscribe me from the newsletter",
            "I get too many marketing mails",
            "how do I sign up for the newsletter",
            "take me off your mailing list",
            "I still get your newsletter after unsubscribing",
        ],
    ),
    intent(
        "gift_card",
        &[
            "I want to buy a gift card",
            "how do I redeem my gift card",
            "what is the balance of my gift card",
            "my gift card code is not accepted",
            "can I send a gift card by email",
            "does a gift card expire",
        ],
    ),
    intent(
        "loyalty_points",
        &[
            "how many points do I have",
            "my loyalty points are missing",
            "points for order {number} were not added",
            "how do I spend my points",
            "when do my bonus points expire",
            "what do I get for my loyalty points",
        ],
    ),
    intent(
        "store_hours",
        &[
            "when does the shop in {city} open",
            "are you open on sunday",
            "what are your opening hours",
            "is there a store near {city}",
            "until what time is the {city} store open",
            "are you closed on holidays",
        ],
    ),
    intent(
        "human_agent",
        &[
            "I want to talk to a person",
            "connect me to an agent",
            "can somebody call me back",
            "let me speak to your manager",
            "this bot does not help, give me a human",
            "is there a number to reach a real person",
        ],
    ),
    intent(
        "complaint",
        &[
            "your service is terrible",
            "I am very unhappy with how I was treated",
            "this is the worst shop ever",
            "I want to file a complaint",
            "the courier was rude to me",
            "nobody answers me for days and I am furious",
            "I am disappointed by the quality of your support",
        ],
    ),
];

/// What is none of the shop's business.
pub(crate) const FOREIGN: &[&str] = &[
    "what is the weather like in {city} {when}",
    "write me a poem about a {colour} moon",
    "who won the match {when}",
    "translate good morning into spanish",
    "how do I cook rice",
    "tell me a joke about a cat",
    "what is the capital of peru",
    "book me a flight to {city}",
    "play some music",
    "how tall is the tallest mountain",
    "what is twelve times eleven",
    "recommend a film for tonight",
    "set an alarm for seven",
    "how do I fix a flat tyre",
    "what does photosynthesis mean",
];

/// Open-ended work for an agent; not a classification at all.
pub(crate) const OPEN_ENDED: &[&str] = &[
    "Draft a short reply to a customer whose {item} came late for the second time.",
    "Suggest two ways to apologise for a {item} that broke {when}.",
    "Write a friendly note that explains why the {colour} {item} is sold out.",
    "Summarise for a colleague in {city} how to handle an angry caller about a {item}.",
];

/// What stands before a sentence.
pub(crate) const OPENERS: &[&str] = &[
    "",
    "",
    "",
    "",
    "hi, ",
    "hello, ",
    "good morning, ",
    "hey there, ",
    "dear team, ",
    "sorry to bother you, ",
    "quick question: ",
    "help please, ",
    "ok so ",
    "excuse me, ",
];

/// What stands behind a sentence.
pub(crate) const CLOSERS: &[&str] = &[
    "",
    "",
    "",
    "",
    "?",
    ".",
    "!",
    " please",
    ", thanks",
    " thank you very much",
    ", it is urgent",
    " asap",
    "...",
    ", I have been a customer for years",
];

/// What the shop sells.
pub(crate) const PRODUCTS: &[&str] = &[
    "kettle",
    "backpack",
    "lamp",
    "blue jacket",
    "headphones",
    "coffee grinder",
    "office chair",
    "tent",
    "toaster",
    "running shoes",
    "keyboard",
    "blender",
    "rug",
    "winter coat",
    "bike helmet",
    "desk",
    "speaker",
    "watch",
    "suitcase",
    "mixer",
];

/// Where its customers live.
pub(crate) const CITIES: &[&str] = &[
    "Leeds", "Porto", "Turin", "Lyon", "Ghent", "Bergen", "Graz", "Cork", "Malaga", "Basel", "Oslo", "Krakow",
];

/// What agents note about orders; `{…}` are filled by the generator, which knows each one's place in the answer.
pub(crate) const ORDER_SAYS: &[&str] = &[
    "please send {count} more {product} for order {order} to {city}",
    "order {order}: the {product} should arrive in {city} by {day}",
    "caller from {city} wants {count} {product}, delivery on {day}",
    "change {order} to {count} {product}",
    "{order} was promised for {day}, customer lives in {city}",
    "new address for order {order} is in {city}, and it is {count} {product} now",
    "on {day} the shop in {city} ordered {count} {product}",
    "pick up the {product} of order {order} in {city} on {day}",
    "refund {order}, the {product} never came",
    "can {order} leave on {day}? It is {count} {product} for our branch in {city}",
    "spoke to {city}: {order} stays as it is",
    "the {product} from {day} has not reached {city}",
];

/// What fills the gaps.
pub(crate) const FILLERS: &[(&str, &[&str])] = &[
    ("{item}", PRODUCTS),
    ("{colour}", &["red", "green", "black", "white", "grey", "yellow", "purple", "brown"]),
    ("{city}", CITIES),
    (
        "{when}",
        &[
            "yesterday",
            "last week",
            "on monday",
            "two days ago",
            "this morning",
            "on friday",
            "in march",
            "a month ago",
            "tonight",
        ],
    ),
];

/// Sentences with personal data; `{…}` are filled with made-up values.
pub(crate) const PERSONAL: &[&str] = &[
    "my email is {email}",
    "you can reach me at {email}",
    "call me on {phone}",
    "my card is {card}",
    "please refund to {iban}",
    "my number is {phone}",
    "I paid with {card}",
];
