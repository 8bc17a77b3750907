//! The name of everything that a student's answers depend on.

use data_encoding::HEXLOWER;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{AnswerForm, StudentTask};

impl StudentTask {
    /// Returns the SHA-256, in hex, of everything that the answers depend on: the `files` of the model and its adapter,
    /// named by the SHA-256 of their contents (the chat template and the quantisation are in them), the prompt, the form
    /// of the answers, their length, the further answers that are drawn, and the verifier. A certificate is void for any
    /// other. The task's name does not count.
    pub fn fingerprint(&self, files: &[String]) -> String {
        let form = match &self.form {
            AnswerForm::Labels(labels) => json!({ "labels": &**labels }),
            AnswerForm::Json(schema) => json!({ "schema": schema }),
            AnswerForm::Regex(expression) => json!({ "regex": &**expression }),
            AnswerForm::Lark(text) => json!({ "lark": &**text }),
            AnswerForm::Text => json!("text by its least sure token"),
        };
        let mut all = json!({
            "kind": "decoder-student-1", "files": files, "instructions": &*self.instructions, "form": form,
            "tokens_max": self.tokens_max, "samples": self.samples,
        });
        // A verifier is named with the salt of its words, where it has one.
        if let Some(verifier) = &self.verifier {
            all["verifier"] = json!(**verifier);
        }
        HEXLOWER.encode(&Sha256::digest(all.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(form: AnswerForm) -> StudentTask {
        StudentTask {
            name: "desk".into(),
            instructions: "Answer.".into(),
            form,
            tokens_max: 16,
            samples: 0,
            verifier: None,
        }
    }

    #[test]
    fn whatever_answers_depend_on_has_another_fingerprint_and_the_name_does_not() {
        let files = ["aa".to_owned(), "bb".to_owned()];
        let plain = task(AnswerForm::Text).fingerprint(&files);
        assert_eq!(StudentTask { name: "other".into(), ..task(AnswerForm::Text) }.fingerprint(&files), plain);
        let others = [
            task(AnswerForm::Text).fingerprint(&files[..1]),
            task(AnswerForm::Regex("a+".into())).fingerprint(&files),
            StudentTask { instructions: "Say.".into(), ..task(AnswerForm::Text) }.fingerprint(&files),
            StudentTask { tokens_max: 17, ..task(AnswerForm::Text) }.fingerprint(&files),
            StudentTask { samples: 1, ..task(AnswerForm::Text) }.fingerprint(&files),
        ];
        for (place, other) in others.iter().enumerate() {
            assert!(*other != plain && !others[..place].contains(other), "{place}");
        }
    }

    #[test]
    fn fingerprints_of_earlier_versions_still_name_the_same() {
        let expected = Sha256::digest(
            br#"{"kind":"decoder-student-1","files":["aa"],"instructions":"Answer.","form":{"labels":["x","y"]},"tokens_max":16,"samples":0}"#,
        );
        let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
        let labels = AnswerForm::Labels(vec!["x".to_owned(), "y".to_owned()].into());
        assert_eq!(task(labels).fingerprint(&["aa".to_owned()]), expected);
    }
}
