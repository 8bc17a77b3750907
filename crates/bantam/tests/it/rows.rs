//! Labelled rows that a small student learns without an error.

const KINDS: [(&str, &str); 3] = [
    ("order_status", "where is the parcel with my {} and when will it arrive"),
    ("refund", "please give me my money back for the broken {}"),
    ("password", "i forgot the password and cannot sign in on the {}"),
];
const THINGS: [&str; 10] =
    ["lamp", "jacket", "kettle", "phone", "desk", "tablet", "blender", "camera", "tent", "watch"];

/// Returns `count` rows as JSON lines; different `from` give different texts.
pub(crate) fn lines(from: usize, count: usize) -> String {
    let row = |number: usize| {
        let (label, text) = KINDS[number % KINDS.len()];
        let text = text.replace("{}", THINGS[number % THINGS.len()]);
        serde_json::json!({"text": format!("{text}, ticket {number}"), "label": label}).to_string() + "\n"
    };
    (from..from + count).map(row).collect()
}

/// Returns rows like [`lines`], each with the label of the next kind: nothing can be right about them.
pub(crate) fn wrong_lines(from: usize, count: usize) -> String {
    let lines = lines(from, count);
    let turned = lines.lines().map(|line| {
        let mut line = line.to_owned();
        for ((label, _), (next, _)) in KINDS.iter().zip(KINDS.iter().cycle().skip(1)) {
            let (now, then) = (format!("\"label\":\"{label}\""), format!("\"label\":\"{next}\""));
            if line.contains(&now) {
                line = line.replace(&now, &then);
                break;
            }
        }
        line + "\n"
    });
    turned.collect()
}
