//! A base's adapter in a student's file: its shapes are in the description, its numbers at the end.

use bantam_engine::{EncoderAdapter, EncoderUpdate};
use serde::{Deserialize, Serialize};

use crate::container::LoadStudentErrorKind;
use crate::linear::format::{Reader, size, write_floats};

/// Bounds on the sizes that a file may state.
const RANK_MAX: usize = 1024;
const MODULES_MAX: usize = 4096;
const SIZE_MAX: usize = 1 << 16;
const NUMBERS_MAX: usize = 1 << 28;
/// The largest number, which keeps every sum finite.
const NUMBER_MAX: f32 = 1e6;

/// The low-rank adapter of a base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterDescription {
    /// The rank of every update.
    pub rank: usize,
    /// Every update is multiplied by alpha over rank.
    pub alpha: f32,
    /// The layers with an update.
    pub modules: Vec<ModuleDescription>,
}

/// A layer with an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleDescription {
    /// Its name, such as `encoder.layer.0.output.dense`.
    pub name: String,
    /// The number of outputs.
    pub outputs: usize,
    /// The number of inputs.
    pub inputs: usize,
}

impl AdapterDescription {
    /// Returns the description of an adapter.
    pub(crate) fn of(adapter: &EncoderAdapter) -> Self {
        let modules = adapter.updates.iter().map(|update| ModuleDescription {
            name: update.module.clone(),
            outputs: update.outputs,
            inputs: update.inputs,
        });
        Self { rank: adapter.rank, alpha: adapter.alpha, modules: modules.collect() }
    }

    /// Returns how many numbers the adapter has, after checking its shapes.
    pub(crate) fn numbers(&self) -> Result<usize, LoadStudentErrorKind> {
        let range = |value: usize, most: usize| (1..=most).contains(&value);
        size(range(self.rank, RANK_MAX) && range(self.modules.len(), MODULES_MAX), "adapter of the base")?;
        size(self.alpha > 0.0 && self.alpha <= 1e6, "adapter of the base")?;
        let fits =
            |module: &ModuleDescription| range(module.outputs, SIZE_MAX) && range(module.inputs, SIZE_MAX);
        size(self.modules.iter().all(fits), "adapter of the base")?;
        let numbers = self.modules.iter().map(|module| (module.outputs + module.inputs) * self.rank).sum();
        size(numbers <= NUMBERS_MAX, "adapter of the base")?;
        Ok(numbers)
    }
}

/// Appends the adapter's numbers.
pub(crate) fn write_adapter(out: &mut Vec<u8>, adapter: &EncoderAdapter) {
    for update in &adapter.updates {
        write_floats(out, &update.a);
        write_floats(out, &update.b);
    }
}

/// Reads the adapter's numbers.
pub(crate) fn read_adapter(
    reader: &mut Reader<'_>,
    description: &AdapterDescription,
) -> Result<EncoderAdapter, LoadStudentErrorKind> {
    let rank = description.rank;
    let mut numbers = |count: usize| reader.floats(count, "adapter of the base", -NUMBER_MAX, NUMBER_MAX);
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
