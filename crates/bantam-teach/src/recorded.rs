//! Which recorded answers teach and which prove.

use bantam_eval::reserved_for_certification;
use bantam_student::Example;

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

    /// Returns those of a task's recorded answers that serve this purpose, in their order.
    ///
    /// # Errors
    /// The first error of whoever reads them.
    pub fn select<E>(self, answers: impl IntoIterator<Item = Result<Example, E>>) -> Result<Vec<Example>, E> {
        let is_taken =
            |answer: &Result<Example, E>| answer.as_ref().map_or(true, |answer| self.takes(&answer.text));
        answers.into_iter().filter(is_taken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_serves_one_purpose_and_a_quarter_proves() {
        let answers: Vec<Example> = (0..4000)
            .map(|number| Example { text: format!("order {number}"), label: "x".to_owned() })
            .collect();
        let select =
            |purpose: Purpose| purpose.select(answers.iter().cloned().map(Ok::<_, std::io::Error>)).unwrap();
        let (teach, prove) = (select(Purpose::Training), select(Purpose::Certification));
        assert_eq!(teach.len() + prove.len(), 4000);
        assert!((900..1100).contains(&prove.len()), "{}", prove.len());
        assert!(teach.iter().all(|answer| !prove.contains(answer)));
    }

    #[test]
    fn an_answer_that_cannot_be_read_ends_the_selection() {
        let good = Example { text: "a".to_owned(), label: "x".to_owned() };
        for purpose in [Purpose::Training, Purpose::Certification] {
            assert_eq!(purpose.select([Ok(good.clone()), Err("broken")]), Err("broken"));
        }
    }
}
