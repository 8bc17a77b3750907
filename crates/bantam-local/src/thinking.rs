//! How a model is told how long to think: by variables of its chat template, where it has any.
//!
//! Templates of models that think have a switch, `enable_thinking` (Qwen3, GLM, SmolLM3, Granite calls it `thinking`), or a
//! word for the effort, `reasoning_effort` (gpt-oss). The others have neither: their models do not think, or cannot be told.

use std::collections::BTreeMap;

use bantam_template::ChatTemplate;
use bantam_wire::{Feature, Unsupported};
use serde_json::Value;

/// What a chat template can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Thinking {
    /// The variable that switches thinking on and off.
    switch: Option<&'static str>,
    /// Whether it takes a word for the effort.
    effort: bool,
}

impl Thinking {
    /// Returns what `template` can be told.
    pub(crate) fn of_template(template: &ChatTemplate) -> Self {
        let switch = ["enable_thinking", "thinking"].into_iter().find(|name| template.reads(name));
        Self { switch, effort: template.reads("reasoning_effort") }
    }

    /// Returns the variables that say `effort`, a word of OpenAI's.
    ///
    /// # Errors
    /// When the model cannot be told that.
    pub(crate) fn variables(self, effort: Option<&str>) -> Result<BTreeMap<String, Value>, Unsupported> {
        let refuse = |reason: &'static str| Err(Unsupported::new(Feature::ReasoningEffort, reason));
        let mut variables = BTreeMap::new();
        let Some(effort) = effort else { return Ok(variables) };
        let thinks = !matches!(effort, "none" | "minimal");
        match (self.switch, self.effort) {
            (None, false) if thinks => {
                return refuse(
                    "the model's chat template does not say how long to think: only `none` and `minimal`",
                );
            }
            (None, false) => {}
            (None, true) if effort == "none" => {
                return refuse("the model always thinks: ask for `minimal` or `low`");
            }
            (switch, has_effort) => {
                if let Some(name) = switch {
                    variables.insert(name.to_owned(), thinks.into());
                }
                if has_effort && effort != "none" {
                    // Templates know three words.
                    let word = match effort {
                        "minimal" => "low",
                        "xhigh" | "max" => "high",
                        other => other,
                    };
                    variables.insert("reasoning_effort".to_owned(), word.into());
                }
            }
        }
        Ok(variables)
    }
}

/// Returns whether a word for the effort is one of OpenAI's.
pub(crate) fn is_known(effort: &str) -> bool {
    matches!(effort, "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWITCH: &str =
        "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}";
    const GRANITE: &str = "{% if thinking %}think{% endif %}";
    const EFFORT: &str = "{% if reasoning_effort is not defined %}{% set reasoning_effort = 'medium' %}{% endif %}\
                          Reasoning: {{ reasoning_effort }}";
    const PLAIN: &str = "{% for message in messages %}{{ message.content }}{% endfor %}";
    /// A loop's own variable is nothing that a conversation brings.
    const OWN: &str = "{% for thinking in messages %}{{ thinking.content }}{% endfor %}";

    fn told(source: &str, effort: &str) -> Result<String, String> {
        let template = ChatTemplate::new(source, "", "").unwrap();
        let variables = Thinking::of_template(&template).variables(Some(effort));
        variables
            .map(|told| serde_json::to_string(&told).unwrap())
            .map_err(|refused| refused.reason.into_owned())
    }

    #[test]
    fn a_template_is_told_in_its_own_variables() {
        for (source, effort, expected) in [
            (SWITCH, "none", r#"{"enable_thinking":false}"#),
            (SWITCH, "minimal", r#"{"enable_thinking":false}"#),
            (SWITCH, "low", r#"{"enable_thinking":true}"#),
            (GRANITE, "high", r#"{"thinking":true}"#),
            (EFFORT, "minimal", r#"{"reasoning_effort":"low"}"#),
            (EFFORT, "medium", r#"{"reasoning_effort":"medium"}"#),
            (EFFORT, "xhigh", r#"{"reasoning_effort":"high"}"#),
            (PLAIN, "none", "{}"),
            (PLAIN, "minimal", "{}"),
            (OWN, "none", "{}"),
        ] {
            assert_eq!(told(source, effort).as_deref(), Ok(expected), "{source} {effort}");
        }
        assert!(told(PLAIN, "low").unwrap_err().contains("does not say how long"));
        assert!(told(OWN, "high").is_err());
        assert!(told(EFFORT, "none").unwrap_err().contains("always thinks"));
    }

    #[test]
    fn nothing_is_told_where_nothing_is_asked() {
        let template = ChatTemplate::new(SWITCH, "", "").unwrap();
        assert_eq!(Thinking::of_template(&template).variables(None), Ok(BTreeMap::new()));
    }
}
