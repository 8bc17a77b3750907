//! PEFT's `adapter_config.json`.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{LoadAdapterErrorKind as Kind, Scaling, check_alpha};

const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The fields that affect inference; the others describe the training.
#[derive(Deserialize)]
struct AdapterConfigJson {
    peft_type: String,
    r: usize,
    lora_alpha: f32,
    #[serde(default)]
    use_rslora: bool,
}

/// Fields that are refused unless they are unset or false, and what is supported instead.
const REFUSED_FIELDS: [(&str, &str); 13] = [
    ("use_dora", "plain LoRA"),
    ("use_qalora", "plain LoRA"),
    ("lora_bias", "no biases"),
    ("fan_in_fan_out", "false"),
    ("modules_to_save", "only low-rank factors"),
    ("rank_pattern", "one rank for all modules"),
    ("alpha_pattern", "one alpha for all modules"),
    ("layer_replication", "no layer replication"),
    ("target_parameters", "only linear layers"),
    ("trainable_token_indices", "no new tokens"),
    ("alora_invocation_tokens", "an adapter that is always active"),
    ("arrow_config", "no routing"),
    ("ensure_weight_tying", "false"),
];
/// Initialisation methods that also change the base model's weights.
const CHANGES_BASE: [&str; 4] = ["pissa", "olora", "corda", "loftq"];

/// Reads and checks an adapter's configuration.
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
    for (key, expected) in REFUSED_FIELDS {
        if let Some(found) = value.get(key).filter(|value| !is_unset(value)) {
            return unsupported(key, found, expected);
        }
    }
    if let Some(found) = value.get("bias").filter(|bias| !bias.is_null() && *bias != "none") {
        return unsupported("bias", found, "none");
    }
    let initialisation = value.get("init_lora_weights").filter(|initialisation| {
        initialisation
            .as_str()
            .is_some_and(|initialisation| CHANGES_BASE.iter().any(|other| initialisation.starts_with(other)))
    });
    if let Some(found) = initialisation {
        return unsupported(
            "init_lora_weights",
            found,
            "an initialisation that leaves the base model unchanged",
        );
    }
    let json: AdapterConfigJson = serde_json::from_value(value).map_err(Kind::ParseConfig)?;
    if json.peft_type != "LORA" {
        let found = json.peft_type.chars().take(64).collect();
        return Err(Kind::Unsupported { key: "peft_type".into(), found, expected: "LORA" });
    }
    check_alpha(json.lora_alpha)?;
    Ok(Scaling { alpha: json.lora_alpha, is_by_root: json.use_rslora, rank: Some(json.r) })
}

fn is_unset(value: &Value) -> bool {
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
    fn unsupported_features_are_refused_by_name() {
        assert_eq!(
            error(r#"dora":false"#, r#"dora":true"#),
            "`use_dora` is true, which is not supported (expected plain LoRA)"
        );
        assert_eq!(
            error(r#""bias":"none""#, r#""bias":"all""#),
            "`bias` is \"all\", which is not supported (expected none)"
        );
        let saved = error(r#"save":null"#, r#"save":["lm_head"]"#);
        assert_eq!(
            saved,
            "`modules_to_save` is [\"lm_head\"], which is not supported (expected only low-rank factors)"
        );
        assert!(error(r#"pattern":{}"#, r#"pattern":{"q_proj":4}"#).starts_with("`rank_pattern` is "));
        assert!(error("weights\":true", "weights\":\"pissa_niter_4\"").starts_with("`init_lora_weights`"));
        assert_eq!(error("LORA", "LOHA"), "`peft_type` is LOHA, which is not supported (expected LORA)");
        assert_eq!(
            error(r#"alpha":16"#, r#"alpha":0"#),
            "alpha is 0; it must be a finite number other than 0"
        );
        assert_eq!(error(r#""r":8,"#, ""), "parse adapter_config.json");
        assert_eq!(error("{", "["), "parse adapter_config.json");
    }
}
