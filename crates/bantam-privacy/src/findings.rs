//! The result of a scan: kinds, counts and a label, but no content.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use bantam_types::Label;

/// The kind of a finding.
///
/// Some kinds come in pairs (`PaymentCard` and `CardLike`): the first was confirmed
/// by its validator, the second was not. Both count for routing; only the first
/// would be redacted on its own.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// An address `local@domain`, including spelled-out ones. Confidential; `user@host` without a dot is internal.
    Email,
    /// A telephone number. Confidential.
    Phone,
    /// 12 to 19 digits with a card network's prefix that pass Luhn. Restricted.
    PaymentCard,
    /// Digits shaped like a card number that fail Luhn, or at least 20 digits in a row. Confidential.
    CardLike,
    /// A bank account number with its country's length that passes mod 97. Restricted.
    Iban,
    /// Shaped like an IBAN, but has another length or fails mod 97. Confidential.
    IbanLike,
    /// A US social security or taxpayer number that follows the rules for issued numbers. Restricted.
    UsSsn,
    /// Grouped 3-2-4 like a social security number, but never issued. Confidential.
    SsnLike,
    /// An IPv4 or IPv6 address. Confidential; private, loopback and documentation ranges are internal.
    IpAddress,
    /// A network card's address, which identifies a device and so its owner. Confidential.
    MacAddress,
    /// A key, token, password or private key. Restricted.
    Secret,
    /// Assigned to a name such as `password`, but not varied enough to be certain. Confidential.
    SecretLike,
    /// A long run of encoded or random characters that does not decode to text. Confidential.
    Opaque,
    /// A term of the configured dictionary. Labelled as configured.
    Dictionary,
}

impl FindingKind {
    /// All kinds, in the order of [`Findings::kinds`].
    pub const ALL: [Self; 14] = [
        Self::Email,
        Self::Phone,
        Self::PaymentCard,
        Self::CardLike,
        Self::Iban,
        Self::IbanLike,
        Self::UsSsn,
        Self::SsnLike,
        Self::IpAddress,
        Self::MacAddress,
        Self::Secret,
        Self::SecretLike,
        Self::Opaque,
        Self::Dictionary,
    ];

    /// Returns the kind's name as used in logs, headers and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::PaymentCard => "payment_card",
            Self::CardLike => "card_like",
            Self::Iban => "iban",
            Self::IbanLike => "iban_like",
            Self::UsSsn => "us_ssn",
            Self::SsnLike => "ssn_like",
            Self::IpAddress => "ip_address",
            Self::MacAddress => "mac_address",
            Self::Secret => "secret",
            Self::SecretLike => "secret_like",
            Self::Opaque => "opaque",
            Self::Dictionary => "dictionary",
        }
    }
}

impl std::fmt::Display for FindingKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The result of a scan. It holds no content, so it may be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    counts: [u32; FindingKind::ALL.len()],
    label: Label,
    complete: bool,
}

impl Findings {
    /// Returns the label of the whole request: the most sensitive finding's, or restricted if incomplete.
    pub fn label(&self) -> Label {
        if self.complete { self.label } else { Label::Restricted }
    }

    /// Returns the kinds found, each with its number of distinct values.
    ///
    /// A value at the boundary of two strings may count twice: once alone, and
    /// once joined with the next string.
    pub fn kinds(&self) -> impl Iterator<Item = (FindingKind, u32)> + '_ {
        FindingKind::ALL.into_iter().map(|kind| (kind, self.count(kind))).filter(|&(_, count)| count > 0)
    }

    /// Returns the number of distinct values of `kind`.
    pub fn count(&self, kind: FindingKind) -> u32 {
        self.counts[kind as usize]
    }

    /// Returns false if something was nested too deeply or was too large to be examined fully.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Returns whether nothing was found. Says nothing about what was not examined: see [`Self::is_complete`].
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0)
    }
}

/// Shows label, counts and completeness, such as `restricted: email 2, secret 1`.
impl std::fmt::Display for Findings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.label())?;
        for (index, (kind, count)) in self.kinds().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma} {kind} {count}")?;
        }
        if self.is_empty() {
            f.write_str(" nothing found")?;
        }
        if self.complete { Ok(()) } else { f.write_str(" (incomplete)") }
    }
}

/// The most distinct values remembered; beyond it, every match counts as a new value.
const DISTINCT_MAX: usize = 1 << 14;

/// Counts findings while a scan runs, over all its views of the same text.
///
/// One value appears in several views, so values are distinguished by a keyed
/// hash of their canonical form. The key is discarded with the scan.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: [u32; FindingKind::ALL.len()],
    label: Label,
    complete: bool,
    seen: HashSet<u64>,
    keys: RandomState,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            counts: [0; FindingKind::ALL.len()],
            label: Label::Public,
            complete: true,
            seen: HashSet::new(),
            keys: RandomState::new(),
        }
    }

    /// Counts one match. `canonical` is the value in a form that is the same for all its spellings.
    pub(crate) fn add(&mut self, kind: FindingKind, label: Label, canonical: &[u8]) {
        self.label = self.label.max(label);
        let hash = self.keys.hash_one((kind, canonical));
        if self.seen.len() >= DISTINCT_MAX || self.seen.insert(hash) {
            let count = &mut self.counts[kind as usize];
            *count = count.saturating_add(1);
        }
    }

    /// Marks the scan as incomplete: something was not examined.
    pub(crate) fn set_incomplete(&mut self) {
        self.complete = false;
    }

    pub(crate) fn finish(self) -> Findings {
        Findings { counts: self.counts, label: self.label, complete: self.complete }
    }
}
