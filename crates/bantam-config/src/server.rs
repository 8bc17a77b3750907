//! `[server]`: where Bantam listens, whom it serves, and the limit of everything a caller can use up.

use std::net::SocketAddr;
use std::time::Duration;

use crate::MistakeKind;
use crate::context::Context;
use crate::log::{Log, Problem};
use crate::origin::Found;
use crate::section::Section;
use crate::{amount, secret, url, value};

/// The longest a caller or an upstream may be waited for: an hour.
pub(crate) const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// The fewest characters that an accepted key has.
const KEY_CHARACTERS_MIN: usize = 32;

/// What the HTTP edge needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The address and port to listen on; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// `Host` values allowed beyond loopback names and the bind address; lower case, `host` or `host:port`.
    pub allowed_hosts: Vec<String>,
    /// Browser origins allowed, as the `Origin` header has them; lower case.
    pub allowed_origins: Vec<String>,
    /// Names of environment variables, each holding one accepted key; empty means that no key is asked for.
    pub api_key_envs: Vec<String>,
    /// The largest request body, in bytes.
    pub body_bytes_max: usize,
    /// How deep a request's JSON may nest.
    pub json_depth_max: usize,
    /// What requests and answers may take of the memory together, in bytes; without it, a part of what the machine has.
    pub memory_bytes: Option<u64>,
    /// How many requests are worked on at once.
    pub concurrent_requests_max: usize,
    /// How many requests may wait for a place; the next one is refused.
    pub queue_requests_max: usize,
    /// How long a caller may take to send the headers.
    pub header_timeout: Duration,
    /// How long a caller may take to send the body.
    pub body_timeout: Duration,
    /// How long a caller may take no byte of an answer.
    pub write_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How long running requests may take to finish at shutdown.
    pub drain_timeout: Duration,
    /// After how much silence the caller of a stream is shown that it lives.
    pub stream_keep_alive: Duration,
    /// How many threads serve requests; 0 means one for each core.
    pub threads: usize,
}

/// Reads `[server]`.
pub(crate) fn read(root: &mut Section<'_>, context: &Context<'_>) -> Server {
    let mut section = root.table("server");
    let bind = section.or("bind", SocketAddr::from(([127, 0, 0, 1], 5454)), value::socket_address);
    let allowed_hosts = section.items_or_none("allowed_hosts", url::host_header);
    let allowed_origins = section.items_or_none("allowed_origins", url::origin);
    for key in ["api_key", "api_keys"] {
        section.refuse(
            key,
            "put the key into an environment variable and name that: api_key_envs = [\"BANTAM_KEY\"]",
        );
    }
    let log = section.log();
    let mistakes = log.count();
    let api_key_envs = section.items_or_none("api_key_envs", secret::variable_name);
    let keys_are_meant = !api_key_envs.is_empty() || log.count() > mistakes;
    for name in &api_key_envs {
        secret::check_variable(context, name, KEY_CHARACTERS_MIN, log);
    }
    check_reach(&bind, allowed_hosts.is_empty(), keys_are_meant, log);
    let server = Server {
        bind: bind.value,
        allowed_hosts: values(allowed_hosts),
        allowed_origins: values(allowed_origins),
        api_key_envs: values(api_key_envs),
        body_bytes_max: section.or("body_bytes_max", 4 << 20, value::whole(1 << 10..=1 << 30)).value,
        json_depth_max: section.or("json_depth_max", 64, value::whole(4..=128)).value,
        memory_bytes: section
            .optional("memory", |node| amount::bytes(node, "memory"))
            .map(|memory| memory.value.0),
        concurrent_requests_max: section
            .or("concurrent_requests_max", 1024, value::whole(1..=1_000_000))
            .value,
        queue_requests_max: section.or("queue_requests_max", 1024, value::whole(0..=1_000_000)).value,
        header_timeout: timeout(&mut section, "header_timeout_ms", 10_000).value,
        body_timeout: timeout(&mut section, "body_timeout_ms", 30_000).value,
        write_timeout: timeout(&mut section, "write_timeout_ms", 60_000).value,
        idle_timeout: timeout(&mut section, "idle_timeout_ms", 75_000).value,
        drain_timeout: timeout(&mut section, "drain_timeout_ms", 10_000).value,
        stream_keep_alive: timeout(&mut section, "stream_keep_alive_ms", 10_000).value,
        threads: section.or("threads", 0, value::whole(0..=1024)).value,
    };
    section.finish();
    server
}

/// Reads a time limit in milliseconds; none may be switched off, because everything is bounded here.
pub(crate) fn timeout(section: &mut Section<'_>, key: &'static str, default_ms: u64) -> Found<Duration> {
    let found = section.or(key, default_ms, value::whole(1..=TIMEOUT_MS_MAX));
    Found { value: Duration::from_millis(found.value), spot: found.spot }
}

/// Drops what is only needed for messages.
pub(crate) fn values<T>(items: Vec<Found<T>>) -> Vec<T> {
    items.into_iter().map(|item| item.value).collect()
}

fn check_reach(bind: &Found<SocketAddr>, no_hosts: bool, has_keys: bool, log: &Log<'_>) {
    let address = bind.value.ip();
    if address.to_canonical().is_loopback() {
        return;
    }
    if !has_keys {
        let problem = Problem::new(format!("opens {address} to other machines, but no key is asked for"))
            .hint("name a variable that holds a key in `server.api_key_envs`, or bind to 127.0.0.1");
        log.problem(MistakeKind::Conflict, &bind.spot, problem);
    }
    if address.is_unspecified() && no_hosts {
        let problem = Problem::new("listens on every address, but only loopback names are allowed as Host")
            .hint("list the names and addresses that callers use in `server.allowed_hosts`");
        log.warn(MistakeKind::Conflict, &bind.spot, problem);
    }
}
