//! What was read last, so that it is not allocated again: few names and prices are in nearly all records.

use std::sync::Arc;

use bantam_types::{Price, TaskName};

use super::DecodeError;
use super::numbers::Body;

/// The names and prices that were read last.
#[derive(Default)]
pub(crate) struct Known {
    names: Recent<Arc<str>>,
    tasks: Recent<TaskName>,
    /// Each with its bytes.
    prices: Recent<(Vec<u8>, Arc<Price>)>,
}

/// A few values. When there are more, the oldest makes room.
struct Recent<T> {
    values: Vec<T>,
    next: usize,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { values: Vec::new(), next: 0 }
    }
}

impl<T: Clone> Recent<T> {
    /// Looking at more would take longer than an allocation.
    const MAX: usize = 16;

    fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<&T> {
        self.values.iter().find(|value| is_it(value))
    }

    fn keep(&mut self, value: T) {
        match self.values.get_mut(self.next) {
            Some(place) => *place = value,
            None => self.values.push(value),
        }
        self.next = (self.next + 1) % Self::MAX;
    }
}

impl Known {
    pub(super) fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.find(|known| known.as_ref() == text) {
            return Arc::clone(known);
        }
        let name: Arc<str> = text.into();
        self.names.keep(Arc::clone(&name));
        name
    }

    pub(super) fn task(&mut self, text: &str) -> Result<TaskName, DecodeError> {
        if let Some(known) = self.tasks.find(|known| known.as_str() == text) {
            return Ok(known.clone());
        }
        let task: TaskName = text.parse().map_err(|_| DecodeError::Field("task"))?;
        self.tasks.keep(task.clone());
        Ok(task)
    }

    /// Reads a price of the present version. A price says itself where it ends, so what begins with the bytes of a known
    /// one is that one.
    pub(super) fn price(
        &mut self,
        body: &mut Body<'_>,
        read: impl FnOnce(&mut Body<'_>) -> Result<Price, DecodeError>,
    ) -> Result<Arc<Price>, DecodeError> {
        let before = body.rest();
        if let Some((bytes, known)) = self.prices.find(|(bytes, _)| before.starts_with(bytes)) {
            body.take(bytes.len(), "price")?;
            return Ok(Arc::clone(known));
        }
        let price = Arc::new(read(body)?);
        let bytes = before.get(..before.len() - body.len()).unwrap_or_default();
        self.prices.keep((bytes.to_vec(), Arc::clone(&price)));
        Ok(price)
    }
}
