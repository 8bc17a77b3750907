//! Labels scored, held against what the same model says token by token.

use std::sync::Arc;

use bantam_local::{LabelError, LocalModel};
use serde_json::{Value, json};

use crate::tiny::{backend, options, whole};
use crate::tiny_model::write;

fn model() -> Arc<LocalModel<bantam_engine::Adapter>> {
    let folder = tempfile::tempdir().unwrap();
    Arc::new(LocalModel::open(write(folder.path()), &options()).unwrap())
}

fn talk() -> Vec<Value> {
    vec![json!({ "role": "user", "content": "my lamp broke" })]
}

fn labels(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn the_probability_of_a_label_is_that_of_its_tokens_one_after_the_other() {
    let scores =
        model().score_labels(&talk(), &labels(&["ab", "ac", "b"]), ("t".into(), None)).await.unwrap();
    assert!((scores.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    // The same by asking for each token alone: a bias bans all others, and the model's own probability is told.
    let backend = backend();
    let told = async |content: &str, token: u8| {
        let ask = json!({
            "max_tokens": 1, "logprobs": true, "temperature": 0, "logit_bias": { token.to_string(): 100 },
        });
        let body = whole(&backend, content, ask).await;
        body["choices"][0]["logprobs"]["content"][0]["logprob"].as_f64().unwrap()
    };
    let first = told("my lamp broke", b'b').await;
    let end = scores.log_probabilities[2] - first;
    assert!(end < 0.0, "b, and then the end: {} of {first}", scores.log_probabilities[2]);
    assert!(scores.log_probabilities[0] < told("my lamp broke", b'a').await);
}

#[tokio::test]
async fn the_order_of_labels_changes_nothing() {
    let model = model();
    let one =
        model.score_labels(&talk(), &labels(&["refund", "re", "praise"]), ("t".into(), None)).await.unwrap();
    let other =
        model.score_labels(&talk(), &labels(&["praise", "refund", "re"]), ("t".into(), None)).await.unwrap();
    assert_eq!(one.log_probabilities[2], other.log_probabilities[0]);
    assert_eq!(one.log_probabilities[0], other.log_probabilities[1]);
}

#[tokio::test]
async fn labels_that_are_none_are_named() {
    let error = model().score_labels(&talk(), &labels(&["a", "a"]), ("t".into(), None)).await.unwrap_err();
    assert!(matches!(error, LabelError::Labels(_)), "{error}");
}
