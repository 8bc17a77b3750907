//! The environment variables that the binary reads beside those of settings and of the hub; the reference page is
//! generated from [`VARIABLES`].

use bantam_admin::EnvironmentVariable as Variable;

macro_rules! variables {
    ($($constant:ident = $name:literal, $about:literal;)*) => {
        $(#[doc = $about] pub(crate) const $constant: Variable = Variable { name: $name, about: $about };)*
        /// The variables that the binary reads beside those of settings and of the hub, in the order of their page.
        pub const VARIABLES: &[Variable] = &[$($constant),*];
    };
}

variables! {
    BANTAM_CONFIG = "BANTAM_CONFIG", "The configuration file, where `--config` does not say.";
    RUST_LOG = "RUST_LOG", "What the log of `bantam serve` shows, such as `info`; warnings and errors by default.";
    HOME = "HOME", "The home folder, below which the next four lie by default.";
    XDG_CONFIG_HOME = "XDG_CONFIG_HOME", "The folder of `bantam/bantam.toml`; by default `~/.config`.";
    XDG_STATE_HOME = "XDG_STATE_HOME", "The folder of `bantam/ledger.sqlite`; by default `~/.local/state`.";
    XDG_DATA_HOME = "XDG_DATA_HOME", "The folder of `bantam/models`; by default `~/.local/share`.";
    XDG_CACHE_HOME = "XDG_CACHE_HOME", "The folder of `huggingface`, where the hub's own tools keep a token; by default `~/.cache`.";
    HF_TOKEN_PATH = "HF_TOKEN_PATH", "The file that holds the token; by default `token` in `HF_HOME`.";
    HF_HOME = "HF_HOME", "The folder of the hub's own tools; by default `huggingface` in `XDG_CACHE_HOME`.";
}
