//! The embedding backend.

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault};
use bantam_privacy::{PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_student::{BasePrecision, Bases, EmbeddingBackend, is_encoder};
use bantam_types::{Label, Tier};
use bantam_wire::{AnswerContext, DecodeLimits, Endpoint, Feature, RoutingNote, openai};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::tiny_base;

fn backend() -> EmbeddingBackend {
    let folder = tempfile::tempdir().unwrap();
    tiny_base::write(folder.path(), 7);
    assert!(is_encoder(folder.path()));
    let base = Bases::new(2).open(folder.path(), BasePrecision::F32).unwrap();
    EmbeddingBackend::new(base, "tiny".to_owned())
}

fn ask(
    backend: &EmbeddingBackend,
    endpoint: &'static dyn Endpoint,
    body: Value,
) -> Result<Value, BackendError> {
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() }).unwrap();
    let scanned =
        Scanned::decode(endpoint, body.to_string().into(), &DecodeLimits::default(), &scanner).unwrap();
    let policy = PrivacyPolicy { mid_max: Label::Public, frontier_max: Label::Public };
    let cleared = policy.clear(&scanned, Tier::Local).unwrap();
    let call = cleared.request().clone();
    let ask = Ask::default();
    let answer = backend.answer(cleared, ask);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    match runtime.block_on(answer)? {
        Answer::Whole(whole) => {
            let context = AnswerContext { call: &call, request_id: 1, created_unix_s: 1, model: "m" };
            Ok(serde_json::from_slice(&endpoint.whole(&whole.body, context, &note()).unwrap()).unwrap())
        }
        _ => unreachable!("vectors come whole"),
    }
}

fn note() -> RoutingNote {
    RoutingNote {
        request_id: 1,
        task: None,
        tier: Tier::Local,
        model: "m".into(),
        confidence: None,
        escalated: Vec::new(),
        cost: None,
    }
}

fn embed(backend: &EmbeddingBackend, body: Value) -> Value {
    ask(backend, openai::EMBEDDINGS, body).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

#[test]
fn many_texts_get_the_same_unit_vectors_as_single_ones() {
    let backend = backend();
    let texts: Vec<String> = (0..150).map(|index| format!("text {} of many", index % 40)).collect();
    let body = embed(&backend, json!({"model": "m", "input": texts}));
    assert_eq!(body["data"].as_array().unwrap().len(), 150);
    for index in [0, 63, 64, 149] {
        let alone = embed(&backend, json!({"model": "m", "input": texts[index]}));
        assert_eq!(body["data"][index]["embedding"], alone["data"][0]["embedding"]);
        assert_eq!(body["data"][index]["index"], index);
        let length: f32 = numbers(&alone["data"][0]["embedding"]).iter().map(|number| number * number).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    let tokens = body["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(tokens >= 150 * 3 && tokens == body["usage"]["total_tokens"], "{tokens}");
}

#[test]
fn base64_has_the_same_numbers_and_fewer_dimensions_are_still_a_unit_vector() {
    let backend = backend();
    let plain = embed(&backend, json!({"model": "m", "input": "a", "encoding_format": "float"}));
    let packed = embed(&backend, json!({"model": "m", "input": "a", "encoding_format": "base64"}));
    let bytes = STANDARD.decode(packed["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let unpacked: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let plain = numbers(&plain["data"][0]["embedding"]);
    assert_eq!(unpacked, plain);
    let short = embed(&backend, json!({"model": "m", "input": "a", "dimensions": 4}));
    let short = numbers(&short["data"][0]["embedding"]);
    assert_eq!(short.len(), 4);
    let scale = short[0] / plain[0];
    assert!(short.iter().zip(&plain).all(|(short, long)| (short - long * scale).abs() < 1e-5));
    assert!((short.iter().map(|number| number * number).sum::<f32>() - 1.0).abs() < 1e-5);
}

#[test]
fn reports_texts_that_are_too_long_and_unsupported_parameters() {
    let backend = backend();
    let fault = |endpoint, body| ask(&backend, endpoint, body).unwrap_err().fault;
    let long = json!({"model": "m", "input": ["a", "word ".repeat(600)]});
    let too_long = fault(openai::EMBEDDINGS, long);
    let context = backend.context_tokens();
    assert!(
        matches!(too_long, BackendFault::ContextLength { tokens, context: reported } if tokens > context && reported == context),
        "{too_long:?}"
    );
    for (body, feature) in [
        (json!({"model": "m", "input": "a", "dimensions": 100_000}), Feature::Dimensions),
        (json!({"model": "m", "input": "a", "encoding_format": "binary"}), Feature::EncodingFormat),
    ] {
        assert_eq!(fault(openai::EMBEDDINGS, body), BackendFault::CannotHonour(feature));
    }
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "a"}]});
    assert_eq!(fault(openai::CHAT, chat), BackendFault::CannotHonour(Feature::Chat));
}
