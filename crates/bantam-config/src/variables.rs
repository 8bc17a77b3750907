//! The environment variables that set settings; the reference page is generated from [`ALL`].
//!
//! Only settings that an operator changes from machine to machine have one. What decides where data may
//! go (`[privacy]`, `[upstreams]`, `[models]`) has none: that belongs in a file that somebody reviews.

use crate::MistakeKind;
use crate::log::Log;
use crate::nearest::nearest;
use crate::origin::Place;

/// An environment variable that sets a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The key it sets.
    pub key: &'static str,
    /// What it does, one sentence.
    pub about: &'static str,
    /// The version that added it.
    pub since: &'static str,
}

macro_rules! variables {
    ($($constant:ident = $name:literal, $key:literal, $about:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "` sets `", $key, "`: ", $about)]
            pub const $constant: Variable = Variable { name: $name, key: $key, about: $about, since: "0.1.0" };
        )*
        /// All variables, in the order of the file.
        pub const ALL: &[Variable] = &[$($constant),*];
    };
}

variables! {
    SERVER_BIND = "BANTAM_SERVER_BIND", "server.bind", "The address and port to listen on.";
    SERVER_ALLOWED_HOSTS = "BANTAM_SERVER_ALLOWED_HOSTS", "server.allowed_hosts",
        "Host header values to allow, separated by commas.";
    SERVER_ALLOWED_ORIGINS = "BANTAM_SERVER_ALLOWED_ORIGINS", "server.allowed_origins",
        "Browser origins to allow, separated by commas.";
    SERVER_API_KEY_ENVS = "BANTAM_SERVER_API_KEY_ENVS", "server.api_key_envs",
        "Names of the variables that hold accepted keys, separated by commas.";
    SERVER_BODY_BYTES_MAX = "BANTAM_SERVER_BODY_BYTES_MAX", "server.body_bytes_max",
        "The largest request body in bytes.";
    SERVER_JSON_DEPTH_MAX = "BANTAM_SERVER_JSON_DEPTH_MAX", "server.json_depth_max",
        "How deep a request's JSON may nest.";
    SERVER_MEMORY = "BANTAM_SERVER_MEMORY", "server.memory",
        "What requests and answers may take of the memory together, such as 2 GiB.";
    SERVER_CONCURRENT_REQUESTS_MAX = "BANTAM_SERVER_CONCURRENT_REQUESTS_MAX",
        "server.concurrent_requests_max", "How many requests are worked on at once.";
    SERVER_QUEUE_REQUESTS_MAX = "BANTAM_SERVER_QUEUE_REQUESTS_MAX", "server.queue_requests_max",
        "How many requests may wait for a place.";
    SERVER_HEADER_TIMEOUT_MS = "BANTAM_SERVER_HEADER_TIMEOUT_MS", "server.header_timeout_ms",
        "How long a caller may take to send the headers, in milliseconds.";
    SERVER_BODY_TIMEOUT_MS = "BANTAM_SERVER_BODY_TIMEOUT_MS", "server.body_timeout_ms",
        "How long a caller may take to send the body, in milliseconds.";
    SERVER_WRITE_TIMEOUT_MS = "BANTAM_SERVER_WRITE_TIMEOUT_MS", "server.write_timeout_ms",
        "How long a caller may take nothing of an answer, in milliseconds.";
    SERVER_IDLE_TIMEOUT_MS = "BANTAM_SERVER_IDLE_TIMEOUT_MS", "server.idle_timeout_ms",
        "How long a connection may stay open without a request, in milliseconds.";
    SERVER_DRAIN_TIMEOUT_MS = "BANTAM_SERVER_DRAIN_TIMEOUT_MS", "server.drain_timeout_ms",
        "How long running requests may take to finish at shutdown, in milliseconds.";
    SERVER_STREAM_KEEP_ALIVE_MS = "BANTAM_SERVER_STREAM_KEEP_ALIVE_MS", "server.stream_keep_alive_ms",
        "After how much silence the caller of a stream gets a comment, in milliseconds.";
    SERVER_THREADS = "BANTAM_SERVER_THREADS", "server.threads",
        "How many threads serve requests; 0 for one for each core.";
    LEDGER_PATH = "BANTAM_LEDGER_PATH", "ledger.path", "The ledger's file.";
    LEDGER_ACKNOWLEDGE = "BANTAM_LEDGER_ACKNOWLEDGE", "ledger.acknowledge",
        "What an acknowledged cost survives: process-crash or power-loss.";
    LEDGER_KEEP_DAYS = "BANTAM_LEDGER_KEEP_DAYS", "ledger.keep_days",
        "How many days single requests are kept.";
    LEDGER_KEEP_SIZE = "BANTAM_LEDGER_KEEP_SIZE", "ledger.keep_size",
        "How large the ledger's file may grow, such as 20 GiB.";
    LEDGER_KEEP_PROMPT_PREVIEWS = "BANTAM_LEDGER_KEEP_PROMPT_PREVIEWS", "ledger.keep_prompt_previews",
        "Whether the beginnings of discovered prompts are kept: true or false.";
    STORE_PATH = "BANTAM_STORE_PATH", "store.path", "The folder that models are kept in.";
    STUDENTS_THREADS = "BANTAM_STUDENTS_THREADS", "students.threads",
        "How many threads encoder students compute on, all together; 0 for one for each core.";
    LOCAL_MEMORY = "BANTAM_LOCAL_MEMORY", "local.memory",
        "Bytes that language models in this process may take, all together, such as 8 GiB.";
    LOCAL_KEEP_ALIVE = "BANTAM_LOCAL_KEEP_ALIVE", "local.keep_alive",
        "How long a language model stays in memory after its last request: 5m, or always.";
    ROUTING_LADDER = "BANTAM_ROUTING_LADDER", "routing.ladder",
        "The models that `auto` tries, smallest first, separated by commas.";
    ROUTING_BASELINE = "BANTAM_ROUTING_BASELINE", "routing.baseline",
        "The model that savings are measured against.";
}

/// Warns of variables that look like settings but are not; `used` are those that the file names.
pub(crate) fn warn_unknown(names: &[String], used: &[&str], log: &Log<'_>) {
    for name in names {
        let known = ALL.iter().any(|variable| variable.name == name) || used.contains(&name.as_str());
        if known || !name.starts_with("BANTAM_") {
            continue;
        }
        let hint = match nearest(name, ALL.iter().map(|variable| variable.name)) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "unset it, or set the key in the file".to_owned(),
        };
        let message = format!("the environment variable {} sets nothing", name.escape_debug());
        log.plain_warning(MistakeKind::UnknownKey, Place::Default, message, Some(hint));
    }
}
