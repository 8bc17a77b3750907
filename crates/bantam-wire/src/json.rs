//! A strict walk over a JSON document: it checks depth and duplicate keys, and sees every string once.
//!
//! The walk exists because two readers of one document may disagree: a parser that keeps the last of
//! two equal keys and one that keeps the first see different requests, and a scanner that reads the one
//! clears bytes of the other. So a document with duplicate keys is refused before anybody else reads it.

use std::hash::{BuildHasher, RandomState};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Receives every string and number of a document, in document order.
pub trait TextSink {
    /// Takes an object's key.
    fn key(&mut self, key: &str);
    /// Takes a string or a number written out; `key` is the nearest key above it, or empty at the top.
    fn value(&mut self, key: &str, value: &str);
}

/// A sink for callers who want only the checks.
impl TextSink for () {
    fn key(&mut self, _: &str) {}
    fn value(&mut self, _: &str, _: &str) {}
}

/// A document that is not JSON, or JSON that Bantam refuses to read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct WalkJsonError {
    message: String,
}

/// Checks the whole of `document` and hands each string in it to `sink`.
///
/// # Errors
/// When it is not JSON, holds two equal keys in one object, nests deeper than `depth_max`, or has
/// anything behind its end.
pub fn walk(document: &[u8], depth_max: usize, sink: &mut dyn TextSink) -> Result<(), WalkJsonError> {
    let refuse = |error: serde_json::Error| WalkJsonError { message: error.to_string() };
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let mut walker = Walker {
        sink,
        depth_left: depth_max,
        depth_max,
        hasher: RandomState::new(),
        seen: Vec::new(),
        has_fractions: false,
    };
    Step { walker: &mut walker, key: "" }.deserialize(&mut deserializer).map_err(refuse)?;
    deserializer.end().map_err(refuse)?;
    if walker.has_fractions {
        written_fractions(document).for_each(|part| walker.sink.value("", part));
    }
    Ok(())
}

/// Returns the parts before and behind the exponent of every number in a valid `document` that is not a plain
/// integer, as they are written: `4111111111111111e-400` reads as 0, and would leave with all its digits.
fn written_fractions(document: &[u8]) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let outside = document.split(move |byte| {
        if quoted {
            let was_escaped = std::mem::replace(&mut escaped, false);
            match byte {
                b'\\' => escaped = !was_escaped,
                b'"' => quoted = was_escaped,
                _ => {}
            }
            return true;
        }
        quoted = *byte == b'"';
        !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
    });
    outside
        .filter(|token| token.first().is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'-')))
        .filter(|token| token.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')))
        .flat_map(|token| token.split(|byte| matches!(byte, b'e' | b'E')))
        .filter_map(|part| std::str::from_utf8(part).ok())
}

struct Walker<'s> {
    sink: &'s mut dyn TextSink,
    depth_left: usize,
    depth_max: usize,
    hasher: RandomState,
    /// Hashes of the keys of all open objects; each object owns the tail that it pushed.
    seen: Vec<u64>,
    /// Whether any number was not a plain integer, and so may have been rounded.
    has_fractions: bool,
}

struct Step<'w, 's, 'k> {
    walker: &'w mut Walker<'s>,
    key: &'k str,
}

impl<'de> DeserializeSeed<'de> for Step<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Step<'_, '_, '_> {
    fn number(&mut self, value: impl std::fmt::Display) {
        self.walker.sink.value(self.key, &value.to_string());
    }

    fn descend<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.walker.depth_left.checked_sub(1) {
            Some(left) => self.walker.depth_left = left,
            None => {
                return Err(E::custom(format_args!("nested deeper than {} levels", self.walker.depth_max)));
            }
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Step<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.number(value);
        Ok(())
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.number(value);
        Ok(())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        self.walker.has_fractions = true;
        self.number(value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.walker.sink.value(self.key, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.descend()?;
        while items.next_element_seed(Step { walker: self.walker, key: self.key })?.is_some() {}
        self.walker.depth_left += 1;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        self.descend()?;
        let start = self.walker.seen.len();
        let mut many = std::collections::HashSet::new();
        while let Some(key) = entries.next_key_seed(KeySeed)? {
            let hash = self.walker.hasher.hash_one(key.as_ref());
            let own = self.walker.seen.get(start..).unwrap_or_default();
            // A long object moves from the short list to a set, so that checking stays linear.
            let repeated = if own.len() < 32 { own.contains(&hash) } else { false } || many.contains(&hash);
            if repeated {
                return Err(A::Error::custom(format_args!("duplicate key `{}`", shorten(&key))));
            }
            if own.len() < 32 {
                self.walker.seen.push(hash);
            } else {
                if many.is_empty() {
                    many.extend(own.iter().copied());
                    if many.contains(&hash) {
                        return Err(A::Error::custom(format_args!("duplicate key `{}`", shorten(&key))));
                    }
                }
                many.insert(hash);
            }
            self.walker.sink.key(&key);
            entries.next_value_seed(Step { walker: self.walker, key: &key })?;
        }
        self.walker.seen.truncate(start);
        self.walker.depth_left += 1;
        Ok(())
    }
}

/// Reads a key without copying it when it holds no escapes.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = std::borrow::Cow<'de, str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(key.into())
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(key.to_owned().into())
    }
}

fn shorten(key: &str) -> String {
    key.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<String>);

    impl TextSink for Seen {
        fn key(&mut self, key: &str) {
            self.0.push(format!("{key}:"));
        }
        fn value(&mut self, key: &str, value: &str) {
            self.0.push(format!("{key}={value}"));
        }
    }

    fn check(document: &str, expected: &str) {
        let mut seen = Seen::default();
        let got = match walk(document.as_bytes(), 4, &mut seen) {
            Ok(()) => seen.0.join(" "),
            Err(error) => error.to_string(),
        };
        assert!(got.starts_with(expected), "{document}: {got}");
    }

    #[test]
    fn every_string_key_and_number_is_seen_with_its_key() {
        check(r#"{"a":["x",{"b":-1.5}],"c\u0040":"y\n"}"#, "a: a=x b: b=-1.5 c@: c@=y\n");
    }

    #[test]
    fn a_number_is_also_seen_as_it_is_written() {
        check(r#"{"a":12345678e-400}"#, "a: a=0 =12345678 =-400");
        check(r#"["\\",0.10,"\"7.5",-1E5,3]"#, r#"=\ =0.1 ="7.5 =-100000 =3 =0.10 =-1 =5"#);
    }

    #[test]
    fn refuses_two_equal_keys_also_when_one_is_escaped() {
        check(r#"{"a":1,"\u0061":2}"#, "duplicate key `a`");
        check(r#"{"a":{"b":1},"c":{"b":1}}"#, "a: b:");
    }

    #[test]
    fn refuses_two_equal_keys_in_a_long_object() {
        for repeated in [0, 31, 32, 33, 77] {
            let keys: Vec<String> = (0..100).map(|key| format!("\"k{key}\":0")).collect();
            check(&format!("{{{}}}", keys.join(",")), "k0:");
            check(&format!("{{{},\"k{repeated}\":0}}", keys.join(",")), "duplicate key");
        }
    }

    #[test]
    fn refuses_deeper_nesting_than_allowed() {
        check("[[[[1]]]]", "=1");
        check("[[[[[1]]]]]", "nested deeper than 4 levels");
        check(&"[".repeat(100_000), "nested deeper");
    }

    #[test]
    fn refuses_what_is_not_json() {
        check("", "EOF");
        check("{} {}", "trailing characters");
        check("{\"a\":\"\\ud800\"}", "unexpected end of hex escape");
        check("nul", "EOF");
        check("nulo", "expected ident");
    }
}
