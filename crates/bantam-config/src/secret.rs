//! Keys that must not stand in a file, and the variables that hold them instead.

use crate::context::Context;
use crate::log::{Log, Problem};
use crate::origin::Found;
use crate::{MistakeKind, Purpose};

/// Parts of keys whose values are hidden when they are wrong; an address may hold a password.
const SECRET_WORDS: [&str; 10] =
    ["key", "secret", "token", "passw", "pwd", "credential", "auth", "header", "cookie", "url"];

/// Returns whether something named `key` is likely a secret.
pub(crate) fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Reads the name of an environment variable.
///
/// Lower case is refused, so that a key that somebody pastes where its variable's name belongs is
/// recognised, and not repeated in "variable ... is not set".
pub(crate) fn variable_name(text: &str) -> Result<String, Problem> {
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let good = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if starts_well && text.len() <= 64 && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(Problem::new("is not the name of an environment variable")
        .hint("write the variable's name, as in \"OPENAI_API_KEY\", never the key itself")
        .secret())
}

/// Checks that a variable holds a key that can be sent in a header.
pub(crate) fn check_variable(context: &Context<'_>, name: &Found<String>, length_min: usize, log: &Log<'_>) {
    if context.source.purpose == Purpose::LookUp {
        return;
    }
    let variable = &name.value;
    let Some(key) = context.env.get(variable) else {
        let problem = Problem::new(format!("names the environment variable {variable}, which is not set"))
            .hint(format!("set {variable} before starting, or remove the setting"));
        return log.problem(MistakeKind::Unreachable, &name.spot, problem);
    };
    let problem = if key.is_empty() {
        Problem::new(format!("names the environment variable {variable}, which is empty"))
            .hint(format!("put the key into {variable}, or remove the setting"))
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Problem::new(format!(
            "names {variable}, whose value holds a blank, a line break or a non-ASCII character"
        ))
        .hint("a key is one word; a file read with `$(cat ..)` may hold more than the key")
    } else if key.len() < length_min {
        Problem::new(format!("names {variable}, whose value is shorter than {length_min} characters"))
            .hint("make a key that cannot be guessed: `openssl rand -hex 32`")
    } else {
        return;
    };
    log.problem(MistakeKind::BadValue, &name.spot, problem);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_key_is_no_variable_name_and_is_marked_secret() {
        for pasted in ["sk-proj-4f9a", "sk_live_4f9a", "", "9A", "A B", "ghp_x", &"A".repeat(65)] {
            assert!(variable_name(pasted).unwrap_err().is_secret, "{pasted}");
        }
        assert_eq!(variable_name("_MY_KEY_2").unwrap(), "_MY_KEY_2");
    }
}
