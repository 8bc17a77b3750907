//! Changes of a base as a student's file holds them: their shapes in its description, their numbers after all else.

use bantam_engine::{EncoderAdapter, EncoderUpdate};
use serde::{Deserialize, Serialize};

use crate::container::LoadStudentErrorKind;
use crate::linear::format::{Reader, size, write_floats};

/// Bounds of what a file may ask for.
const RANK_MAX: usize = 1024;
const MODULES_MAX: usize = 4096;
const SIZE_MAX: usize = 1 << 16;
const NUMBERS_MAX: usize = 1 << 28;
/// Bound that keeps every sum of a change finite.
const NUMBER_MAX: f32 = 1e6;

/// How a base was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterDescription {
    /// Rank of every change.
    pub rank: usize,
    /// A change counts alpha over rank times.
    pub alpha: f32,
    /// The layers that were changed.
    pub modules: Vec<ModuleDescription>,
}

/// A layer that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleDescription {
    /// Its name, such as `encoder.layer.0.output.dense`.
    pub name: String,
    /// Its outputs.
    pub outputs: usize,
    /// Its inputs.
    pub inputs: usize,
}

impl AdapterDescription {
    /// Returns what there is to say about changes.
    pub(crate) fn of(adapter: &EncoderAdapter) -> Self {
        let modules = adapter.updates.iter().map(|update| ModuleDescription {
            name: update.module.clone(),
            outputs: update.outputs,
            inputs: update.inputs,
        });
        Self { rank: adapter.rank, alpha: adapter.alpha, modules: modules.collect() }
    }

    /// How many numbers the changes have, once their shapes are known to be sensible.
    pub(crate) fn numbers(&self) -> Result<usize, LoadStudentErrorKind> {
        let range = |value: usize, most: usize| (1..=most).contains(&value);
        size(range(self.rank, RANK_MAX) && range(self.modules.len(), MODULES_MAX), "changes of the base")?;
        size(self.alpha > 0.0 && self.alpha <= 1e6, "changes of the base")?;
        let fits =
            |module: &ModuleDescription| range(module.outputs, SIZE_MAX) && range(module.inputs, SIZE_MAX);
        size(self.modules.iter().all(fits), "changes of the base")?;
        let numbers = self.modules.iter().map(|module| (module.outputs + module.inputs) * self.rank).sum();
        size(numbers <= NUMBERS_MAX, "changes of the base")?;
        Ok(numbers)
    }
}

/// Appends the numbers of changes.
pub(crate) fn write_adapter(out: &mut Vec<u8>, adapter: &EncoderAdapter) {
    for update in &adapter.updates {
        write_floats(out, &update.a);
        write_floats(out, &update.b);
    }
}

/// Reads the numbers of changes.
pub(crate) fn read_adapter(
    reader: &mut Reader<'_>,
    description: &AdapterDescription,
) -> Result<EncoderAdapter, LoadStudentErrorKind> {
    let rank = description.rank;
    let mut numbers = |count: usize| reader.floats(count, "change of the base", -NUMBER_MAX, NUMBER_MAX);
    let updates: Result<Vec<EncoderUpdate>, LoadStudentErrorKind> = description
        .modules
        .iter()
        .map(|module| {
            let ModuleDescription { name, outputs, inputs } = module.clone();
            Ok(EncoderUpdate {
                module: name,
                outputs,
                inputs,
                a: numbers(rank * inputs)?,
                b: numbers(rank * outputs)?,
            })
        })
        .collect();
    Ok(EncoderAdapter { rank, alpha: description.alpha, updates: updates? })
}
