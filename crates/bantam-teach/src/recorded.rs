//! Which recorded answers teach and which prove.

use bantam_eval::reserved_for_certification;

/// The share of a task's recorded answers that is kept for certification and never trained on.
pub const RESERVED_SHARE: f64 = 0.25;

/// What recorded answers are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To learn from: all that are not kept back.
    Training,
    /// To prove something on: those that are kept back.
    Certification,
}

impl Purpose {
    /// Returns whether the answer to `text` serves this purpose. The text decides, so that equal texts are always on the
    /// same side, whenever they were recorded.
    pub fn takes(self, text: &str) -> bool {
        reserved_for_certification(text, RESERVED_SHARE) == (self == Self::Certification)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_serves_one_purpose_and_a_quarter_proves() {
        let answers: Vec<String> = (0..4000).map(|number| format!("order {number}")).collect();
        let select =
            |purpose: Purpose| answers.iter().filter(|text| purpose.takes(text)).cloned().collect::<Vec<_>>();
        let (teach, prove) = (select(Purpose::Training), select(Purpose::Certification));
        assert_eq!(teach.len() + prove.len(), 4000);
        assert!((900..1100).contains(&prove.len()), "{}", prove.len());
        assert!(teach.iter().all(|answer| !prove.contains(answer)));
    }
}
