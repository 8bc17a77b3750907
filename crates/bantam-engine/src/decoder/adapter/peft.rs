//! `adapter_config.json`, as PEFT writes it.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{LoadAdapterErrorKind as Kind, Scaling, check_alpha};

const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The fields that change what is computed; others are notes of the training.
#[derive(Deserialize)]
struct Json {
    peft_type: String,
    r: usize,
    lora_alpha: f32,
    #[serde(default)]
    use_rslora: bool,
}

/// Fields that are refused unless they say nothing, and what is expected of them.
const PLAIN: [(&str, &str); 13] = [
    ("use_dora", "plain LoRA"),
    ("use_qalora", "plain LoRA"),
    ("lora_bias", "an adapter without biases"),
    ("fan_in_fan_out", "false"),
    ("modules_to_save", "an adapter of low-rank factors alone"),
    ("rank_pattern", "one rank for all modules"),
    ("alpha_pattern", "one alpha for all modules"),
    ("layer_replication", "none"),
    ("target_parameters", "an adapter of linear layers"),
    ("trainable_token_indices", "an adapter without tokens of its own"),
    ("alora_invocation_tokens", "an adapter that is always on"),
    ("arrow_config", "none"),
    ("ensure_weight_tying", "false"),
];
/// Ways to begin a training that change the base model's weights too.
const CHANGES_BASE: [&str; 4] = ["pissa", "olora", "corda", "loftq"];

/// Reads and checks the configuration of an adapter.
pub(super) fn read(path: &Path) -> Result<Scaling, Kind> {
    let bytes = std::fs::metadata(path).map_err(Kind::ReadConfig)?.len();
    if bytes > CONFIG_BYTES_MAX {
        return Err(Kind::ConfigTooLong { bytes });
    }
    from_json(&std::fs::read(path).map_err(Kind::ReadConfig)?)
}

fn from_json(bytes: &[u8]) -> Result<Scaling, Kind> {
    let value: Value = serde_json::from_slice(bytes).map_err(Kind::ParseConfig)?;
    let unsupported = |key: &str, found: &Value, expected| {
        let found = found.to_string().chars().take(64).collect();
        Err(Kind::Unsupported { key: key.into(), found, expected })
    };
    for (key, expected) in PLAIN {
        if let Some(found) = value.get(key).filter(|value| !says_nothing(value)) {
            return unsupported(key, found, expected);
        }
    }
    if let Some(found) = value.get("bias").filter(|bias| !bias.is_null() && *bias != "none") {
        return unsupported("bias", found, "none");
    }
    let begun = value.get("init_lora_weights").filter(|begun| {
        begun.as_str().is_some_and(|begun| CHANGES_BASE.iter().any(|other| begun.starts_with(other)))
    });
    if let Some(found) = begun {
        return unsupported("init_lora_weights", found, "a start that leaves the base model as it was");
    }
    let json: Json = serde_json::from_value(value).map_err(Kind::ParseConfig)?;
    if json.peft_type != "LORA" {
        let found = json.peft_type.chars().take(64).collect();
        return Err(Kind::Unsupported { key: "peft_type".into(), found, expected: "LORA" });
    }
    check_alpha(json.lora_alpha)?;
    Ok(Scaling { alpha: json.lora_alpha, is_by_root: json.use_rslora, rank: Some(json.r) })
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"peft_type":"LORA","r":8,"lora_alpha":16,"use_rslora":false,"use_dora":false,
        "bias":"none","modules_to_save":null,"fan_in_fan_out":false,"rank_pattern":{},"target_modules":["q_proj"],
        "init_lora_weights":true,"lora_dropout":0.1}"#;

    fn error(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        from_json(GOOD.replace(from, to).as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn plain_lora_is_read() {
        let expected = Scaling { alpha: 16.0, is_by_root: false, rank: Some(8) };
        assert_eq!(from_json(GOOD.as_bytes()).unwrap(), expected);
        let by_root = GOOD.replace(r#""use_rslora":false"#, r#""use_rslora":true"#);
        assert!(from_json(by_root.as_bytes()).unwrap().is_by_root);
    }

    #[test]
    fn what_cannot_be_applied_is_refused_by_name() {
        assert_eq!(error(r#"dora":false"#, r#"dora":true"#), "`use_dora` is true; plain LoRA runs here");
        assert_eq!(error(r#""bias":"none""#, r#""bias":"all""#), "`bias` is \"all\"; none runs here");
        let saved = error(r#"save":null"#, r#"save":["lm_head"]"#);
        assert_eq!(
            saved,
            "`modules_to_save` is [\"lm_head\"]; an adapter of low-rank factors alone runs here"
        );
        assert!(error(r#"pattern":{}"#, r#"pattern":{"q_proj":4}"#).starts_with("`rank_pattern` is "));
        assert!(error("weights\":true", "weights\":\"pissa_niter_4\"").starts_with("`init_lora_weights`"));
        assert_eq!(error("LORA", "LOHA"), "`peft_type` is LOHA; LORA runs here");
        assert_eq!(error(r#"alpha":16"#, r#"alpha":0"#), "alpha is 0; it must be a number other than 0");
        assert_eq!(error(r#""r":8,"#, ""), "parse adapter_config.json");
        assert_eq!(error("{", "["), "parse adapter_config.json");
    }
}
