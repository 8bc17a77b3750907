//! Pictures and documents as Anthropic's blocks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::call::{Call, File, Image, Message, Part, SharedText};

/// Returns whether the API takes every picture of `call`.
pub(super) fn takes_images(call: &Call) -> bool {
    parts(call).all(|part| match part {
        Part::Image(shown) => image(shown).is_some(),
        _ => true,
    })
}

/// Returns whether the API takes every document of `call`.
pub(super) fn takes_files(call: &Call) -> bool {
    parts(call).all(|part| match part {
        Part::File(file) => document(file).is_some(),
        _ => true,
    })
}

/// Returns whether `call` lets pictures be looked at as the API always does.
pub(super) fn takes_details(call: &Call) -> bool {
    parts(call).all(|part| match part {
        Part::Image(image) => image.detail.as_deref().is_none_or(|detail| detail != "low"),
        _ => true,
    })
}

fn parts(call: &Call) -> impl Iterator<Item = &Part> {
    call.messages().iter().flat_map(Message::parts)
}

/// Returns a picture as a block, where the API takes it.
pub(super) fn image(image: &Image) -> Option<Value> {
    let url = image.url.as_str();
    let scheme = url.split(':').next().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") {
        return Some(json!({"type": "image", "source": {"type": "url", "url": url}}));
    }
    let (media_type, data) = inline(url)?;
    let media_type = match &*media_type {
        "image/jpg" => "image/jpeg",
        known @ ("image/jpeg" | "image/png" | "image/gif" | "image/webp") => known,
        _ => return None,
    };
    Some(json!({"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}))
}

/// Returns a document as a block, where the API takes it.
pub(super) fn document(file: &File) -> Option<Value> {
    if file.id.is_some() {
        return None;
    }
    let data = file.data.as_ref().map(SharedText::as_str)?;
    let name = file.name.as_deref().filter(|name| !name.trim().is_empty());
    let (media_type, data) = match inline(data) {
        Some((media_type, data)) => (media_type, data),
        None if name.is_some_and(|name| name.to_ascii_lowercase().ends_with(".pdf")) && is_base64(data) => {
            ("application/pdf".to_owned(), data)
        }
        None => return None,
    };
    let source = match &*media_type {
        "application/pdf" => json!({"type": "base64", "media_type": media_type, "data": data}),
        "text/plain" => {
            let text = String::from_utf8(STANDARD.decode(data).ok()?).ok()?;
            json!({"type": "text", "media_type": media_type, "data": text})
        }
        _ => return None,
    };
    let mut block = json!({"type": "document", "source": source});
    if let Some(name) = name {
        block["title"] = name.into();
    }
    Some(block)
}

/// Returns what a `data:` URL in base64 holds, and of which kind it is.
fn inline(url: &str) -> Option<(String, &str)> {
    let (head, data) = url.split_once(',')?;
    let (scheme, kind) = head.split_once(':')?;
    let (media_type, parameters) = kind.split_once(';')?;
    let is_inline = scheme.eq_ignore_ascii_case("data")
        && parameters.split(';').next_back().is_some_and(|last| last.eq_ignore_ascii_case("base64"));
    (is_inline && is_base64(data)).then(|| (media_type.to_ascii_lowercase(), data))
}

fn is_base64(data: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    !data.is_empty() && data.bytes().all(is_allowed)
}
