//! What of a caller's HTTP headers may be passed on, read and bounded.

/// The most bytes of a header that is passed on.
pub const HEADER_BYTES_MAX: usize = 8 << 10;
/// The most bytes of `tracestate` that every party has to pass on.
const STATE_BYTES_MAX: usize = 512;
/// The most members of `tracestate`.
const STATE_MEMBERS_MAX: usize = 32;

/// What of a caller's HTTP headers may be passed on to upstreams that are configured for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The trace that the request belongs to.
    pub trace: Option<TraceContext>,
    /// Headers that some upstream gets, by their names in lower case.
    pub headers: Vec<PassedHeader>,
}

/// A header of the caller's.
#[derive(Clone, PartialEq, Eq)]
pub struct PassedHeader {
    /// Its name, in lower case.
    pub name: String,
    /// Its value: visible ASCII and blanks.
    pub value: String,
}

/// Shows the name alone: a value is the caller's text.
impl std::fmt::Debug for PassedHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PassedHeader").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A W3C trace context: <https://www.w3.org/TR/trace-context/>. Bantam reports no spans of its own, so it is passed on as
/// it came: another parent would be one that nobody has heard of.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceContext {
    parent: String,
    state: Option<String>,
}

/// Shows the ids alone.
impl std::fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceContext").field("parent", &self.parent).finish_non_exhaustive()
    }
}

impl TraceContext {
    /// Reads `traceparent` and the values of `tracestate`; nothing where the parent is not valid. A state that is not
    /// valid is left out alone, as the specification has it.
    pub fn read(parent: &str, states: &[&str]) -> Option<Self> {
        is_parent(parent).then(|| Self { parent: parent.to_owned(), state: state(states) })
    }

    /// Returns the value of `traceparent`: a version, two ids and flags, in hexadecimal digits.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// Returns the value of `tracestate`.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Returns the same trace without its state.
    #[must_use]
    pub fn without_state(self) -> Self {
        Self { state: None, ..self }
    }
}

fn is_parent(text: &str) -> bool {
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, length: usize| is_hex(part, length) && part.bytes().any(|byte| byte != b'0');
    let mut parts = text.split('-');
    let mut part = || parts.next().unwrap_or_default();
    let (version, trace, span, flags) = (part(), part(), part(), part());
    // Later versions may have more behind it, which means nothing here, and could be anything: it is not passed on.
    is_hex(version, 2)
        && version != "ff"
        && is_id(trace, 32)
        && is_id(span, 16)
        && is_hex(flags, 2)
        && parts.next().is_none()
}

fn state(values: &[&str]) -> Option<String> {
    let whole = values.iter().map(|value| value.trim()).filter(|value| !value.is_empty());
    let whole = whole.collect::<Vec<_>>().join(",");
    let members = || whole.split(',').map(str::trim).filter(|member| !member.is_empty());
    let is_member = |member: &str| {
        let Some((key, value)) = member.split_once('=') else { return false };
        let in_key = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
        let in_value = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
        !key.is_empty() && key.len() <= 256 && key.bytes().all(in_key) && value.bytes().all(in_value)
    };
    let is_valid = !whole.is_empty()
        && whole.len() <= STATE_BYTES_MAX
        && members().count() <= STATE_MEMBERS_MAX
        && members().all(is_member);
    is_valid.then_some(whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_of_a_trace_holds_nothing_but_ids_and_visible_characters(
            parent in "[0-9a-f]{2}-[0-9a-fg]{31,33}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?|\\PC{0,60}",
            state in "\\PC{0,40}|[a-z]{1,4}=[ -~]{0,600}",
        ) {
            if let Some(trace) = TraceContext::read(&parent, &[&state, &state]) {
                prop_assert_eq!(trace.parent().len(), 55);
                prop_assert!(trace.parent().bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
                let state = trace.state().unwrap_or_default();
                prop_assert!(state.len() <= STATE_BYTES_MAX);
                prop_assert!(state.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
    }

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_a_valid_trace_context_is_read() {
        for (parent, expected) in [
            (PARENT, true),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true),
            ("", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ", false),
            ("00-my card is 4111 1111 1111 1111-b7ad6b7169203331-01", false),
        ] {
            assert_eq!(TraceContext::read(parent, &[]).is_some(), expected, "{parent}");
        }
    }

    #[test]
    fn a_state_that_is_not_valid_is_left_out_alone() {
        let state = |values: &[&str]| TraceContext::read(PARENT, values).unwrap().state;
        assert_eq!(state(&["a=1", " b@v=2,, c/d=x "]).as_deref(), Some("a=1,b@v=2,, c/d=x"));
        let long = "a".repeat(600);
        for bad in ["", "a", "A=1", "a=1=2", "a=\u{e9}", "=1", &format!("a={long}")] {
            assert_eq!(state(&[bad]), None, "{bad}");
        }
        let many: Vec<String> = (0..33).map(|number| format!("k{number}=v")).collect();
        assert_eq!(state(&[&many.join(",")]), None);
    }
}
