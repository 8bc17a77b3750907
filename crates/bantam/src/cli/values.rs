//! Values that a flag may have, as libraries know them.

use bantam_quantise::Quantisation;
use bantam_student::{BasePrecision, Features};
use bantam_teach::{BaseTuning, ExportForm, StudentKind};
use bantam_train::BaseForm;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// What is typed, what it stands for, and what that means.
type Value<T> = (&'static str, T, &'static str);

/// Returns a parser for one of some values.
pub(super) fn one_of<T: Copy + Send + Sync + 'static>(
    values: &'static [Value<T>],
) -> impl TypedValueParser<Value = T> {
    let names = values.iter().map(|(name, _, about)| PossibleValue::new(*name).help(*about));
    PossibleValuesParser::new(names).try_map(move |typed: String| {
        let found = values.iter().find(|(name, ..)| name.eq_ignore_ascii_case(&typed));
        found.map(|(_, value, _)| *value).ok_or("not one of the values")
    })
}

pub(super) const STUDENT_KINDS: &[Value<StudentKind>] = &[
    ("linear", StudentKind::Linear, "Word and character n-grams: microseconds"),
    ("encoder", StudentKind::Encoder, "An encoder below a head of its own: milliseconds, fewer errors"),
    ("tagger", StudentKind::Tagger,
     "Finds values in a text and says where they stand: microseconds; with --base milliseconds, fewer errors"),
    ("decoder", StudentKind::Decoder,
     "A small language model that writes its answers: an adapter of a base, or one trained from nothing"),
];

pub(super) const TUNINGS: &[Value<BaseTuning>] = &[
    ("none", BaseTuning::None, "Nothing: its vectors are used as they are, in seconds"),
    ("lora", BaseTuning::Lora, "Low-rank changes of all its linear layers, in minutes, fewer errors"),
];

pub(super) const FEATURES: &[Value<Features>] = &[
    ("joined", Features::Joined, "The encoder's vector beside the n-grams of a linear student"),
    ("dense", Features::Dense, "The encoder's vector alone"),
];

pub(super) const PRECISIONS: &[Value<BasePrecision>] = &[
    ("int8", BasePrecision::Int8, "Bytes: a third of the time, a quarter of the memory"),
    ("f32", BasePrecision::F32, "As trained"),
];

pub(super) const BASE_FORMS: &[Value<BaseForm>] = &[
    ("f32", BaseForm::Wide, "In 32 bits: the fastest, four bytes a weight"),
    ("served", BaseForm::AsStored,
     "As it lies in the file: of a quantised GGUF file the very weights that are served"),
    ("nf4", BaseForm::Nf4, "In 4 bits, as QLoRA has it; served is the base as it lies in the file"),
];

pub(super) const EXPORT_FORMS: &[Value<ExportForm>] = &[
    ("peft", ExportForm::Peft, "The adapter as peft loads it"),
    ("gguf", ExportForm::Gguf, "The adapter, or a model without a base, as llama.cpp loads it"),
    ("merged", ExportForm::Merged, "The base with the changes in its weights"),
    ("axolotl", ExportForm::Axolotl,
     "The same training as axolotl runs it: a configuration and the rows as conversations"),
    ("trl", ExportForm::Trl, "The same training as trl runs it: a script and the rows as conversations"),
];

pub(super) const QUANTISATIONS: &[Value<Quantisation>] = &[
    ("Q8_0", Quantisation::Q8_0, "8.5 bits a number: as good as the original"),
    ("Q5_K_M", Quantisation::Q5KM, "About 5.7 bits"),
    ("Q4_K_M", Quantisation::Q4KM, "About 4.9 bits: the usual choice where memory is short"),
    ("Q4_0", Quantisation::Q4_0, "4.5 bits: the fastest here"),
];
