//! Lines of a conversation that are for the program rather than the model.

/// What a line of a conversation says to the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TalkCommand {
    /// Nothing: the line is empty.
    Nothing,
    /// `/bye`: the conversation ends.
    End,
    /// `/clear`: what was said is forgotten.
    Clear,
    /// `/system TEXT`: what the model is to be; without a text nothing in particular.
    System(Option<String>),
    /// `/help`: what can be said to the program.
    Help,
}

impl TalkCommand {
    /// What `/help` answers.
    pub const HELP: &'static str =
        "/clear forgets the conversation, /system TEXT says what the model is to be, /bye ends";

    /// Reads a line; one that is a question is no command.
    pub fn parse(line: &str) -> Option<Self> {
        if line.is_empty() {
            return Some(Self::Nothing);
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "/bye" | "/exit" | "/quit" => Some(Self::End),
            "/clear" => Some(Self::Clear),
            "/system" => Some(Self::System(Some(rest.to_owned()).filter(|text| !text.is_empty()))),
            "/help" | "/?" => Some(Self::Help),
            // A path or a word with a slash is a question like any other.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_questions() {
        for question in ["/etc/passwd is what?", "hello", "/clearing"] {
            assert_eq!(TalkCommand::parse(question), None, "{question}");
        }
        let system = |text: Option<&str>| Some(TalkCommand::System(text.map(str::to_owned)));
        assert_eq!(TalkCommand::parse("/system be brief"), system(Some("be brief")));
        assert_eq!(TalkCommand::parse("/system"), system(None));
        assert_eq!(TalkCommand::parse(""), Some(TalkCommand::Nothing));
        assert_eq!(TalkCommand::parse("/clear"), Some(TalkCommand::Clear));
        assert_eq!(TalkCommand::parse("/bye"), Some(TalkCommand::End));
    }
}
