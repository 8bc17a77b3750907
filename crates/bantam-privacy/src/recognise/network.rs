//! IPv4 addresses, and which IP addresses are private.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bantam_types::Label;

use super::number::Sequence;
use crate::findings::{FindingKind, Tally};

/// Looks for four groups of at most 255 with single dots between them.
///
/// This also finds version numbers with four parts, because nothing distinguishes
/// the two.
pub(super) fn ipv4(sequence: &Sequence<'_>, tally: &mut Tally) {
    let count = sequence.groups.len();
    let is_dot = |index: usize| sequence.gap(index) == b".";
    for start in 0..count.saturating_sub(3) {
        let inside = (start..start + 3).all(is_dot);
        let alone = (start == 0 || !is_dot(start - 1)) && (start + 4 == count || !is_dot(start + 3));
        if !inside || !alone {
            continue;
        }
        let mut octets = [0u8; 4];
        let fits =
            (0..4).all(|index| octet(sequence.group(start + index)).map(|o| octets[index] = o).is_some());
        if fits {
            note(IpAddr::V4(Ipv4Addr::from(octets)), tally);
        }
    }
}

fn octet(digits: &[u8]) -> Option<u8> {
    let value = digits
        .iter()
        .try_fold(0u32, |value, &digit| (digits.len() <= 3).then(|| value * 10 + u32::from(digit)));
    value.and_then(|value| u8::try_from(value).ok())
}

/// Counts an address: internal if it means nothing outside the organisation's network, else confidential.
pub(super) fn note(address: IpAddr, tally: &mut Tally) {
    let private = match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_private_v4(address),
            None => is_private_v6(address),
        },
    };
    let label = if private { Label::Internal } else { Label::Confidential };
    match address {
        IpAddr::V4(address) => tally.add(FindingKind::IpAddress, label, &address.octets()),
        IpAddr::V6(address) => tally.add(FindingKind::IpAddress, label, &address.octets()),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_broadcast()
        || first == 0
        || first >= 224
        || (first == 100 && (64..128).contains(&second))
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || (first == 0x2001 && second == 0xdb8)
}
