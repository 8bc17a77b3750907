//! The caller's own body, kept for forwarding.

use std::ops::Range;

use bytes::Bytes;

/// The bytes of a request as they came, walked once, and where their members are.
///
/// What was scanned is what can leave: a body for an upstream of the caller's own dialect is made of these bytes.
#[derive(Clone, Debug)]
pub struct Source {
    raw: Bytes,
    members: Vec<Member>,
}

/// A member of the body's object.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its key, as the dialect knows it.
    pub name: &'static str,
    /// Where its value lies in the body.
    pub range: Range<usize>,
}

impl Source {
    pub(super) const fn new(raw: Bytes, members: Vec<Member>) -> Self {
        Self { raw, members }
    }

    /// Returns the whole body.
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Returns the members in the caller's order, each with its value's JSON as the caller wrote it.
    pub fn members(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.members.iter().filter_map(|member| Some((member.name, self.raw.get(member.range.clone())?)))
    }

    /// Returns the JSON of the member called `name`; nothing if it is missing or `null`.
    pub fn member(&self, name: &str) -> Option<&str> {
        let (_, json) = self.members().find(|(known, _)| *known == name)?;
        std::str::from_utf8(json).ok().filter(|json| *json != "null")
    }
}
