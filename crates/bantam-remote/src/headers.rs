//! Headers beside those that the API itself has: fixed ones of the configuration, and those of callers that it passes on.

use bantam_wire::Envelope;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::upstream::{BuildUpstreamError, WireSettings};

/// Which of a caller's headers an upstream gets.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    names: Vec<HeaderName>,
    trace: bool,
}

impl Passing {
    pub(crate) fn new(settings: &WireSettings) -> Result<Self, BuildUpstreamError> {
        let names =
            settings.forward_headers.iter().map(|name| header_name(name)).collect::<Result<_, _>>()?;
        Ok(Self { names, trace: settings.trace_context })
    }

    /// Adds what an upstream gets of `envelope`.
    pub(crate) fn add(&self, envelope: &Envelope, headers: &mut HeaderMap) {
        let trace = envelope.trace.as_ref().filter(|_| self.trace);
        if let Some(parent) = trace.and_then(|trace| HeaderValue::from_str(trace.parent()).ok()) {
            headers.insert("traceparent", parent);
            let state = trace.and_then(|trace| trace.state());
            if let Some(state) = state.and_then(|state| HeaderValue::from_str(state).ok()) {
                headers.insert("tracestate", state);
            }
        }
        for name in &self.names {
            let own = envelope.headers.iter().filter(|header| header.name == name.as_str());
            let values = own.filter_map(|header| HeaderValue::from_str(&header.value).ok());
            for (position, value) in values.enumerate() {
                if position == 0 {
                    // The caller's counts, not a fixed one of the same name.
                    headers.insert(name.clone(), value);
                } else {
                    headers.append(name.clone(), value);
                }
            }
        }
    }
}

/// Returns the fixed headers of every request.
pub(crate) fn fixed(settings: &WireSettings) -> Result<HeaderMap, BuildUpstreamError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| BuildUpstreamError::Header(name.clone()))?;
        value.set_sensitive(true);
        headers.insert(header_name(name)?, value);
    }
    Ok(headers)
}

fn header_name(name: &str) -> Result<HeaderName, BuildUpstreamError> {
    name.parse().map_err(|_| BuildUpstreamError::Header(name.to_owned()))
}
