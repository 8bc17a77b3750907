//! A run's state in one file, written whole or not at all.

use std::path::{Path, PathBuf};

use bantam_weights::{
    DequantiseError, Dtype, NewTensor, OpenWeightsError, RequireTensorError, WeightFile, WriteWeightsError,
    write_safetensors,
};
use sha2::{Digest, Sha256};

use crate::layout::Layout;
use crate::optimiser::Moments;
use crate::run::State;

const FORMAT: &str = "bantam-train 1";
const TENSORS: [&str; 3] = ["parameters", "mean", "square"];

/// What a checkpoint belongs to: settings, rows, base and the shapes of what is trained, as one hash. A state means
/// nothing in another run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunId(String);

impl RunId {
    /// Returns the name of a run. `facts` are everything its steps depend on, in a fixed order.
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
        Self(hex(&hash.finalize()))
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
    /// Missing, or no file of tensors.
    #[error("open the checkpoint")]
    Open(#[from] Box<OpenWeightsError>),
    /// A file of tensors that no run wrote.
    #[error("this is no checkpoint of a training run")]
    NotCheckpoint,
    /// Of another run.
    #[error("the checkpoint is of other rows, settings or another base")]
    OtherRun,
    /// A tensor that is missing or has another shape.
    #[error("find a tensor")]
    Tensor(#[from] RequireTensorError),
    /// A tensor that cannot be read.
    #[error("read a tensor")]
    Dequantise(#[from] DequantiseError),
    /// Bytes that are not what was written.
    #[error("the content does not match its hash")]
    Damaged,
}

impl ResumeErrorKind {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OtherRun => {
                "give the same rows, base and settings as before, or remove the checkpoint to begin again"
            }
            _ => "remove the file to begin again, or name the right one",
        }
    }
}

/// Writes the state of `run`, and a note of the caller's beside it: whatever happens, the path holds either what it
/// held before or all of it.
///
/// # Errors
/// [`WriteWeightsError`], when the disk is full or the folder cannot be written.
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

/// Reads the state of `run`, and the note beside it.
///
/// # Errors
/// [`ResumeError`], when the file is missing, damaged or of another run.
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
    let Ok(taken) = step.parse::<u64>() else { return Err(ResumeErrorKind::NotCheckpoint) };
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
    Ok((State { step: taken, parameters, moments: Moments { mean, square } }, note))
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
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Pace;

    fn layout(columns: usize) -> Layout {
        let mut layout = Layout::default();
        layout.add("a".into(), [3, columns], false, Pace::Adapter);
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
    fn a_state_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        let run = RunId::of(&["settings", "rows"], &layout(4));
        save(&path, &run, &state(), "a note").unwrap();
        assert_eq!(load(&path, &run, &layout(4)).unwrap(), (state(), "a note".to_owned()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn what_is_no_checkpoint_of_this_run_is_refused_by_what_it_is() {
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
    fn a_folder_that_cannot_be_written_keeps_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunId::of(&[], &layout(4));
        assert!(save(&folder.path().join("none/run.checkpoint"), &run, &state(), "").is_err());
    }
}
