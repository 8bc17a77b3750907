//! The conversation: lines in, answers out.

use std::io::{BufRead, IsTerminal};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Session;
use super::turn::{self, Ended};
use crate::cli::models::RunArgs;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

const HELP: &str = "/clear forgets the conversation, /system TEXT says what the model is to be, /bye ends; Ctrl-C stops \
                    an answer";

/// Answers one question, or as many as there are lines.
pub(super) async fn talk(session: &mut Session, args: &RunArgs, globals: &Globals) -> Result<(), Failure> {
    let mut talk = Talk { messages: Vec::new(), system: args.system.clone() };
    if let Some(prompt) = &args.prompt {
        return match talk.ask(session, prompt, args, globals).await? {
            Ended::Whole => Ok(()),
            Ended::Interrupted => Err(interrupted()),
        };
    }
    let is_person = std::io::stdin().is_terminal() && !globals.json;
    if is_person && !globals.quiet {
        output::note(format!("{}: ask away ({HELP})", session.name));
    }
    let mut lines = lines();
    let mut was_interrupted = false;
    loop {
        if is_person {
            output::prompt(">>> ");
        }
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = tokio::signal::ctrl_c() => {
                output::note("");
                return Err(interrupted());
            }
        };
        let Some(line) = line else { break };
        match talk.command(line.trim(), globals) {
            Some(Said::End) => break,
            Some(Said::Done) => continue,
            None => {}
        }
        match talk.ask(session, line.trim(), args, globals).await {
            Ok(ended) => was_interrupted = matches!(ended, Ended::Interrupted),
            // A person may change the question; a script has to know.
            Err(failure) if is_person => output::failure(&failure, false),
            Err(failure) => return Err(failure),
        }
        if was_interrupted && !is_person {
            break;
        }
    }
    if was_interrupted { Err(interrupted()) } else { Ok(()) }
}

fn interrupted() -> Failure {
    Failure::new(Outcome::Interrupted, "interrupted")
}

/// What a line was that asks nothing.
enum Said {
    End,
    Done,
}

struct Talk {
    messages: Vec<Value>,
    system: Option<String>,
}

impl Talk {
    /// Does what a line says that is for us and not for the model.
    fn command(&mut self, line: &str, globals: &Globals) -> Option<Said> {
        if line.is_empty() {
            return Some(Said::Done);
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "/bye" | "/exit" | "/quit" => return Some(Said::End),
            "/clear" => self.messages.clear(),
            "/system" => self.system = Some(rest.to_owned()).filter(|text| !text.is_empty()),
            "/help" | "/?" => output::note(HELP),
            // A path or a word with a slash is a question like any other.
            _ => return None,
        }
        if !globals.quiet && word == "/clear" {
            output::note("forgotten");
        }
        Some(Said::Done)
    }

    async fn ask(
        &mut self,
        session: &mut Session,
        text: &str,
        args: &RunArgs,
        globals: &Globals,
    ) -> Result<Ended, Failure> {
        self.messages.push(json!({ "role": "user", "content": text }));
        let system = self.system.iter().map(|text| json!({ "role": "system", "content": text }));
        let messages: Vec<Value> = system.chain(self.messages.iter().cloned()).collect();
        let told = match turn::answer(session, &messages, args, globals).await {
            Ok(told) => told,
            Err(failure) => {
                self.messages.pop();
                return Err(failure);
            }
        };
        // What was said until it was stopped is part of the conversation.
        self.messages.push(json!({ "role": "assistant", "content": told.text }));
        session.note_speed(&told);
        turn::report(session, &told, globals);
        Ok(told.ended)
    }
}

/// Reads standard input on a thread of its own, since reading cannot be interrupted.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::GlobalArgs;

    #[test]
    fn commands_are_for_us_and_paths_are_questions() {
        let globals = Globals::new(GlobalArgs {
            config: None,
            set: Vec::new(),
            json: false,
            quiet: true,
            offline: true,
        });
        let mut talk = Talk { messages: vec![json!({})], system: None };
        assert!(talk.command("/etc/passwd is what?", &globals).is_none());
        assert!(talk.command("hello", &globals).is_none());
        assert!(matches!(talk.command("/system be brief", &globals), Some(Said::Done)));
        assert_eq!(talk.system.as_deref(), Some("be brief"));
        assert!(matches!(talk.command("/clear", &globals), Some(Said::Done)));
        assert!(talk.messages.is_empty());
        assert!(matches!(talk.command("/bye", &globals), Some(Said::End)));
    }
}
