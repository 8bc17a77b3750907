//! A run's state in one file, replaced atomically.

use std::path::{Path, PathBuf};

use bantam_weights::{
    DequantiseError, Dtype, NewTensor, OpenWeightsError, RequireTensorError, WeightFile, WriteWeightsError,
    write_safetensors,
};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::layout::Layout;
use crate::optimiser::Moments;
use crate::run::State;

const FORMAT: &str = "bantam-train 1";
const TENSORS: [&str; 3] = ["parameters", "mean", "square"];

/// Identifies a run: one hash of its settings, rows, base and trained shapes. A state is meaningless in any other run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunId(String);

impl RunId {
    /// Returns the id of a run. `facts` holds everything its steps depend on, in a fixed order.
    pub fn of(facts: &[&str], layout: &Layout) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        facts.iter().for_each(|fact| part(fact.as_bytes()));
        for parameter in layout.parameters() {
            part(parameter.name.as_bytes());
            parameter.shape.iter().for_each(|size| part(&(*size as u64).to_le_bytes()));
        }
        Self(HEXLOWER.encode(&hash.finalize()))
    }
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("resume from {}", .path.display())]
pub struct ResumeError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: ResumeErrorKind,
}

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeErrorKind {
    /// Missing, or not a tensor file.
    #[error("open the checkpoint")]
    Open(#[from] Box<OpenWeightsError>),
    /// A tensor file that is not a checkpoint.
    #[error("the file is not a training checkpoint")]
    NotCheckpoint,
    /// A checkpoint of another run.
    #[error("the checkpoint was made with other rows, settings or another base")]
    OtherRun,
    /// A tensor is missing or has the wrong shape.
    #[error("find a tensor")]
    Tensor(#[from] RequireTensorError),
    /// A tensor cannot be read.
    #[error("read a tensor")]
    Dequantise(#[from] DequantiseError),
    /// The content has changed since it was written.
    #[error("the content does not match its hash")]
    Damaged,
}

impl ResumeErrorKind {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OtherRun => {
                "use the same rows, base and settings as before, or delete the checkpoint to start over"
            }
            _ => "delete the file to start over, or name the right one",
        }
    }
}

/// Writes the state of `run` and the caller's `note`. Whatever happens, the path holds either its previous content or
/// the complete new one.
///
/// # Errors
/// [`WriteWeightsError`] if the disk is full or the folder is not writable.
pub fn save(path: &Path, run: &RunId, state: &State, note: &str) -> Result<(), WriteWeightsError> {
    let parts = [&state.parameters, &state.moments.mean, &state.moments.square];
    let bytes =
        parts.map(|numbers| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
    let shape = [state.parameters.len()];
    let tensors: Vec<NewTensor<'_>> = TENSORS
        .iter()
        .zip(&bytes)
        .map(|(name, bytes)| NewTensor { name, dtype: Dtype::F32, shape: &shape, bytes })
        .collect();
    let step = state.step.to_string();
    let hash = content_hash(run, &step, note, &parts.map(Vec::as_slice));
    let metadata =
        [("format", FORMAT), ("run", run.0.as_str()), ("step", &step), ("note", note), ("sha256", &hash)];
    write_safetensors(path, &metadata, &tensors).map(drop)
}

/// Reads the state of `run` and the note saved with it.
///
/// # Errors
/// [`ResumeError`] if the file is missing, damaged or belongs to another run.
pub fn load(path: &Path, run: &RunId, layout: &Layout) -> Result<(State, String), ResumeError> {
    load_kind(path, run, layout).map_err(|kind| ResumeError { path: path.to_owned(), kind })
}

fn load_kind(path: &Path, run: &RunId, layout: &Layout) -> Result<(State, String), ResumeErrorKind> {
    let file = WeightFile::open(path).map_err(Box::new)?;
    let metadata = file.metadata();
    let text = |key: &str| metadata.text(key).map(str::to_owned);
    let (Some(format), Some(id), Some(step), Some(note), Some(hash)) =
        (text("format"), text("run"), text("step"), text("note"), text("sha256"))
    else {
        return Err(ResumeErrorKind::NotCheckpoint);
    };
    let Ok(step_number) = step.parse::<u64>() else { return Err(ResumeErrorKind::NotCheckpoint) };
    if format != FORMAT {
        return Err(ResumeErrorKind::NotCheckpoint);
    }
    if id != run.0 {
        return Err(ResumeErrorKind::OtherRun);
    }
    let tensor = |name: &str| -> Result<Vec<f32>, ResumeErrorKind> {
        Ok(file.require(name, &[layout.len()])?.to_f32()?)
    };
    let (parameters, mean, square) = (tensor(TENSORS[0])?, tensor(TENSORS[1])?, tensor(TENSORS[2])?);
    if content_hash(run, &step, &note, &[&parameters, &mean, &square]) != hash {
        return Err(ResumeErrorKind::Damaged);
    }
    Ok((State { step: step_number, parameters, moments: Moments { mean, square } }, note))
}

fn content_hash(run: &RunId, step: &str, note: &str, parts: &[&[f32]; 3]) -> String {
    let mut hash = Sha256::new();
    for text in [&run.0, step, note] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    for numbers in parts {
        for chunk in numbers.chunks(4096) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|number| number.to_le_bytes()).collect();
            hash.update(&bytes);
        }
    }
    HEXLOWER.encode(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::ParameterGroup;

    fn layout(columns: usize) -> Layout {
        let mut layout = Layout::default();
        layout.add("a".into(), [3, columns], false, ParameterGroup::Adapter);
        layout
    }

    fn state() -> State {
        let numbers = |factor: f32| (0..12).map(|index| index as f32 * factor).collect::<Vec<f32>>();
        State {
            step: 41,
            parameters: numbers(0.3),
            moments: Moments { mean: numbers(-1e-20), square: numbers(7.0) },
        }
    }

    #[test]
    fn a_saved_state_loads_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        let run = RunId::of(&["settings", "rows"], &layout(4));
        save(&path, &run, &state(), "a note").unwrap();
        assert_eq!(load(&path, &run, &layout(4)).unwrap(), (state(), "a note".to_owned()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left behind");
    }

    #[test]
    fn each_kind_of_unusable_checkpoint_is_refused_with_its_own_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        let run = RunId::of(&["settings", "rows"], &layout(4));
        let refused = |run: &RunId| {
            let error = load(&path, run, &layout(4)).unwrap_err();
            assert!(!error.kind.hint().is_empty());
            error.kind
        };
        assert!(matches!(refused(&run), ResumeErrorKind::Open(_)));
        save(&path, &run, &state(), "").unwrap();
        for other in [RunId::of(&["settingsrows"], &layout(4)), RunId::of(&["settings", "rows"], &layout(5))]
        {
            assert!(matches!(refused(&other), ResumeErrorKind::OtherRun));
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(refused(&run), ResumeErrorKind::Damaged));
        std::fs::write(&path, &bytes[..last]).unwrap();
        assert!(matches!(refused(&run), ResumeErrorKind::Open(_)));
        write_safetensors(&path, &[], &[]).unwrap();
        assert!(matches!(refused(&run), ResumeErrorKind::NotCheckpoint));
    }

    #[test]
    fn saving_into_a_missing_folder_fails() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunId::of(&[], &layout(4));
        assert!(save(&folder.path().join("missing/run.checkpoint"), &run, &state(), "").is_err());
    }
}
