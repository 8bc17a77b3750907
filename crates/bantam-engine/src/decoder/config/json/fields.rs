//! Typed access to the fields of a JSON object. `null` counts as absent.

use serde_json::{Map, Value};

use super::DecoderConfigError;

/// An object of a configuration.
#[derive(Clone, Copy)]
pub(super) struct Fields<'j> {
    pub(super) map: &'j Map<String, Value>,
    /// The prefix of its keys in error messages.
    pub(super) path: &'static str,
}

impl<'j> Fields<'j> {
    fn get(&self, key: &str) -> Option<&'j Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&'j Value) -> Option<T>,
    ) -> Result<Option<T>, DecoderConfigError> {
        let wrong = || DecoderConfigError::wrong_type(&format!("{}{key}", self.path), expected);
        self.get(key).map(|value| read(value).ok_or_else(wrong)).transpose()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn missing(&self, key: &str) -> DecoderConfigError {
        DecoderConfigError::missing(&format!("{}{key}", self.path))
    }

    pub(super) fn size(&self, key: &str) -> Result<usize, DecoderConfigError> {
        self.optional_size(key)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn optional_size(&self, key: &str) -> Result<Option<usize>, DecoderConfigError> {
        self.typed(key, "a whole number", |value| usize::try_from(value.as_u64()?).ok())
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, DecoderConfigError> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(super) fn flag(&self, key: &str, otherwise: bool) -> Result<bool, DecoderConfigError> {
        Ok(self.typed(key, "true or false", Value::as_bool)?.unwrap_or(otherwise))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'j str>, DecoderConfigError> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&'j str>>, DecoderConfigError> {
        self.typed(key, "a list of strings", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    pub(super) fn numbers(&self, key: &str) -> Result<Option<Vec<f32>>, DecoderConfigError> {
        self.typed(key, "a list of numbers", |value| {
            value.as_array()?.iter().map(|number| number.as_f64().map(|number| number as f32)).collect()
        })
    }

    pub(super) fn object(&self, key: &'static str) -> Result<Option<Fields<'j>>, DecoderConfigError> {
        let map = self.typed(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Self { map, path: self.path }))
    }
}
