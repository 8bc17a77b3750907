//! The one door to a backend: a request is scanned, labelled and cleared for a tier, or it goes nowhere.
//!
//! [`Cleared`] has no public constructor but [`PrivacyPolicy::clear`], and [`Scanned`] has none but
//! [`Scanned::decode`], which walks every string of the very bytes that it keeps. Backends take nothing but
//! `Cleared`, so bytes that were not scanned, or whose label is too high for the tier, have no way out.

use std::sync::Arc;

use bantam_types::{Label, Tier};
use bantam_wire::json::TextSink;
use bantam_wire::{Call, DecodeError, DecodeLimits, Endpoint, Envelope};
use bytes::Bytes;

use crate::{Findings, Scan, Scanner};

/// A decoded request together with what the scanner found in its bytes.
#[derive(Clone, Debug)]
pub struct Scanned {
    request: Arc<Call>,
    envelope: Arc<Envelope>,
    findings: Findings,
    label: Label,
    minimum: Label,
}

impl Scanned {
    /// Decodes `body`, which came to `endpoint`, and scans every key, string and number in it on the way.
    ///
    /// A request with parts that cannot be read (an image, a file, audio) is `restricted`: what is not
    /// wholly classified does not leave.
    ///
    /// # Errors
    /// When the body is not a valid request.
    pub fn decode(
        endpoint: &'static dyn Endpoint,
        body: Bytes,
        limits: &DecodeLimits,
        scanner: &Scanner,
    ) -> Result<Self, DecodeError> {
        Self::decode_enveloped(endpoint, body, Envelope::default(), limits, scanner)
    }

    /// The same for a request with headers that may be passed on: they are scanned like the body. Of a trace, the ids
    /// are nothing but random numbers; a state in which something is found is left out.
    ///
    /// # Errors
    /// When the body is not a valid request.
    pub fn decode_enveloped(
        endpoint: &'static dyn Endpoint,
        body: Bytes,
        mut envelope: Envelope,
        limits: &DecodeLimits,
        scanner: &Scanner,
    ) -> Result<Self, DecodeError> {
        let mut sink = ScanSink { scan: scanner.begin() };
        let request = Call::decode(endpoint, body, limits, &mut sink)?;
        for header in &envelope.headers {
            sink.scan.value_apart(&header.value);
        }
        let findings = sink.scan.finish();
        envelope.trace = envelope.trace.map(|trace| match trace.state() {
            Some(state) if !is_harmless(state, scanner) => trace.without_state(),
            _ => trace,
        });
        let unread = request.has_unread_parts() || !findings.is_complete();
        let label = if unread { Label::Restricted } else { findings.label() };
        let (request, envelope) = (Arc::new(request), Arc::new(envelope));
        Ok(Self { request, envelope, findings, label, minimum: Label::Public })
    }

    /// Raises the label to at least `minimum`, as a task may ask for; it never falls.
    #[must_use]
    pub fn at_least(mut self, minimum: Label) -> Self {
        self.minimum = self.minimum.max(minimum);
        self
    }

    /// Returns how sensitive the request is.
    pub fn label(&self) -> Label {
        self.label.max(self.minimum)
    }

    /// Returns what was found, by kind and count.
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Returns the request itself, for planning.
    pub const fn request(&self) -> &Arc<Call> {
        &self.request
    }

    /// Says in a few words why the label is what it is: kinds, never content.
    pub fn reason(&self) -> String {
        let mut words: Vec<String> =
            self.findings.kinds().map(|(kind, count)| format!("{kind} ({count})")).collect();
        if let Some(part) = self.request.unread_part() {
            words.push(format!("a part that cannot be read ({part})"));
        }
        if !self.findings.is_complete() {
            words.push("more text than can be scanned".to_owned());
        }
        if self.minimum > self.label {
            words.push(format!("the task's minimum label ({})", self.minimum));
        }
        if words.is_empty() { "nothing sensitive found".to_owned() } else { words.join(", ") }
    }
}

/// How sensitive a request each tier may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivacyPolicy {
    /// The highest label the mid tier may see.
    pub mid_max: Label,
    /// The highest label the frontier tier may see.
    pub frontier_max: Label,
}

impl PrivacyPolicy {
    /// Returns whether a request with `label` may reach `tier`. The local tier may see everything.
    pub fn allows(&self, label: Label, tier: Tier) -> bool {
        match tier {
            Tier::Local => true,
            Tier::Mid => label <= self.mid_max,
            Tier::Frontier => label <= self.frontier_max,
        }
    }

    /// Clears a scanned request for one tier, or returns `None` when its label forbids that.
    pub fn clear(&self, scanned: &Scanned, tier: Tier) -> Option<Cleared> {
        let (request, envelope) = (&scanned.request, &scanned.envelope);
        self.allows(scanned.label(), tier).then(|| Cleared {
            request: Arc::clone(request),
            envelope: Arc::clone(envelope),
            tier,
        })
    }
}

/// A request that may be handed to backends of one tier. Only [`PrivacyPolicy::clear`] makes one.
///
/// ```compile_fail
/// // There is no way to write one down:
/// fn forge(request: std::sync::Arc<bantam_wire::Call>) -> bantam_privacy::Cleared {
///     bantam_privacy::Cleared { request, tier: bantam_types::Tier::Frontier }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Cleared {
    request: Arc<Call>,
    envelope: Arc<Envelope>,
    tier: Tier,
}

impl Cleared {
    /// Returns the request.
    pub fn request(&self) -> &Call {
        &self.request
    }

    /// Returns the headers that may be passed on with it.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Returns the tier that the request is cleared for: no other may see it.
    pub const fn tier(&self) -> Tier {
        self.tier
    }
}

fn is_harmless(text: &str, scanner: &Scanner) -> bool {
    let mut scan = scanner.begin();
    scan.value_apart(text);
    let findings = scan.finish();
    findings.is_complete() && findings.label() == Label::Public
}

/// Feeds a walk over a JSON document to the scanner.
struct ScanSink<'s> {
    scan: Scan<'s>,
}

impl TextSink for ScanSink<'_> {
    fn key(&mut self, key: &str) {
        self.scan.key(key);
    }

    fn value(&mut self, key: &str, value: &str) {
        // Words of the protocol stand between contents; joined with them, a value that a caller split
        // over two messages would not be found.
        match key {
            "role" | "type" | "model" | "id" | "tool_call_id" | "detail" | "format" | "encoding_format" => {
                self.scan.value_apart(value);
            }
            _ => self.scan.value(value),
        }
    }
}
