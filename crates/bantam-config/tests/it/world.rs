//! A configuration's surroundings made of maps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bantam_config::{Config, ConfigErrors, Override, Purpose, Source, load};

/// What a test sets; the rest is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    env: BTreeMap<String, String>,
    files: BTreeSet<PathBuf>,
    overrides: Vec<Override>,
}

impl World {
    /// Returns surroundings in which everything that the example names is there.
    pub(crate) fn of_example() -> Self {
        Self::default()
            .env("OPENAI_API_KEY", "sk-test")
            .env("PROXY_LOGIN", "user:password")
            .env("PORTAL_KEY", "portal-key")
            .file("corporate-root.pem")
            .file("models/desk-0.6b-q8_0.gguf")
            .file("models/support-tone")
            .file("ticket.schema.json")
            .file("booking.tagger")
            .file("booking.schema.json")
            .file("booking.certificate.json")
            .file("ticket.lark")
            .file("ticket.certificate.json")
            .file("ticket-number.certificate.json")
            .file("ticket-query.certificate.json")
            .file("intent.student")
            .file("intent.certificate.json")
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn file(mut self, name: &str) -> Self {
        self.files.insert(Path::new("/etc/bantam").join(name));
        self
    }

    pub(crate) fn flag(mut self, key: &str, value: &str) -> Self {
        self.overrides.push(Override { key: key.to_owned(), value: value.to_owned() });
        self
    }

    pub(crate) fn load(&self, text: &str) -> Result<Config, ConfigErrors> {
        self.load_to(Purpose::Serve, text)
    }

    pub(crate) fn load_to(&self, purpose: Purpose, text: &str) -> Result<Config, ConfigErrors> {
        let names: Vec<String> =
            self.env.keys().filter(|name| name.starts_with("BANTAM_")).cloned().collect();
        let source = Source {
            name: "bantam.toml",
            text,
            folder: Path::new("/etc/bantam"),
            state_folder: Path::new("/var/lib/bantam"),
            data_folder: Path::new("/usr/share/bantam"),
            overrides: &self.overrides,
            variable_names: &names,
            purpose,
        };
        load(&source, &self.env, &self.files)
    }

    /// Returns the configuration, which has to be right.
    #[track_caller]
    pub(crate) fn good(&self, text: &str) -> Config {
        self.load(text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Returns the mistakes as a terminal shows them.
    #[track_caller]
    pub(crate) fn bad(&self, text: &str) -> String {
        match self.load(text) {
            Ok(config) => panic!("accepted: {config:#?}"),
            Err(errors) => errors.to_string(),
        }
    }

    /// Returns warnings as `key: message` would show them, of a configuration that is right.
    #[track_caller]
    pub(crate) fn warnings(&self, text: &str) -> String {
        let warnings = self.good(text).warnings;
        warnings.iter().map(|warning| format!("{warning}\n")).collect()
    }
}
