//! Turns logits into answers: sampler, constraints, label tries.
//!
//! Everything is a pure function of rows of logits: no model, no thread, no clock. [`Generation`] combines the parts
//! for one answer; [`Sampler`], [`Constraint`] and [`LabelTrie`] also work alone.

mod constraint;
mod ending;
mod generation;
mod labels;
mod random;
mod sampler;
mod schema;
mod softmax;
mod tokens;

pub use constraint::{
    CompileGrammarError, CompiledGrammar, Constraint, ConstraintError, Grammar, GrammarLimits, Grammars,
    JsonLayout, TokenMask, check_grammar, check_schema,
};
pub use generation::{
    Finish, GenerateError, Generation, GenerationConfig, GenerationConfigError, Step, StepToken,
};
pub use labels::{InnerNode, LABEL_TOKENS_MAX, LabelScores, LabelTrie, LabelTrieError, ScoreLabelsError};
pub use sampler::{
    ALTERNATIVES_MAX, SampleError, SampledToken, Sampler, SamplingConfig, SamplingConfigError,
    TokenProbability,
};
pub use schema::SchemaError;
pub use softmax::RowError;
pub use tokens::{Forcing, TOKEN_BYTES_MAX, TOKENS_MAX, TokenTable, TokenTableError};
