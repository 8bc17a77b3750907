//! Exports encoder adapters in PEFT's format.

use std::path::{Path, PathBuf};

use bantam_engine::EncoderAdapter;
use bantam_weights::{Dtype, NewTensor, WriteWeightsError, write_file, write_safetensors};
use serde_json::json;

/// Why an adapter could not be exported.
#[derive(Debug, thiserror::Error)]
#[error("export the adapter to {}", .folder.display())]
pub struct ExportError {
    /// The folder.
    pub folder: PathBuf,
    /// What failed.
    #[source]
    pub kind: ExportErrorKind,
}

/// What failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportErrorKind {
    /// The folder or the configuration cannot be written.
    #[error("write a file")]
    Write(#[from] std::io::Error),
    /// The tensors cannot be written.
    #[error("write the tensors")]
    Tensors(#[from] WriteWeightsError),
}

/// Creates `folder` and writes `adapter_model.safetensors` and `adapter_config.json` as PEFT does for a `BertModel`
/// named `base`.
///
/// # Errors
/// [`ExportError`] if the folder cannot be written.
pub fn export_peft(folder: &Path, adapter: &EncoderAdapter, base: &str) -> Result<(), ExportError> {
    write(folder, adapter, base).map_err(|kind| ExportError { folder: folder.to_owned(), kind })
}

fn write(folder: &Path, adapter: &EncoderAdapter, base: &str) -> Result<(), ExportErrorKind> {
    std::fs::create_dir_all(folder)?;
    let bytes = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let tensors: Vec<(String, [usize; 2], Vec<u8>)> = adapter
        .updates
        .iter()
        .flat_map(|update| {
            let name = |half: &str| format!("base_model.model.{}.lora_{half}.weight", update.module);
            [
                (name("A"), [adapter.rank, update.inputs], bytes(&update.a)),
                (name("B"), [update.outputs, adapter.rank], bytes(&update.b)),
            ]
        })
        .collect();
    let borrowed: Vec<NewTensor<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| NewTensor { name, dtype: Dtype::F32, shape, bytes })
        .collect();
    write_safetensors(folder.join("adapter_model.safetensors"), &[("format", "pt")], &borrowed)?;
    let modules: Vec<&str> = adapter.updates.iter().map(|update| update.module.as_str()).collect();
    let config = json!({
        "peft_type": "LORA", "task_type": "FEATURE_EXTRACTION", "r": adapter.rank, "lora_alpha": adapter.alpha,
        "target_modules": modules, "base_model_name_or_path": base, "bias": "none", "lora_dropout": 0.0,
        "use_rslora": false, "use_dora": false, "fan_in_fan_out": false, "inference_mode": true,
    });
    write_file(folder.join("adapter_config.json"), |sink| {
        sink.write_all(format!("{config:#}\n").as_bytes())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bantam_engine::EncoderUpdate;
    use bantam_weights::WeightFile;

    use super::*;

    #[test]
    fn names_and_shapes_match_peft() {
        let update = EncoderUpdate {
            module: "encoder.layer.0.output.dense".into(),
            outputs: 3,
            inputs: 2,
            a: vec![1.0, 2.0],
            b: vec![3.0, 4.0, 5.0],
        };
        let adapter = EncoderAdapter { rank: 1, alpha: 2.0, updates: vec![update] };
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("adapter");
        export_peft(&to, &adapter, "some/base").unwrap();
        let file = WeightFile::open(to.join("adapter_model.safetensors")).unwrap();
        let b = "base_model.model.encoder.layer.0.output.dense.lora_B.weight";
        assert_eq!(file.require(b, &[3, 1]).unwrap().to_f32().unwrap(), [3.0, 4.0, 5.0]);
        let json = std::fs::read(to.join("adapter_config.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            (&json["r"], &json["target_modules"][0]),
            (&1.into(), &"encoder.layer.0.output.dense".into())
        );
    }
}
