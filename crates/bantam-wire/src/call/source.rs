//! The caller's own body, kept for forwarding.

use std::borrow::Cow;
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
    pub name: Cow<'static, str>,
    /// Where its value lies in the body.
    pub range: Range<usize>,
    /// Whether it is no part of the dialect, and some upstream lists it.
    pub is_vendor: bool,
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
    pub fn members(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.members.iter().filter_map(|member| self.of(member))
    }

    /// Returns the members that are no part of the dialect, in the caller's order.
    pub fn vendor_members(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.members.iter().filter(|member| member.is_vendor).filter_map(|member| self.of(member))
    }

    fn of<'s>(&'s self, member: &'s Member) -> Option<(&'s str, &'s [u8])> {
        Some((&*member.name, self.raw.get(member.range.clone())?))
    }

    /// Returns the JSON of the member called `name`; nothing if it is missing or `null`.
    pub fn member(&self, name: &str) -> Option<&str> {
        let (_, json) = self.members().find(|(known, _)| *known == name)?;
        std::str::from_utf8(json).ok().filter(|json| *json != "null")
    }
}
