//! `errors.md`, from the table of error words.

use bantam_types::{EscalationReason, FaultKind};
use bantam_wire::SLUGS;
use bantam_wire::openai::error_type;

use super::{check_page, head, heading, row};

#[test]
fn the_page_of_errors_is_the_table_of_words() {
    let mut page = head(
        "Error codes",
        "An error has OpenAI's shape: `{\"error\": {\"message\", \"type\", \"param\", \"code\"}}`. `code` is the stable word \
         below; `message` says what happened and what to do, and may change. It never holds prompt text, keys, or an \
         upstream's own words.",
    );
    page.push('\n');
    page.push_str(&heading(&["Status", "`code`", "`type`", "Meaning"]));
    for slug in SLUGS {
        let (word, kind) = (format!("`{}`", slug.word), format!("`{}`", error_type(slug.code)));
        page.push_str(&row(&[&slug.status.to_string(), &word, &kind, slug.about]));
    }
    page.push_str(
        "\n## Why a rung did not answer\n\n`x-bantam-escalated`, the ledger and `bantam usage` name these reasons:\n\n",
    );
    page.push_str(&heading(&["Reason", "Meaning"]));
    for reason in EscalationReason::ALL {
        page.push_str(&row(&[&format!("`{reason}`"), meaning(reason)]));
    }
    page.push_str(
        "\n## Why an attempt failed\n\nThe error's message, the log (`fault`) and the ledger name what kept an attempt from \
         answering. The log says beside it which upstream it was, its status, how long it took, and what would help:\n\n",
    );
    page.push_str(&heading(&["Fault", "Meaning"]));
    for kind in FaultKind::ALL {
        page.push_str(&row(&[&format!("`{kind}`"), kind.about()]));
    }
    check_page("errors.md", &page);
}

/// Returns what a reason means. It is a match, so that a new reason gets its words.
fn meaning(reason: EscalationReason) -> &'static str {
    match reason {
        EscalationReason::LowConfidence => "The confidence is below the threshold.",
        EscalationReason::Uncertified => {
            "No certificate holds, and the task does not allow answering without one."
        }
        EscalationReason::InvalidOutput => "The answer is not one that the task allows.",
        EscalationReason::TooLong => "The request or the answer does not fit the model.",
        EscalationReason::OutOfScope => "The student says that the request does not belong to its task.",
        EscalationReason::Timeout => "No answer in time.",
        EscalationReason::Error => "The backend failed.",
        EscalationReason::Unavailable => {
            "The backend was not asked: its circuit breaker is open, or its queue is full."
        }
        EscalationReason::Audit => "The answer may be good; it is compared with a higher tier on purpose.",
    }
}
