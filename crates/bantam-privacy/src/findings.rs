//! What a scan found: kinds, counts and a label, and nothing of the content.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use bantam_types::Label;

/// What sort of thing was found.
///
/// Kinds in pairs (`PaymentCard` and `CardLike`) tell a candidate that its
/// validator confirmed from one that it did not: both count for routing, only
/// the first would be redacted by itself.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An address `local@domain`, also spelled out. Confidential; `user@host` without a dot is internal.
    Email,
    /// A telephone number. Confidential.
    Phone,
    /// 12 to 19 digits with a card network's prefix that pass Luhn. Restricted.
    PaymentCard,
    /// Digits shaped like a card number that fail Luhn, or 20 and more digits in a row. Confidential.
    CardLike,
    /// A bank account with its country's length that passes mod 97. Restricted.
    Iban,
    /// Shaped like an IBAN, but of another length or failing mod 97. Confidential.
    IbanLike,
    /// A US social security or taxpayer number that follows its rules. Restricted.
    UsSsn,
    /// Grouped 3-2-4 as a social security number, but never issued. Confidential.
    SsnLike,
    /// An IPv4 or IPv6 address. Confidential; private, loopback and documentation ranges are internal.
    IpAddress,
    /// A network card's address, which follows a device and so its owner. Confidential.
    MacAddress,
    /// A key, token, password or private key. Restricted.
    Secret,
    /// Assigned to a name such as `password`, but of too little variety to be sure. Confidential.
    SecretLike,
    /// A long run of encoded or random characters that decodes to no text. Confidential.
    Opaque,
    /// A term of the configured dictionary. As configured.
    Dictionary,
}

impl Kind {
    /// All kinds, in the order in which [`Findings::kinds`] gives them.
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

    /// Returns the kind's name as it stands in logs, headers and the ledger.
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

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The result of a scan. Holds no content, so it may be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    counts: [u32; Kind::ALL.len()],
    label: Label,
    complete: bool,
}

impl Findings {
    /// Returns the label of the whole request: the most sensitive finding's, or restricted when incomplete.
    pub fn label(&self) -> Label {
        if self.complete { self.label } else { Label::Restricted }
    }

    /// Returns the kinds found, each with how many distinct values there were.
    ///
    /// A value on the border of two strings may count twice: once alone, and
    /// once with what follows it.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, u32)> + '_ {
        Kind::ALL.into_iter().map(|kind| (kind, self.count(kind))).filter(|&(_, count)| count > 0)
    }

    /// Returns how many distinct values of `kind` were found.
    pub fn count(&self, kind: Kind) -> u32 {
        self.counts[kind as usize]
    }

    /// Returns false when something was nested too deeply, or was too much, to be looked at wholly.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Returns whether nothing was found. Says nothing about what was not looked at: see [`Self::is_complete`].
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

/// How many distinct values are told apart; beyond it each find counts as a new one.
const DISTINCT_MAX: usize = 1 << 14;

/// Adds up findings while a scan runs, over all its views of the same text.
///
/// One value shows up in several views, so values are told apart by a keyed
/// hash of their canonical form. The key dies with the scan.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: [u32; Kind::ALL.len()],
    label: Label,
    complete: bool,
    seen: HashSet<u64>,
    keys: RandomState,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            counts: [0; Kind::ALL.len()],
            label: Label::Public,
            complete: true,
            seen: HashSet::new(),
            keys: RandomState::new(),
        }
    }

    /// Notes one find. `canonical` is the value without what varies between its spellings.
    pub(crate) fn add(&mut self, kind: Kind, label: Label, canonical: &[u8]) {
        self.label = self.label.max(label);
        let hash = self.keys.hash_one((kind, canonical));
        if self.seen.len() >= DISTINCT_MAX || self.seen.insert(hash) {
            let count = &mut self.counts[kind as usize];
            *count = count.saturating_add(1);
        }
    }

    /// Notes that something was not looked at, for good.
    pub(crate) fn incomplete(&mut self) {
        self.complete = false;
    }

    pub(crate) fn finish(self) -> Findings {
        Findings { counts: self.counts, label: self.label, complete: self.complete }
    }
}
