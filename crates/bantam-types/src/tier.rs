//! The three tiers that may answer a request.

use serde::{Deserialize, Serialize};

/// How much a backend costs and where a request's bytes go, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// On the owner's machines: free and private.
    Local,
    /// A cheaper model behind an API.
    Mid,
    /// The strongest model behind an API.
    Frontier,
}

impl Tier {
    /// All tiers, cheapest first.
    pub const ALL: [Self; 3] = [Self::Local, Self::Mid, Self::Frontier];

    /// Returns the tier's name as used in configuration, headers and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Mid => "mid",
            Self::Frontier => "frontier",
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a tier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a tier (local, mid, frontier)")]
pub struct ParseTierError(pub String);

impl std::str::FromStr for Tier {
    type Err = ParseTierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.as_str() == text)
            .ok_or_else(|| ParseTierError(text.to_owned()))
    }
}
