//! From a conversation to the tokens that the model reads.

use std::collections::BTreeMap;

use bantam_template::{ChatTemplate, Conversation, TemplateError};
use bantam_weights::{EncodeOptions, FillInTheMiddle, Tokenizer};
use jiff::civil::DateTime;
use serde_json::Value;

use crate::calls::CallForm;
use crate::thinking::Thinking;

/// The template of models that have none: texts one after the other.
const PLAIN: &str = "{% for message in messages %}{{ message.content }}\n{% endfor %}";

/// What a chat template is given of a conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk<'t> {
    pub(crate) messages: &'t [Value],
    pub(crate) tools: &'t [Value],
    /// What the template is told beside them.
    pub(crate) variables: &'t BTreeMap<String, Value>,
}

/// Writes prompts for one model.
#[derive(Debug)]
pub(crate) struct Prompter {
    template: ChatTemplate,
    calls: CallForm,
    thinking: Thinking,
    /// Texts of the model's control tokens.
    control: Vec<String>,
    /// Whether the tokenizer puts the tokens that begin a text; templates write them themselves.
    begins: bool,
    /// The text of the token that begins every text, if there is one.
    bos: String,
}

impl Prompter {
    /// Returns the prompter of a model. `source` is its chat template.
    pub(crate) fn new(tokenizer: &Tokenizer, source: Option<&str>) -> Result<Self, TemplateError> {
        let text = |id: Option<u32>| {
            id.map(|id| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned()).unwrap_or_default()
        };
        let (bos, eos) = (text(tokenizer.bos()), text(tokenizer.eos_ids().first().copied()));
        let control = (0..tokenizer.vocabulary() as u32)
            .filter(|id| tokenizer.is_control(*id))
            .filter_map(|id| String::from_utf8(tokenizer.token_bytes(id).to_vec()).ok())
            .filter(|text| !text.is_empty())
            .collect();
        let template = ChatTemplate::new(source.unwrap_or(PLAIN), &bos, &eos)?;
        let calls = CallForm::of_template(source.unwrap_or(PLAIN));
        let thinking = Thinking::of_template(&template);
        Ok(Self { template, calls, thinking, control, begins: source.is_none(), bos })
    }

    /// Returns how the model writes calls of tools.
    pub(crate) fn calls(&self) -> CallForm {
        self.calls
    }

    /// Returns what the model can be told of how long to think.
    pub(crate) fn thinking(&self) -> Thinking {
        self.thinking
    }

    /// Returns the prompt of a text to continue. The text is the application's own and whole prompt, so control tokens may
    /// be written in it, as with every other server of this endpoint.
    pub(crate) fn text(&self, tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        let has_begun = !self.bos.is_empty() && text.starts_with(&self.bos);
        tokenizer.encode(text, EncodeOptions { add_special: !has_begun, parse_special: true })
    }

    /// Returns the prompt of a text whose middle is wanted, in the order prefix, suffix, middle (Bavarian et al. 2022,
    /// *Efficient Training of Language Models to Fill in the Middle*). Both parts are content: nothing in them is a
    /// control token.
    pub(crate) fn middle(
        &self,
        tokenizer: &Tokenizer,
        tokens: FillInTheMiddle,
        (before, after): (&str, &str),
    ) -> Vec<u32> {
        let plain = EncodeOptions { add_special: false, parse_special: false };
        let begin = EncodeOptions { add_special: true, parse_special: false };
        let mut prompt = tokenizer.encode("", begin);
        prompt.push(tokens.prefix);
        prompt.extend(tokenizer.encode(before, plain));
        prompt.push(tokens.suffix);
        prompt.extend(tokenizer.encode(after, plain));
        prompt.push(tokens.middle);
        prompt
    }

    /// Returns the prompt of a conversation, up to where the model's answer begins, and `after` behind it.
    pub(crate) fn prompt(
        &self,
        tokenizer: &Tokenizer,
        talk: Talk<'_>,
        after: &str,
        now: DateTime,
    ) -> Result<Vec<u32>, TemplateError> {
        let Talk { messages, tools, variables } = talk;
        let talk = Conversation { messages, tools, add_generation_prompt: true, variables, now };
        let control: Vec<&str> = self.control.iter().map(String::as_str).collect();
        let pieces = self.template.render(&talk, &control)?;
        let mut tokens = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let add_special = self.begins && index == 0;
            let options = EncodeOptions { add_special, parse_special: !piece.is_quotation };
            tokens.extend(tokenizer.encode(&piece.text, options));
        }
        if !after.is_empty() {
            let options = EncodeOptions { add_special: false, parse_special: true };
            tokens.extend(tokenizer.encode(after, options));
        }
        Ok(tokens)
    }
}
