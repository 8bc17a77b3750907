//! `bantam run`: a conversation with a model on this machine, lines in and answers out.

use std::io::{BufRead, IsTerminal};

use bantam_admin::{Conversation, TalkCommand, TalkError, TalkSettings, TalkTurn};
use bantam_backend::BackendFault;
use bantam_store::Store;
use tokio::sync::mpsc;

use crate::cli::models::RunArgs;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupts;
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(args: &RunArgs, globals: &Globals) -> Result<(), Failure> {
    let config = globals.load_or_default()?;
    let store = Store::open(&config.store.path);
    let settings = TalkSettings {
        system: args.system.clone(),
        max_tokens: args.max_tokens,
        temperature: args.temperature,
        seed: args.seed,
        threads: args.threads,
    };
    let laying_out = || {
        if !globals.quiet && !globals.json {
            output::note("laying out the weights for this machine, once …");
        }
    };
    let opened = Conversation::open(&config, &store, &args.name, settings, laying_out);
    let mut conversation = opened.map_err(failed)?;
    let talked = super::runtime(1)?.block_on(async {
        let interrupts =
            Interrupts::listen().map_err(|error| Failure::from_error("cannot listen for Ctrl-C", &error))?;
        let mut talk = Talk { conversation: &mut conversation, interrupts, globals };
        match &args.prompt {
            Some(prompt) => talk.ask(prompt).await,
            None => talk.lines().await,
        }
    });
    conversation.end(&store);
    match talked? {
        true => Err(Failure::new(Outcome::Interrupted, "interrupted")),
        false => Ok(()),
    }
}

fn failed(error: TalkError) -> Failure {
    match error {
        TalkError::Find(error) => error.into(),
        TalkError::NoAnswer(BackendFault::TooLarge | BackendFault::ContextLength { .. }) => {
            Failure::from_use_case(&error)
                .hint("the conversation is longer than the model's context: /clear it")
        }
        other => Failure::from_use_case(&other),
    }
}

struct Talk<'t> {
    conversation: &'t mut Conversation,
    interrupts: Interrupts,
    globals: &'t Globals,
}

impl Talk<'_> {
    /// Answers as many questions as there are lines; returns whether it was interrupted at last.
    async fn lines(&mut self) -> Result<bool, Failure> {
        let is_person = std::io::stdin().is_terminal() && !self.globals.json;
        if is_person && !self.globals.quiet {
            let (name, help) = (self.conversation.name(), TalkCommand::HELP);
            output::note(format!("{name}: ask away ({help}; Ctrl-C stops an answer)"));
        }
        let (mut lines, mut was_interrupted) = (lines(), false);
        loop {
            if is_person {
                output::prompt(">>> ");
            }
            let line = tokio::select! {
                line = lines.recv() => line,
                () = self.interrupts.next() => {
                    output::note("");
                    return Ok(true);
                }
            };
            let Some(line) = line else { return Ok(was_interrupted) };
            match TalkCommand::parse(line.trim()) {
                Some(TalkCommand::End) => return Ok(was_interrupted),
                Some(command) => {
                    self.obey(command);
                    continue;
                }
                None => {}
            }
            match self.ask(line.trim()).await {
                Ok(interrupted) => was_interrupted = interrupted,
                // A person may change the question; a script has to know.
                Err(failure) if is_person => output::failure(&failure, false),
                Err(failure) => return Err(failure),
            }
            if was_interrupted && !is_person {
                return Ok(true);
            }
        }
    }

    fn obey(&mut self, command: TalkCommand) {
        match command {
            TalkCommand::Nothing | TalkCommand::End => {}
            TalkCommand::Help => output::note(format!("{}; Ctrl-C stops an answer", TalkCommand::HELP)),
            TalkCommand::System(system) => self.conversation.set_system(system),
            TalkCommand::Clear => {
                self.conversation.clear();
                if !self.globals.quiet {
                    output::note("forgotten");
                }
            }
        }
    }

    /// Answers a question; returns whether the answer was interrupted.
    async fn ask(&mut self, question: &str) -> Result<bool, Failure> {
        let Self { conversation, interrupts, globals } = self;
        let mut show = |text: &str| {
            if !globals.json {
                output::text(text);
            }
        };
        let turn = conversation.ask(question, &mut show, interrupts.next()).await.map_err(failed)?;
        report(&turn, globals)?;
        Ok(turn.interrupted)
    }
}

/// Says what an answer took: for people below it, for machines in its place.
fn report(turn: &TalkTurn, globals: &Globals) -> Result<(), Failure> {
    if globals.json {
        return output::json(turn);
    }
    output::line("");
    if globals.quiet {
        return Ok(());
    }
    let baseline = turn.baseline.as_ref();
    let baseline =
        baseline.map(|of| format!(" · {} would have cost {}", of.model, bantam_admin::dollars_text(of.cost)));
    output::note(format!("— {}{}", turn.figures(), baseline.unwrap_or_default()));
    Ok(())
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
