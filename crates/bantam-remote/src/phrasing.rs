//! How an upstream is told what not all servers of OpenAI's dialect are told the same way: as the configuration says, or
//! as a refusal taught.
//!
//! A server that does not know `stream_options`, or `max_completion_tokens`, refuses the request by name. Such a request
//! was not worked on, so it is sent once more, said the other way. Only when that is answered is it remembered: a refusal's
//! message may quote the prompt, and must not change how other callers' requests are sent. What was learnt is forgotten
//! after an hour, since servers are updated, and with the model's configuration.

use std::time::{Duration, Instant};

use bantam_backend::BackendFault;
use bantam_wire::{Call, CallKind, OutputLimit, Phrasing, Role, Unwanted};

/// How long what was learnt is kept.
const KEPT: Duration = Duration::from_secs(3600);
/// How long after a request that was refused for no known reason, and again without `stream_options`, the next one is
/// tried without.
const GUESS_PAUSE: Duration = Duration::from_secs(300);

/// What the configuration says; nothing leaves it to what is learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhrasingSettings {
    /// Whether streams are asked to tell their usage.
    pub stream_usage: Option<bool>,
    /// What the limit of a chat's output tokens is called.
    pub output_limit: Option<OutputLimit>,
    /// Whether the role `developer` is sent.
    pub developer_role: Option<bool>,
}

/// What was learnt of one model, for one kind of calls.
#[derive(Debug, Default)]
pub(crate) struct Learnt {
    no_stream: Option<Instant>,
    no_stream_usage: Option<Instant>,
    output_limit: Option<(OutputLimit, Instant)>,
    no_developer_role: Option<Instant>,
    /// A stream with `stream_options` was answered.
    takes_stream_usage: bool,
    guessed: Option<Instant>,
}

/// What a call changed since it was first sent. Each point changes once at most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    stream: bool,
    stream_usage: bool,
    output_limit: bool,
    developer_role: bool,
}

impl Learnt {
    /// Returns how a call is said.
    pub(crate) fn phrasing(&self, settings: PhrasingSettings, now: Instant) -> Phrasing {
        let is_fresh = |learnt: Instant| now.saturating_duration_since(learnt) < KEPT;
        let refuses = |learnt: Option<Instant>| learnt.is_some_and(is_fresh);
        let learnt_limit = self.output_limit.filter(|(_, learnt)| is_fresh(*learnt)).map(|(limit, _)| limit);
        Phrasing {
            stream: !refuses(self.no_stream),
            stream_usage: settings.stream_usage.unwrap_or_else(|| !refuses(self.no_stream_usage)),
            output_limit: settings.output_limit.or(learnt_limit),
            developer_role: settings.developer_role.unwrap_or_else(|| !refuses(self.no_developer_role)),
        }
    }

    /// Returns how to say a call that was refused, where there is another way; notes what is changed. `stream` tells
    /// whether a stream was asked for.
    pub(crate) fn rephrased(
        &mut self,
        settings: PhrasingSettings,
        (call, stream, said): (&Call, bool, Phrasing),
        (fault, unwanted): (BackendFault, Option<Unwanted>),
        changes: &mut Changes,
    ) -> Option<Phrasing> {
        if !matches!(fault, BackendFault::Refused(400 | 422) | BackendFault::Unsupported(400 | 422)) {
            return None;
        }
        let asks_usage =
            stream && said.stream_usage && settings.stream_usage.is_none() && !changes.stream_usage;
        let without_usage = Phrasing { stream_usage: false, ..said };
        match unwanted {
            Some(Unwanted::Stream) if stream && said.stream && !changes.stream => {
                changes.stream = true;
                Some(Phrasing { stream: false, ..said })
            }
            Some(Unwanted::StreamOptions) if asks_usage => {
                changes.stream_usage = true;
                Some(without_usage)
            }
            Some(Unwanted::MaxTokens | Unwanted::MaxCompletionTokens)
                if settings.output_limit.is_none() && !changes.output_limit =>
            {
                let sent = said.output_limit.or_else(|| limit_of(call))?;
                let other = match (sent, unwanted?) {
                    (OutputLimit::MaxTokens, Unwanted::MaxTokens) => OutputLimit::MaxCompletionTokens,
                    (OutputLimit::MaxCompletionTokens, Unwanted::MaxCompletionTokens) => {
                        OutputLimit::MaxTokens
                    }
                    _ => return None,
                };
                changes.output_limit = true;
                Some(Phrasing { output_limit: Some(other), ..said })
            }
            Some(Unwanted::DeveloperRole)
                if said.developer_role
                    && settings.developer_role.is_none()
                    && !changes.developer_role
                    && call.messages().iter().any(|message| message.role == Role::System) =>
            {
                changes.developer_role = true;
                Some(Phrasing { developer_role: false, ..said })
            }
            // Some servers do not say what they refuse. Whether it is this is found out once in a while at most.
            None if asks_usage && !self.takes_stream_usage && !self.has_guessed_lately() => {
                self.guessed = Some(Instant::now());
                changes.stream_usage = true;
                Some(without_usage)
            }
            _ => None,
        }
    }

    fn has_guessed_lately(&self) -> bool {
        self.guessed.is_some_and(|guessed| guessed.elapsed() < GUESS_PAUSE)
    }

    /// Notes that a call was answered that was said like that, and returns what is new about the model, for the log.
    pub(crate) fn confirm(
        &mut self,
        said: Phrasing,
        stream: bool,
        changes: Changes,
        now: Instant,
    ) -> Option<&'static str> {
        let mut new = None;
        if changes.stream {
            self.no_stream = Some(now);
            new = Some("it does not stream: it is asked for whole answers");
        }
        if changes.stream_usage {
            self.no_stream_usage = Some(now);
            self.takes_stream_usage = false;
            new =
                Some("it takes no `stream_options`: its streams are unpriced unless they tell usage unasked");
        } else if stream && said.stream && said.stream_usage {
            self.takes_stream_usage = true;
        }
        if let Some(limit) = said.output_limit.filter(|_| changes.output_limit) {
            self.output_limit = Some((limit, now));
            new = Some(match limit {
                OutputLimit::MaxTokens => "it takes `max_tokens` and not `max_completion_tokens`",
                OutputLimit::MaxCompletionTokens => "it takes `max_completion_tokens` and not `max_tokens`",
            });
        }
        if changes.developer_role {
            self.no_developer_role = Some(now);
            new = Some("it takes the role `system` and not `developer`");
        }
        new
    }
}

/// Returns what the caller calls the limit of the output, where there is one name for it.
fn limit_of(call: &Call) -> Option<OutputLimit> {
    if call.kind() != CallKind::Chat {
        return None;
    }
    let has = |limit: OutputLimit| call.source().member(limit.as_str()).is_some();
    match (has(OutputLimit::MaxTokens), has(OutputLimit::MaxCompletionTokens)) {
        (true, false) => Some(OutputLimit::MaxTokens),
        (false, true) => Some(OutputLimit::MaxCompletionTokens),
        _ => None,
    }
}
