//! Questions of this machine's own user to a model of this process.

use bantam_privacy::{Cleared, PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_types::{Label, Tier};
use bantam_wire::{DecodeLimits, openai};
use serde_json::Value;

use crate::failure::{Failure, Outcome};

/// Returns a chat request as the privacy policy lets it pass to the local tier, which every label may see.
pub(super) fn cleared(body: &Value) -> Result<Cleared, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::from_error("cannot ask the model", error).outcome(Outcome::Usage)
    };
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() }).map_err(|error| failed(&error))?;
    let body = body.to_string().into();
    let scanned = Scanned::decode(openai::CHAT, body, &DecodeLimits::default(), &scanner)
        .map_err(|error| failed(&error))?;
    let policy = PrivacyPolicy { mid_max: Label::Public, frontier_max: Label::Public };
    policy
        .clear(&scanned, Tier::Local)
        .ok_or_else(|| Failure::new(Outcome::Failed, "the local tier did not take the question"))
}
