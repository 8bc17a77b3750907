//! Compiles grammars into constraints, within limits.

use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::CGrammar;
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use super::{CompiledGrammar, TokenMask, lark};
use crate::ending::{Endings, EndingsError};
use crate::schema::conjunction::COMBINATIONS_MAX;
use crate::schema::{self, SchemaError, SchemaLimits};
use crate::tokens::{Forcing, TokenTable};

/// A language for answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Grammar {
    /// JSON that is valid under a schema.
    JsonSchema {
        /// The schema, draft 4 to 2020-12; without `$schema` it is read as 2020-12.
        schema: Value,
        /// The white space between JSON tokens.
        layout: JsonLayout,
    },
    /// The whole answer matches a regular expression in the syntax of the crate `regex`, without look-around and
    /// back-references.
    Regex(String),
    /// The answer is one of these strings.
    Choice(Vec<String>),
    /// A grammar in llguidance's variant of Lark; `start` is its first rule.
    Lark(String),
    /// A grammar in llama.cpp's syntax. Refused: not supported yet.
    Gbnf(String),
}

/// The white space in JSON answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonLayout {
    /// No white space: `{"a":1,"b":2}`. The fastest, because most text is forced.
    Compact,
    /// A space after each colon and comma, as Python prints JSON and most models have learnt it: `{"a": 1, "b": 2}`.
    Spaced,
    /// Up to 16 spaces, tabs and newlines wherever JSON allows white space. The limit exists because small models
    /// tend to write white space forever.
    Free,
}

/// Limits on the work that a grammar may cause. All are counts, so they mean the same on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrammarLimits {
    /// Longest grammar text or schema JSON, in bytes.
    pub text_bytes_max: usize,
    /// Longest regular expression or `pattern`, in bytes: the work grows with the square.
    pub expression_bytes_max: usize,
    /// Longest Lark grammar, in bytes.
    pub lark_bytes_max: usize,
    /// Deepest nesting of a schema.
    pub depth_max: usize,
    /// Most subschemas, after references are resolved.
    pub subschemas_max: usize,
    /// Most work to build the lexer: about 50,000 a millisecond.
    pub compile_work_max: u64,
    /// Most work for one mask: about 14,000 a millisecond.
    pub step_work_max: u64,
    /// Most lexer states: one or two kB each.
    pub lexer_states_max: usize,
}

impl GrammarLimits {
    /// Returns limits well above what real schemas need: at most some hundred ms a grammar and 15 ms a
    /// mask.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            text_bytes_max: 512 * 1024,
            expression_bytes_max: 4 * 1024,
            lark_bytes_max: 64 * 1024,
            depth_max: 64,
            subschemas_max: 10_000,
            compile_work_max: 1_000_000,
            step_work_max: 200_000,
            lexer_states_max: 50_000,
        }
    }

    fn of_schema(&self) -> SchemaLimits {
        SchemaLimits {
            depth_max: self.depth_max,
            subschemas_max: self.subschemas_max,
            pattern_bytes_max: self.expression_bytes_max,
        }
    }
}

/// Checks that a schema can constrain answers of any model, under the standard limits.
///
/// # Errors
/// [`SchemaError`] with the keyword that cannot be honoured and its path.
pub fn check_schema(schema: &Value) -> Result<(), SchemaError> {
    schema::lower(schema, &GrammarLimits::standard().of_schema()).map(drop)
}

/// Checks that a grammar can constrain answers, under the standard limits, by compiling it for a model with one token
/// per byte.
///
/// # Errors
/// [`CompileGrammarError`] with the fault, and its position in the grammar's text if known.
pub fn check_grammar(grammar: &Grammar) -> Result<(), CompileGrammarError> {
    let bytes = (0..=u8::MAX).map(|byte| vec![byte]).chain([Vec::new()]);
    let table = TokenTable::new(bytes, &[], &[256], Forcing::Off)
        .map_err(|error| CompileGrammarError::Refused { kind: "token table", reason: error.to_string() })?;
    Grammars::new(&table, GrammarLimits::standard())?.compile(grammar).map(drop)
}

/// Why a grammar cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileGrammarError {
    /// The schema is invalid or has a keyword that cannot be honoured.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The grammar's text exceeds the limit.
    #[error(
        "the grammar is {bytes} bytes long, over the limit of {limit}: shorten it or raise text_bytes_max"
    )]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The choice is empty.
    #[error("the choice is empty: add at least one string")]
    NoChoice,
    /// The syntax is not supported.
    #[error("{0} is not supported: {1}")]
    NotSupported(&'static str, &'static str),
    /// Nobody waits for it any more.
    #[error("the grammar is no longer wanted")]
    Unwanted,
    /// The grammar is invalid or too large; the reason includes the position if there is one.
    #[error("the {kind} cannot be compiled: {reason}")]
    Refused {
        /// "JSON schema", "regular expression", "choice" or "Lark grammar".
        kind: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
}

/// Compiles grammars for one model. Built once per model, since it holds the trie of all tokens.
pub struct Grammars {
    factory: ParserFactory,
    limits: GrammarLimits,
    refused: TokenMask,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Grammars").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Grammars {
    /// Returns the compiler for a model's tokens.
    pub fn new(table: &TokenTable, limits: GrammarLimits) -> Result<Self, CompileGrammarError> {
        let refused = |error: &dyn std::fmt::Display| CompileGrammarError::Refused {
            kind: "token table",
            reason: error.to_string(),
        };
        let ids = 0..table.len() as u32;
        let words: Vec<Vec<u8>> = ids.clone().map(|token| table.text(token).to_vec()).collect();
        let info = TokRxInfo::new(words.len() as u32, table.end_of_sequence()[0]);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(table.end_of_sequence());
        let environment: TokEnv = Arc::new(ModelTokens { trie, forcing: table.forcing().clone() });
        let capabilities = InferenceCapabilities {
            ff_tokens: !matches!(table.forcing(), Forcing::Off),
            ..InferenceCapabilities::default()
        };
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory =
            ParserFactory::new(&environment, capabilities, &slices).map_err(|error| refused(&error))?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            initial_lexer_fuel: limits.compile_work_max,
            step_lexer_fuel: limits.step_work_max,
            max_lexer_states: limits.lexer_states_max,
            // Error messages must not contain text of the answer.
            verbose_errors: false,
            ..ParserLimits::default()
        };
        let control: Vec<u32> =
            ids.filter(|token| table.is_control(*token) && !table.is_end(*token)).collect();
        Ok(Self { factory, limits, refused: TokenMask::of(words.len(), &control) })
    }

    /// Compiles a grammar.
    pub fn compile(&self, grammar: &Grammar) -> Result<CompiledGrammar, CompileGrammarError> {
        self.compile_while(grammar, &|| true)
    }

    /// Compiles a grammar for as long as it is wanted, which is asked between the steps of the work.
    ///
    /// # Errors
    /// [`CompileGrammarError::Unwanted`] once `is_wanted` says no, and otherwise as [`Self::compile`].
    pub fn compile_while(
        &self,
        grammar: &Grammar,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<CompiledGrammar, CompileGrammarError> {
        let check = || if is_wanted() { Ok(()) } else { Err(CompileGrammarError::Unwanted) };
        check()?;
        let is_json = matches!(grammar, Grammar::JsonSchema { .. });
        let (kind, grammar) = match grammar {
            Grammar::JsonSchema { schema, layout } => ("JSON schema", self.schema(schema, *layout)?),
            Grammar::Regex(expression) => {
                check_length(expression.len(), self.limits.expression_bytes_max)?;
                ("regular expression", TopLevelGrammar::from_regex(expression))
            }
            Grammar::Choice(strings) => {
                check_length(
                    strings.iter().map(|string| string.len() + 1).sum(),
                    self.limits.text_bytes_max,
                )?;
                ("choice", TopLevelGrammar::from_regex(&choice(strings)?))
            }
            Grammar::Lark(text) => {
                check_length(text.len(), self.limits.lark_bytes_max)?;
                if lark::brackets(text) > lark::BRACKETS_MAX {
                    let advice = "give the inner parts rules of their own";
                    return Err(CompileGrammarError::NotSupported("nesting deeper than 50 brackets", advice));
                }
                if text.contains("%json") {
                    let advice = "a schema inside Lark cannot be checked keyword by keyword, so pass it as a JSON schema";
                    return Err(CompileGrammarError::NotSupported("%json", advice));
                }
                let combinations = lark::combinations(text);
                if combinations > COMBINATIONS_MAX {
                    let advice = "the lexer would follow too many combinations: use fewer terminals joined by &, or shorter \
                        repetitions";
                    return Err(CompileGrammarError::NotSupported(
                        "a conjunction of large terminals",
                        advice,
                    ));
                }
                ("Lark grammar", TopLevelGrammar::from_lark(text.clone()))
            }
            Grammar::Gbnf(_) => {
                let advice = "write the grammar in Lark, or as a regular expression or a JSON schema";
                return Err(CompileGrammarError::NotSupported("GBNF", advice));
            }
        };
        let refused = |reason: String| CompileGrammarError::Refused { kind, reason };
        check()?;
        let parser = self
            .factory
            .create_parser(grammar)
            .map_err(|error| refused(first_lines(&format!("{error:#}"))))?;
        check()?;
        let endings = endings(parser.parser.grammar(), is_json);
        check()?;
        let mut fresh = Matcher::new(Ok(parser));
        // The first mask finds grammars that no answer can begin, and its lexer states are shared by every answer.
        let empty = || refused("the language is empty".to_owned());
        let first = fresh.compute_mask_or_eos().map_err(|error| match first_lines(&error.to_string()) {
            // llguidance's name for an empty language.
            reason if reason == "NoExtensionBias" => empty(),
            reason => refused(reason),
        })?;
        if first.is_zero() {
            return Err(empty());
        }
        if let Some(error) = fresh.get_error() {
            return Err(refused(first_lines(&error)));
        }
        let endings = endings.map_err(refused)?;
        let shortest = Arc::default();
        Ok(CompiledGrammar { fresh: warm_up(fresh), refused: self.refused.clone(), endings, shortest })
    }

    fn schema(&self, schema: &Value, layout: JsonLayout) -> Result<TopLevelGrammar, CompileGrammarError> {
        let limits = self.limits.of_schema();
        let mut lowered = schema::lower(schema, &limits)?;
        check_length(lowered.to_string().len(), self.limits.text_bytes_max)?;
        // Leaving `u` out of the escapes gives each string a single spelling. Otherwise `"f\u006fo"` would differ
        // from "foo" to the grammar but equal it to a reader of the answer.
        let mut options =
            serde_json::json!({ "json_allowed_escapes": "nrbtf\\\"", "whitespace_flexible": false });
        match layout {
            JsonLayout::Compact => {}
            JsonLayout::Spaced => {
                (options["item_separator"], options["key_separator"]) = (", ".into(), ": ".into());
            }
            JsonLayout::Free => options["whitespace_pattern"] = r"[\x20\x0A\x0D\x09]{1,16}".into(),
        }
        if let Some(object) = lowered.as_object_mut() {
            object.insert("x-guidance".to_owned(), options);
        }
        Ok(TopLevelGrammar::from_json_schema(lowered))
    }
}

/// Returns how answers can end. An answer in JSON must end, so a schema without a known ending is refused; answers of
/// other grammars may be cut off.
fn endings(grammar: &CGrammar, is_json: bool) -> Result<Option<Arc<Endings>>, String> {
    match Endings::new(grammar) {
        Ok(endings) => Ok(Some(Arc::new(endings))),
        Err(error) if is_json || error == EndingsError::Endless => Err(error.to_string()),
        Err(_) => Ok(None),
    }
}

/// Returns the matcher with its lexer warmed by the first mask after the forced beginning. Every answer starts from a
/// copy, and would otherwise spend some milliseconds on this before its first token.
fn warm_up(fresh: Matcher) -> Matcher {
    let warm = fresh.deep_clone();
    // The clone shares only the lexer's states with `warm`.
    let mut ahead = warm.clone();
    ahead.consume_ff_tokens();
    // An error here occurs again in an answer, which reports it.
    let is_fine = ahead.compute_mask_or_eos().is_ok() && !ahead.is_error();
    if is_fine { warm } else { fresh }
}

fn check_length(bytes: usize, limit: usize) -> Result<(), CompileGrammarError> {
    if bytes > limit { Err(CompileGrammarError::TooLong { bytes, limit }) } else { Ok(()) }
}

fn choice(strings: &[String]) -> Result<String, CompileGrammarError> {
    if strings.is_empty() {
        return Err(CompileGrammarError::NoChoice);
    }
    let mut expression = String::new();
    for string in strings {
        expression.push(if expression.is_empty() { '(' } else { '|' });
        for character in string.chars() {
            if character.is_ascii_punctuation() {
                expression.push('\\');
            }
            expression.push(character);
        }
    }
    expression.push(')');
    Ok(expression)
}

/// Keeps the message and its position, and drops dumps of inner state and backtraces.
fn first_lines(error: &str) -> String {
    let end = error.find("\n<").unwrap_or(error.len());
    let lines: Vec<&str> =
        error[..end].lines().map(str::trim_end).filter(|line| !line.is_empty()).take(8).collect();
    lines.join("\n")
}

/// The model's tokens in the form that llguidance asks for.
struct ModelTokens {
    trie: TokTrie,
    forcing: Forcing,
}

impl TokenizerEnv for ModelTokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    /// Tokenizes a text. The result of a tokenizer that changes any byte is ignored.
    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        if let (Forcing::Encoder(encode), Ok(text)) = (&self.forcing, std::str::from_utf8(bytes)) {
            let tokens = encode(text);
            let is_known = tokens.iter().all(|token| (*token as usize) < self.trie.vocab_size());
            if is_known && tokens.iter().flat_map(|token| self.trie.token(*token)).eq(bytes) {
                return tokens;
            }
        }
        self.trie.greedy_tokenize(bytes)
    }

    fn tokenize_is_canonical(&self) -> bool {
        !matches!(self.forcing, Forcing::Off)
    }
}
