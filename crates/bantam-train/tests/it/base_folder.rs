//! A temporary folder with a tiny base, and settings to match.

use std::path::{Path, PathBuf};

use bantam_student::encoder::{BaseIdentity, EncoderBase};
use bantam_student::{BasePrecision, Bases, Example};
use bantam_train::{Checkpoint, Control, LoraConfig, RunConfig, TuneConfig, TuneEvent, TuningJob};

use crate::tiny_base;

pub(crate) struct BaseFolder {
    folder: tempfile::TempDir,
    pub(crate) bases: Bases,
}

impl BaseFolder {
    pub(crate) fn new(threads: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        tiny_base::write(&folder.path().join("base"), 7);
        Self { folder, bases: Bases::new(threads) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the base's identity.
    pub(crate) fn identity(&self, precision: BasePrecision) -> BaseIdentity {
        EncoderBase::identify(&self.path("base"), precision).unwrap()
    }

    /// Calls `tune` with a job on the base. `resume` is `None` to save no checkpoint, and otherwise whether to resume.
    pub(crate) fn tune<T>(
        &self,
        config: &TuneConfig,
        resume: Option<bool>,
        tune: impl FnOnce(&TuningJob<'_>) -> T,
    ) -> T {
        self.tune_as(&self.identity(config.precision), config, resume, tune)
    }

    /// Like [`Self::tune`], with this identity for the base.
    pub(crate) fn tune_as<T>(
        &self,
        identity: &BaseIdentity,
        config: &TuneConfig,
        resume: Option<bool>,
        tune: impl FnOnce(&TuningJob<'_>) -> T,
    ) -> T {
        let (folder, path) = (self.path("base"), self.path("run.checkpoint"));
        let checkpoint = resume.map(|resume| Checkpoint { path: &path, resume, every: 3 });
        tune(&TuningJob {
            folder: &folder,
            identity,
            base_path: Path::new("base"),
            bases: &self.bases,
            config,
            checkpoint,
        })
    }
}

/// Settings for a few rows and a tiny base.
pub(crate) fn small(config: TuneConfig) -> TuneConfig {
    let run = RunConfig { epochs: 4, batch_rows: 8, slice_tokens: 40, rate: 5e-3, ..config.run };
    let lora = LoraConfig { rank: 4, alpha: 8.0, lora_dropout: 0.1, dropout: 0.05, recompute: false };
    TuneConfig { run, lora, held_out: 0.25, precision: BasePrecision::F32, ..config }
}

/// Returns a listener that stops after `steps` steps of both runs together.
pub(crate) fn stop_after(steps: usize) -> impl FnMut(TuneEvent) -> Control {
    let mut seen = 0;
    move |event| {
        seen += usize::from(matches!(event, TuneEvent::Step(..)));
        if seen >= steps { Control::Stop } else { Control::Continue }
    }
}

/// Returns 72 rows of three labels; a label's rows share words that no other label's rows contain.
pub(crate) fn rows() -> Vec<Example> {
    let openings = ["please", "could you", "i want to", "help me", "now", "kindly"];
    let topics = [
        ("card", ["block my card", "order a new card", "my card was stolen", "the card is broken"]),
        ("rate", ["show the exchange rate", "what is the rate today", "rate for euros", "compare rates"]),
        (
            "transfer",
            ["transfer money abroad", "send a transfer", "my transfer is late", "cancel the transfer"],
        ),
    ];
    let row = |opening: &str, phrase: &str, label: &str| Example {
        text: format!("{opening} {phrase}"),
        label: label.to_owned(),
    };
    let all = topics.iter().flat_map(|(label, phrases)| phrases.iter().map(move |phrase| (*label, *phrase)));
    all.flat_map(|(label, phrase)| openings.iter().map(move |opening| row(opening, phrase, label))).collect()
}
