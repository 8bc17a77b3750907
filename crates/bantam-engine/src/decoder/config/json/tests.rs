use super::*;

const LLAMA: &str = r#"{"model_type":"llama","vocab_size":60,"hidden_size":32,"num_hidden_layers":2,
    "num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":48,"max_position_embeddings":64,
    "hidden_act":"silu","rms_norm_eps":1e-05,"rope_theta":10000.0,"rope_scaling":null,
    "tie_word_embeddings":false,"attention_bias":false}"#;

fn with(changes: &[(&str, &str)]) -> Result<DecoderConfig, DecoderConfigError> {
    let json = changes.iter().fold(LLAMA.to_owned(), |json, (from, to)| {
        assert!(json.contains(from), "{from}");
        json.replace(from, to)
    });
    DecoderConfig::from_json(json.as_bytes())
}

fn read(changes: &[(&str, &str)]) -> DecoderConfig {
    with(changes).unwrap()
}

fn error(from: &str, to: &str) -> String {
    with(&[(from, to)]).unwrap_err().to_string()
}

#[test]
fn a_llama_config_of_transformers_4_is_read() {
    let config = read(&[]);
    assert_eq!((config.architecture, config.hidden, config.layers), (Architecture::Llama, 32, 2));
    assert_eq!((config.heads, config.kv_heads, config.head_size, config.positions), (4, 2, 8, 64));
    assert_eq!((config.is_tied, config.windows, config.biases), (false, vec![None; 2], Biases::default()));
    assert_eq!(config.rope, Rope::new(1e4, 8, &Scaling::None).unwrap());
    assert!((config.attention_scale - 8f32.sqrt().recip()).abs() < 1e-7);
}

#[test]
fn both_formats_of_scaled_rope_are_equivalent() {
    let scaling = r#""factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
        "original_max_position_embeddings":16,"rope_type":"llama3""#;
    let old = read(&[(r#""rope_scaling":null"#, &format!(r#""rope_scaling":{{{scaling}}}"#))]);
    let new = format!(r#""rope_parameters":{{"rope_theta":10000.0,{scaling}}}"#);
    let new = read(&[(r#""rope_theta":10000.0,"rope_scaling":null"#, &new)]);
    assert_eq!(old, new);
    assert_ne!(old.rope, read(&[]).rope);
    let linear = read(&[(r#""rope_scaling":null"#, r#""rope_scaling":{"type":"linear","factor":2.0}"#)]);
    assert_eq!(linear.rope.frequencies[0], 0.5);
}

#[test]
fn unsupported_rope_types_are_refused_by_name() {
    for kind in ["yarn", "dynamic", "proportional"] {
        let found = error(
            r#""rope_scaling":null"#,
            &format!(r#""rope_scaling":{{"rope_type":"{kind}","factor":2.0}}"#),
        );
        let expected = format!(
            "`rope_type` is {kind}, which is not supported (expected default, linear, llama3 or longrope)"
        );
        assert_eq!(found, expected);
    }
    let found = error(r#""rope_scaling":null"#, r#""rope_scaling":{"rope_type":"linear"}"#);
    assert_eq!(found, "`factor` is missing");
}

#[test]
fn longrope_is_limited_to_the_original_context() {
    let rope = r#""rope_scaling":{"type":"su","short_factor":[1,1,2,2],"long_factor":[4,4,4,4]},
        "original_max_position_embeddings":16"#;
    let config = read(&[("llama", "phi3"), (r#""rope_scaling":null"#, rope)]);
    assert_eq!((config.positions, config.architecture), (16, Architecture::Phi3));
    assert!((config.rope.magnitude - (1.0 + 4f64.ln() / 16f64.ln()).sqrt() as f32).abs() < 1e-6);
    assert_eq!(config.rope.frequencies.len(), 4);
}

#[test]
fn windows_follow_the_family() {
    let window = r#""sliding_window":8,"rope_scaling":null"#;
    let null = r#""rope_scaling":null"#;
    assert_eq!(read(&[(null, window)]).windows, [None, None]);
    assert_eq!(read(&[("llama", "mistral"), (null, window)]).windows, [Some(8), Some(8)]);
    let beyond = r#""sliding_window":4096,"rope_scaling":null"#;
    assert_eq!(read(&[("llama", "mistral"), (null, beyond)]).windows, [None, None]);
    assert_eq!(read(&[("llama", "qwen2"), (null, window)]).windows, [None, None]);
    let used = r#""sliding_window":8,"use_sliding_window":true,"max_window_layers":1,"rope_scaling":null"#;
    assert_eq!(read(&[("llama", "qwen2"), (null, used)]).windows, [None, Some(8)]);
    let gemma = [("llama", "gemma3_text"), (null, window), (r#"_layers":2"#, r#"_layers":12"#)];
    let windows = read(&gemma).windows;
    let full: Vec<usize> = (0..12).filter(|layer| windows[*layer].is_none()).collect();
    assert_eq!(full, [5, 11]);
}

#[test]
fn gemma_has_its_own_scales_and_two_rotations() {
    let gemma = [
        ("llama", "gemma3_text"),
        (
            r#""rope_scaling":null"#,
            r#""sliding_window":8,"query_pre_attn_scalar":16,"rope_local_base_freq":100"#,
        ),
    ];
    let config = read(&gemma);
    assert_eq!((config.attention_scale, config.embedding_scale), (0.25, 32f32.sqrt()));
    assert_eq!(config.local_rope, Some(Rope::new(100.0, 8, &Scaling::None).unwrap()));
    let missing = with(&[("llama", "gemma3_text")]).unwrap_err().to_string();
    assert_eq!(missing, "`sliding_window` is missing");
}

#[test]
fn unsupported_architectures_are_refused_by_name() {
    assert!(
        error("llama", "mamba")
            .starts_with("the architecture `mamba` is not supported; supported are llama, mistral,")
    );
    assert!(error("llama", "gemma3").starts_with("the architecture `gemma3` is not supported; "));
    assert_eq!(error("model_type", "kind"), "`model_type` is missing");
}

#[test]
fn unsupported_features_are_refused_by_key() {
    assert_eq!(error("silu", "gelu"), "`hidden_act` is gelu, which is not supported (expected silu)");
    let add = |field: &str| error("{", &format!("{{{field},"));
    assert!(add(r#""quantization_config":{"bits":4}"#).starts_with("`quantization_config` is present"));
    assert!(add(r#""num_local_experts":8"#).starts_with("`num_local_experts` is more than 1"));
    assert!(add(r#""use_bidirectional_attention":true"#).starts_with("`use_bidirectional_attention`"));
}

#[test]
fn missing_out_of_range_and_mistyped_fields_are_named() {
    assert_eq!(error("\"vocab_size\":60,", ""), "`vocab_size` is missing");
    assert_eq!(error(":60,", ":0,"), "the vocabulary is 0; it must be 1 to 4194304");
    assert_eq!(
        error("_size\":48", "_size\":999999999"),
        "the feed-forward size is 999999999; it must be 1 to 131072"
    );
    assert_eq!(
        error("_layers\":2", "_layers\":18446744073709551615").split(';').next().unwrap(),
        "the layers is 18446744073709551615"
    );
    assert_eq!(error(":60,", ":\"60\","), "`vocab_size` must be a whole number");
    assert_eq!(
        error("_value_heads\":2", "_value_heads\":3"),
        "the number of key heads (3) does not divide the number of query heads (4)"
    );
    assert_eq!(error("1e-05", "7"), "the norm epsilon is 7, which is out of range");
    assert_eq!(error("10000.0", "-3.0"), "the rope base is -3, which is out of range");
    assert_eq!(error("_heads\":4", "_heads\":0"), "`head_dim` is missing");
    assert_eq!(error("{", "["), "parse the configuration");
}
