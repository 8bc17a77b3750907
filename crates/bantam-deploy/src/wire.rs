//! How upstreams are spoken to, from the configuration and the environment.

use bantam_config::{
    Env, HeaderText, HttpVersion, OutputLimit, ProxyAddress, Upstream, proxy_of_environment,
};
use bantam_remote::{PhrasingSettings, Proxy, WireSettings};

use crate::error::UpstreamError;

pub(crate) fn settings(upstream: &Upstream, env: &dyn Env) -> Result<WireSettings, UpstreamError> {
    let wire = &upstream.wire;
    let header = |(name, text): &(String, HeaderText)| {
        let value = match text {
            HeaderText::Plain(text) => Some(text.clone()),
            HeaderText::Variable(variable) => env.get(variable),
        };
        Some((name.clone(), value?))
    };
    Ok(WireSettings {
        http: match wire.http {
            HttpVersion::Auto => bantam_remote::HttpVersion::Auto,
            HttpVersion::Http1 => bantam_remote::HttpVersion::Http1,
            HttpVersion::Http2 => bantam_remote::HttpVersion::Http2,
        },
        proxy: proxy(upstream, env)?,
        headers: wire.headers.iter().filter_map(header).collect(),
        forward_headers: wire.forward_headers.clone(),
        trace_context: wire.trace_context,
        phrasing: PhrasingSettings {
            stream_usage: wire.stream_usage.0,
            output_limit: match wire.output_limit {
                OutputLimit::Auto => None,
                OutputLimit::MaxTokens => Some(bantam_wire::OutputLimit::MaxTokens),
                OutputLimit::MaxCompletionTokens => Some(bantam_wire::OutputLimit::MaxCompletionTokens),
            },
            developer_role: wire.developer_role.0,
        },
        fields: wire.fields.iter().cloned().collect(),
    })
}

fn proxy(upstream: &Upstream, env: &dyn Env) -> Result<Option<Proxy>, UpstreamError> {
    let Some(proxy) = &upstream.wire.proxy else { return Ok(None) };
    let login = proxy.login_env.as_deref().and_then(|name| env.get(name));
    Ok(match &proxy.address {
        ProxyAddress::Url(url) => Some(Proxy { url: url.clone(), login }),
        ProxyAddress::Environment => {
            let found = proxy_of_environment(&upstream.base_url, env)?;
            found.map(|found| Proxy { url: found.url, login: found.login })
        }
    })
}
