//! The environment variables that pulls read; the reference page is generated from [`HUB_VARIABLES`].

/// An environment variable that is read besides those of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: &'static str,
    /// What it does, one sentence.
    pub about: &'static str,
}

macro_rules! variables {
    ($($constant:ident = $name:literal, $about:literal;)*) => {
        $(#[doc = $about] pub(super) const $constant: &str = $name;)*
        /// All of them.
        pub const HUB_VARIABLES: &[EnvironmentVariable] = &[$(EnvironmentVariable { name: $name, about: $about }),*];
    };
}

variables! {
    HF_TOKEN = "HF_TOKEN", "The token for the hub.";
    HUGGING_FACE_HUB_TOKEN = "HUGGING_FACE_HUB_TOKEN", "The same, by its older name.";
    HF_ENDPOINT = "HF_ENDPOINT", "Another hub to pull from.";
    HF_HUB_OFFLINE = "HF_HUB_OFFLINE", "`1` forbids pulls.";
    HTTPS_PROXY = "HTTPS_PROXY", "A proxy for pulls, and for `https` upstreams whose `proxy` is `\"env\"`.";
    HTTPS_PROXY_LOWER = "https_proxy", "The same.";
    ALL_PROXY = "ALL_PROXY", "The same, where `HTTPS_PROXY` names none; also for `http` upstreams.";
    ALL_PROXY_LOWER = "all_proxy", "The same.";
    NO_PROXY = "NO_PROXY", "Hosts, separated by commas, that are reached without the proxy.";
    NO_PROXY_LOWER = "no_proxy", "The same.";
}
