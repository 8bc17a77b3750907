//! Books in this process: for tests, and for whoever wants no file.

use std::collections::{BTreeMap, HashSet};

use bantam_types::{Settlement, TaskName, Template};
use parking_lot::Mutex;

use crate::{
    Books, BooksReader, BoxFuture, Cursor, ExampleRecord, GroupBy, Place, ReadError, RequestFilter,
    RequestPage, SettleError, Tally, TemplateRecord, Ticket, TimeRange, UsageRow,
};

/// Books that end with the process, and grow for as long as it runs.
#[derive(Debug, Default)]
pub struct MemoryBooks {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    settlements: Vec<Settlement>,
    ids: HashSet<u128>,
    examples: Vec<ExampleRecord>,
    templates: BTreeMap<Template, TemplateRecord>,
}

impl MemoryBooks {
    /// Returns books without a request.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Books for MemoryBooks {
    fn settle(
        &self,
        settlement: &Settlement,
        example: Option<&ExampleRecord>,
    ) -> Result<Ticket, SettleError> {
        let mut kept = self.kept.lock();
        if kept.ids.insert(settlement.request_id) {
            kept.settlements.push(settlement.clone());
            kept.examples.extend(example.cloned());
        }
        Ok(Ticket::ready())
    }

    fn record_template(&self, record: &TemplateRecord) -> Result<Ticket, SettleError> {
        self.kept.lock().templates.entry(record.template).or_insert_with(|| record.clone());
        Ok(Ticket::ready())
    }

    fn is_writable(&self) -> bool {
        true
    }
}

impl BooksReader for MemoryBooks {
    fn usage(&self, range: TimeRange, by: GroupBy) -> BoxFuture<'_, Result<Vec<UsageRow>, ReadError>> {
        let mut tally = Tally::new(range, by);
        self.kept.lock().settlements.iter().for_each(|request| tally.add(request));
        Box::pin(std::future::ready(Ok(tally.into_rows())))
    }

    fn requests(
        &self,
        filter: RequestFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<RequestPage, ReadError>> {
        let kept = self.kept.lock();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let numbered = (0_u64..).zip(&kept.settlements);
        let before: Vec<_> =
            numbered.filter(|(number, _)| after.is_none_or(|after| *number < after.0)).collect();
        let passing = before.into_iter().rev().filter(|(_, request)| filter.passes(request));
        let mut found: Vec<_> = passing.take(limit.saturating_add(1)).collect();
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(|(number, _)| Cursor(*number));
        let requests = found.into_iter().map(|(_, request)| request.clone()).collect();
        Box::pin(std::future::ready(Ok(RequestPage { requests, next })))
    }

    fn template_records(&self) -> BoxFuture<'_, Result<Vec<TemplateRecord>, ReadError>> {
        let mut records: Vec<_> = self.kept.lock().templates.values().cloned().collect();
        records.sort_by_key(|record| (record.first_seen_ms, record.template));
        Box::pin(std::future::ready(Ok(records)))
    }

    fn examples_after(
        &self,
        task: TaskName,
        after: Option<Place>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<ExampleRecord>, ReadError>> {
        let place = |example: &ExampleRecord| Place {
            recorded_ms: example.recorded_ms,
            request_id: example.request_id,
        };
        let mut found: Vec<_> = {
            let kept = self.kept.lock();
            let of_task = kept.examples.iter().filter(|example| example.task == task);
            of_task.filter(|example| Some(place(example)) > after).cloned().collect()
        };
        found.sort_by_key(place);
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Box::pin(std::future::ready(Ok(found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    struct Shelf(MemoryBooks);

    impl conformance::Shelf for Shelf {
        fn books(&self) -> &dyn Books {
            &self.0
        }

        fn reader(&self) -> &dyn BooksReader {
            &self.0
        }

        fn catch_up(&self) {}
    }

    #[test]
    fn books_in_memory_are_books() {
        conformance::check(|| Shelf(MemoryBooks::new()));
    }
}
