//! What a decoder learns: answers, or preferences.

use bantam_kernels::Pool;
use bantam_train::{
    Checkpoint, Control, DecoderNetwork, Dpo, Judged as _, Objective as _, Sft, TeachConfig, TeachError,
    TeachEvent, TrainedDecoder, teach,
};

/// What is learnt.
pub(super) enum DecoderObjective {
    /// Answers.
    Answers(Sft),
    /// Preferences.
    Preferences(Dpo),
}

impl DecoderObjective {
    pub(super) fn network(&self) -> &DecoderNetwork {
        match self {
            Self::Answers(sft) => sft.network(),
            Self::Preferences(dpo) => dpo.network(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Answers(sft) => sft.rows(),
            Self::Preferences(dpo) => dpo.rows(),
        }
    }

    /// Returns the name that a student's file has for it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Answers(_) => "answers",
            Self::Preferences(_) => "preferences",
        }
    }

    /// Takes the steps, from `begin` on or from the checkpoint.
    pub(super) fn teach(
        &self,
        config: &TeachConfig,
        begin: (Vec<f32>, &[&str]),
        checkpoint: Checkpoint<'_>,
        pool: &Pool,
        on_event: &mut dyn FnMut(TeachEvent) -> Control,
    ) -> Result<TrainedDecoder, TeachError> {
        match self {
            Self::Answers(sft) => teach(sft, config, begin, Some(checkpoint), pool, on_event),
            Self::Preferences(dpo) => teach(dpo, config, begin, Some(checkpoint), pool, on_event),
        }
    }

    /// Returns the loss on rows held out.
    pub(super) fn held_out_loss(&self, parameters: &[f32], pool: &Pool) -> Option<f64> {
        match self {
            Self::Answers(sft) => sft.held_out_loss(parameters, pool),
            Self::Preferences(dpo) => dpo.held_out_loss(parameters, pool),
        }
    }
}
