//! Running a target over its corpus and over inputs made from it.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::{Mutator, Target};

/// An input on which a target panicked. It has been written to a file.
#[derive(Debug, thiserror::Error)]
#[error("`{target}` panicked on the input in {}; once mended, keep it in corpus/{target}", .input.display())]
pub struct Crash {
    /// The target's name.
    pub target: &'static str,
    /// The file that holds the input.
    pub input: PathBuf,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The corpus could not be read, or the input that crashed not written.
    #[error("use {}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The corpus has no file: the target would be tried on noise alone.
    #[error("{} holds no file: put a valid input into it", .0.display())]
    EmptyCorpus(PathBuf),
    /// The target panicked.
    #[error(transparent)]
    Crash(#[from] Crash),
}

/// Runs `target` on every file of its corpus and returns how many there were.
///
/// # Errors
/// On the first panic, and when the corpus cannot be read or is empty.
pub fn replay(target: &Target) -> Result<usize, RunError> {
    let corpus = corpus(target)?;
    corpus.iter().try_for_each(|input| run(target, input))?;
    Ok(corpus.len())
}

/// Runs `target` on `inputs` damaged inputs, made from its corpus by `seed`.
///
/// # Errors
/// As [`replay`].
pub fn explore(target: &Target, seed: u64, inputs: u64) -> Result<(), RunError> {
    let corpus = corpus(target)?;
    let mut mutator = Mutator::new(seed, &corpus, target.words);
    (0..inputs).try_for_each(|_| run(target, &mutator.input()))
}

fn run(target: &Target, input: &[u8]) -> Result<(), RunError> {
    // A target keeps nothing between inputs, so whatever a panic left behind is not seen again.
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok() {
        return Ok(());
    }
    let name = format!("{}-{:08x}", target.name, crc32fast::hash(input));
    let path = std::env::temp_dir().join("bantam-fuzz").join(name);
    let written =
        fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).and_then(|()| fs::write(&path, input));
    written.map_err(|source| RunError::File { path: path.clone(), source })?;
    Err(Crash { target: target.name, input: path }.into())
}

/// Reads the files of a target's corpus, in the order of their names.
fn corpus(target: &Target) -> Result<Vec<Vec<u8>>, RunError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RunError::File { path, source }
    };
    let entries = fs::read_dir(&folder).map_err(failed(&folder))?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>().map_err(failed(&folder))?;
    paths.sort();
    if paths.is_empty() {
        return Err(RunError::EmptyCorpus(folder));
    }
    paths.iter().map(|path| fs::read(path).map_err(failed(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_reported_with_a_file_that_holds_the_input() {
        let target = Target { name: "rows", words: &[], run: |_| panic!("on purpose") };
        let Err(RunError::Crash(crash)) = replay(&target) else { panic!("the panic was not noticed") };
        assert!(!fs::read(&crash.input).unwrap().is_empty());
        fs::remove_file(crash.input).unwrap();
    }

    #[test]
    fn a_target_without_a_corpus_is_an_error() {
        let target = Target { name: "no-such-corpus", words: &[], run: |_| () };
        assert!(matches!(replay(&target), Err(RunError::File { .. })));
    }
}
