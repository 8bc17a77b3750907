//! Sensitivity labels: how far a request's bytes may travel.

use serde::{Deserialize, Serialize};

/// How sensitive a request is, least first. Policy maps a label to the tiers it may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Contains nothing that anybody would mind seeing published.
    #[default]
    Public,
    /// About the organisation rather than a person: host names, private addresses.
    Internal,
    /// About a person, or proprietary.
    Confidential,
    /// Payment, identity or health data, or secrets.
    Restricted,
}

impl Label {
    /// All labels, least sensitive first.
    pub const ALL: [Self; 4] = [Self::Public, Self::Internal, Self::Confidential, Self::Restricted];

    /// Returns the label's name as used in configuration, headers and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
        }
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a label (public, internal, confidential, restricted)")]
pub struct ParseLabelError(pub String);

impl std::str::FromStr for Label {
    type Err = ParseLabelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|label| label.as_str() == text)
            .ok_or_else(|| ParseLabelError(text.to_owned()))
    }
}
