//! What Bantam says about an answer: the `bantam` object in a body, the same facts as headers.

use bantam_types::{EscalationReason, TaskName, Tier, Usd};

/// How an answer came about; written twice, as headers and as an object in the body.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutingNote {
    /// The request's id, as in the ledger and in `x-request-id`.
    pub request_id: u128,
    /// The task, if the request belonged to one.
    pub task: Option<TaskName>,
    /// The tier that answered.
    pub tier: Tier,
    /// The model that answered, as the configuration calls it.
    pub model: std::sync::Arc<str>,
    /// The student's calibrated probability, when one answered.
    pub confidence: Option<f32>,
    /// Why rungs before the one that answered did not, in order.
    pub escalated: Vec<EscalationReason>,
    /// What all attempts cost; `None` when one of them is unpriced or not yet known.
    pub cost: Option<Usd>,
}

impl RoutingNote {
    /// Returns the request's id as callers see it.
    pub fn request_id_text(request_id: u128) -> String {
        format!("req_{request_id:032x}")
    }

    /// Returns the reasons as one word list: `low_confidence,timeout`, or `no`.
    pub fn escalated_text(&self) -> String {
        if self.escalated.is_empty() {
            return "no".to_owned();
        }
        self.escalated.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Appends the `bantam` object to `json`.
    pub fn write_json(&self, json: &mut String) {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!(json, "{{\"request_id\":\"req_{:032x}\",\"task\":", self.request_id);
        match &self.task {
            Some(task) => drop(write!(json, "\"{task}\"")),
            None => json.push_str("null"),
        }
        let model = serde_json::to_string(&*self.model).unwrap_or_default();
        let _ = write!(json, ",\"tier\":\"{}\",\"model\":{model},\"confidence\":", self.tier);
        match self.confidence {
            Some(confidence) => drop(write!(json, "{confidence:.4}")),
            None => json.push_str("null"),
        }
        json.push_str(",\"escalated\":[");
        for (position, reason) in self.escalated.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let _ = write!(json, "{comma}\"{reason}\"");
        }
        json.push_str("],\"cost_usd\":");
        match self.cost {
            Some(cost) => drop(write!(json, "{cost}")),
            None => json.push_str("null"),
        }
        json.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_is_json_with_an_exact_cost() {
        let note = RoutingNote {
            request_id: 7,
            task: Some("intent".parse().unwrap()),
            tier: Tier::Frontier,
            model: "a\"b".into(),
            confidence: Some(0.75),
            escalated: vec![EscalationReason::LowConfidence, EscalationReason::Timeout],
            cost: Some(Usd::from_picodollars(1_250_000)),
        };
        let mut json = String::new();
        note.write_json(&mut json);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["model"], "a\"b");
        assert_eq!(value["escalated"][1], "timeout");
        assert!(json.contains("\"cost_usd\":0.00000125"), "{json}");
        assert_eq!(note.escalated_text(), "low_confidence,timeout");
    }
}
