//! How the hub is reached: what its own tools read from the environment.

mod variables;

pub use variables::{EnvironmentVariable, HUB_VARIABLES};

use bantam_config::Env;
use bantam_store::HubSettings;

use variables as names;

/// Returns the settings that the hub's own tools would use; `token_file` is what they left in their file. `None` where
/// the variable `HF_HUB_OFFLINE` forbids the network.
pub fn hub_settings(env: &dyn Env, token_file: Option<String>) -> Option<HubSettings> {
    let get = |name: &str| env.get(name).filter(|value| !value.trim().is_empty());
    let first = |names: &[&str]| names.iter().find_map(|name| get(name));
    let is_true =
        |text: &String| matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
    if get(names::HF_HUB_OFFLINE).filter(is_true).is_some() {
        return None;
    }
    let token = first(&[names::HF_TOKEN, names::HUGGING_FACE_HUB_TOKEN]).or(token_file);
    let public = HubSettings::public();
    Some(HubSettings {
        endpoint: get(names::HF_ENDPOINT).unwrap_or(public.endpoint.clone()),
        token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
        proxy: first(&[
            names::HTTPS_PROXY,
            names::HTTPS_PROXY_LOWER,
            names::ALL_PROXY,
            names::ALL_PROXY_LOWER,
        ]),
        no_proxy: first(&[names::NO_PROXY, names::NO_PROXY_LOWER])
            .map(|list| list.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        ..public
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn settings(variables: &[(&str, &str)], file: Option<&str>) -> Option<HubSettings> {
        let env: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        hub_settings(&env, file.map(str::to_owned))
    }

    #[test]
    fn variables_come_before_the_token_s_file_and_blank_ones_are_none() {
        let found = settings(&[("HF_TOKEN", " "), ("NO_PROXY", "a,b")], Some("hf_x\n")).unwrap();
        assert_eq!((found.token.as_deref(), found.no_proxy.len()), (Some("hf_x"), 2));
        let found = settings(&[("HF_TOKEN", "hf_y"), ("HF_ENDPOINT", "http://h")], Some("hf_x")).unwrap();
        assert_eq!((found.token.as_deref(), &*found.endpoint), (Some("hf_y"), "http://h"));
    }

    #[test]
    fn the_hub_s_own_switch_forbids_the_network() {
        assert!(settings(&[("HF_HUB_OFFLINE", "TRUE")], None).is_none());
        assert!(settings(&[("HF_HUB_OFFLINE", "0")], None).is_some());
    }
}
