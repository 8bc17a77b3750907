//! Reads what of a caller's headers may be passed on.

use std::collections::BTreeSet;

use bantam_wire::{Envelope, HEADER_BYTES_MAX, PassedHeader, TraceContext};
use http::HeaderMap;

const TRACE_PARENT: &str = "traceparent";

/// Returns the trace that the request belongs to, and its headers of those names. A value that is too long, or is not
/// visible ASCII, is left out.
pub(crate) fn read(headers: &HeaderMap, forwarded: &BTreeSet<String>) -> Envelope {
    let values = |name: &str| -> Vec<&str> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.filter(|value| value.len() <= HEADER_BYTES_MAX).collect()
    };
    // Few requests have one, and a lookup takes longer than a look at each name.
    let has_trace = headers.keys().any(|name| name == TRACE_PARENT);
    let trace = match has_trace.then(|| values(TRACE_PARENT)).as_deref() {
        Some([parent]) => TraceContext::read(parent, &values("tracestate")),
        _ => None,
    };
    let passed = |name: &String| {
        let values = values(name).into_iter().map(str::to_owned);
        values.map(|value| PassedHeader { name: name.clone(), value }).collect::<Vec<_>>()
    };
    Envelope { trace, headers: forwarded.iter().flat_map(passed).collect() }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &[u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn only_listed_headers_are_read() {
        let sent = headers(&[
            ("x-tenant", b"blue"),
            ("authorization", b"Bearer k"),
            ("x-other", b"o"),
            ("x-tenant", b"green"),
        ]);
        let read = |names: &[&str]| {
            let envelope = read(&sent, &names.iter().map(ToString::to_string).collect());
            envelope
                .headers
                .iter()
                .map(|header| format!("{}={}", header.name, header.value))
                .collect::<Vec<_>>()
        };
        assert_eq!(read(&[]), [""; 0]);
        assert_eq!(read(&["x-tenant", "x-missing"]), ["x-tenant=blue", "x-tenant=green"]);
    }

    #[test]
    fn what_no_upstream_could_read_is_left_out() {
        let long = vec![b'x'; HEADER_BYTES_MAX + 1];
        for value in [&b"\xff\xfe"[..], &long] {
            let envelope = read(&headers(&[("x-a", value)]), &BTreeSet::from(["x-a".to_owned()]));
            assert_eq!(envelope, Envelope::default());
        }
    }

    #[test]
    fn a_trace_is_read_where_there_is_exactly_one() {
        let trace = |lines: &[(&'static str, &[u8])]| read(&headers(lines), &BTreeSet::new()).trace;
        let parent = ("traceparent", PARENT.as_bytes());
        let whole = trace(&[parent, ("tracestate", b"a=1"), ("tracestate", b"b=2")]).unwrap();
        assert_eq!((whole.parent(), whole.state()), (PARENT, Some("a=1,b=2")));
        assert_eq!(trace(&[parent, parent]), None);
        assert_eq!(trace(&[("traceparent", b"none")]), None);
        assert_eq!(trace(&[("tracestate", b"a=1")]), None);
    }
}
