//! `bantam.toml`, environment and flags to one validated [`Config`], or every mistake at once.
//!
//! [`load`] merges three layers over the defaults (flag > environment > file), reads the result with a
//! small typed reader that records a mistake and goes on, and then checks what only makes sense over
//! several settings: names that lead nowhere, files and variables that are missing, combinations that
//! would leak or never answer. A person who starts with a broken file sees all of it in one go, each
//! mistake with its place, the offending line and a next step, before any port is open.
//!
//! **Invariants.** Nothing here reads the environment, the disk or a clock: what it needs comes through
//! [`Env`] and [`Files`]. No secret is ever part of a [`Config`], only names of environment variables;
//! a secret that stands in the file by mistake is refused and blotted out of the message. Every setting
//! keeps its [`Origin`]. There is no serde: the reader is the format.
//!
//! A good contribution adds a setting in the section's own file, in `example.toml` and in [`mod@reference`] (tests compare
//! all three) and, when it is a scalar an operator overrides per machine, in [`variables`].

mod amount;
mod config;
mod context;
mod date;
mod diagnostic;
mod document;
mod excerpt;
mod ladder;
mod ledger;
mod load;
mod local;
mod log;
mod loss;
mod model;
mod nearest;
mod origin;
mod price;
mod privacy;
mod proxy;
pub mod reference;
mod routing;
mod secret;
mod section;
mod server;
mod source;
mod store;
mod students;
mod task;
mod toml_text;
mod upstream;
mod url;
mod value;
pub mod variables;
mod wire;

pub use config::Config;
pub use diagnostic::{ConfigErrors, Diagnostic, Excerpt, Location, MistakeKind, Severity};
pub use ladder::Rung;
pub use ledger::{Acknowledge, Ledger};
pub use load::load;
pub use local::{KeepAlive, Local};
pub use loss::Loss;
pub use model::{MessagesTraits, Model, ModelSource, Thinking};
pub use origin::{Origin, Setting};
pub use privacy::{DictionaryTerm, Privacy};
pub use proxy::{EnvironmentProxy, EnvironmentProxyError, Proxy, ProxyAddress, proxy_of_environment};
pub use routing::Routing;
pub use server::Server;
pub use source::{Env, Files, Override, Purpose, Source};
pub use store::Store;
pub use students::Students;
pub use task::{StudentModel, Task};
pub use upstream::{Auth, Dialect, EngineKind, Upstream};
pub use wire::{Auto, HeaderText, HttpVersion, OutputLimit, Wire};

/// A complete configuration file with every key, commented; documentation is generated from it.
///
/// It loads as it is. What needs a key or a file is switched off by a `#` without a space after it.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Returns [`EXAMPLE`] with every setting switched on, line by line: it loads where all that it names is there.
pub fn complete_example() -> String {
    let switched_on = |line: &'static str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    };
    EXAMPLE.lines().flat_map(|line| [switched_on(line), "\n"]).collect()
}
