//! Usage added up by the hour and the day, so that a report reads thousands of rows and not millions.
//!
//! There is one row for every hour, grouping and group: what all requests of that hour did, what those of each task
//! did, and so on. The groupings are kept apart, not as one row for every combination of task, template, caller and
//! model: reports ask for one grouping at a time, and combinations are more than requests in a quiet hour.
//!
//! A day is added up from its hours when a later day has begun, and kept in step with them from then on. So all days
//! before the newest have rows of their own, and only the newest is read hour by hour.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bantam_books::{GroupBy, GroupKey, Usage};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};

use super::rollup;
use super::summaries::Shape;
use crate::error::QueryError;

pub(super) const HOUR_MS: i64 = 3_600_000;
/// Hours of a day.
pub(super) const DAY: i64 = 24;

/// The groupings that have rows. A report by day is made of those without a grouping.
fn dimensions() -> impl Iterator<Item = GroupBy> {
    GroupBy::ALL.into_iter().filter(|by| *by != GroupBy::Day)
}

const SELECT: &str =
    "SELECT usage FROM rollups WHERE dimension = ?1 AND hours = ?2 AND begin = ?3 AND key = ?4";
const SELECT_DAY: &str = "
SELECT dimension, key, usage FROM rollups
WHERE dimension = ?1 AND hours = 1 AND begin >= ?2 AND begin < ?2 + 24";
const UPSERT: &str = "
INSERT INTO rollups (dimension, hours, begin, key, usage) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT DO UPDATE SET usage = excluded.usage";
const NEWEST: &str = "SELECT max(begin) FROM rollups WHERE dimension = 0 AND hours = 1";

/// Returns the hour of a time, counted from 1970-01-01.
pub(super) const fn hour_of(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(HOUR_MS)
}

/// Returns the number that stands for a grouping in the table. Numbers are for ever.
pub(super) const fn dimension(by: GroupBy) -> u8 {
    match by {
        GroupBy::None | GroupBy::Day => 0,
        GroupBy::Task => 1,
        GroupBy::Template => 2,
        GroupBy::Tier => 3,
        GroupBy::Model => 4,
        GroupBy::Caller => 5,
        GroupBy::Endpoint => 6,
    }
}

/// Returns what stands for a group in the table: its name, or 0 for requests without one.
fn key_value(key: &GroupKey) -> Value {
    let text = match key {
        GroupKey::All | GroupKey::Day(_) => None,
        GroupKey::Task(task) => task.as_ref().map(|task| task.as_str().to_owned()),
        GroupKey::Template(template) => template.map(|template| template.to_string()),
        GroupKey::Tier(tier) => tier.map(|tier| tier.as_str().to_owned()),
        GroupKey::Model(name) | GroupKey::Caller(name) | GroupKey::Endpoint(name) => {
            name.as_deref().map(str::to_owned)
        }
    };
    text.map_or(Value::Integer(0), Value::Text)
}

/// Returns the group that a value of the table stands for; `begin` is the row's first hour.
pub(super) fn key_of(by: GroupBy, begin: i64, value: ValueRef<'_>) -> Result<GroupKey, QueryError> {
    let text = match value {
        ValueRef::Integer(0) => None,
        ValueRef::Text(text) => {
            Some(std::str::from_utf8(text).map_err(|_| QueryError::Value { column: "key" })?)
        }
        _ => return Err(QueryError::Value { column: "key" }),
    };
    let name = || text.map(Arc::from);
    Ok(match by {
        GroupBy::None => GroupKey::All,
        GroupBy::Day => GroupKey::Day(begin.div_euclid(DAY)),
        GroupBy::Task => GroupKey::Task(parsed(text)?),
        GroupBy::Template => GroupKey::Template(parsed(text)?),
        GroupBy::Tier => GroupKey::Tier(parsed(text)?),
        GroupBy::Model => GroupKey::Model(name()),
        GroupBy::Caller => GroupKey::Caller(name()),
        GroupBy::Endpoint => GroupKey::Endpoint(name()),
    })
}

fn parsed<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, QueryError> {
    text.map(|text| text.parse().map_err(|_| QueryError::Value { column: "key" })).transpose()
}

/// What a row is about: how many hours it covers, its first hour, and its group.
type RowKey = (i64, i64, GroupKey);

/// The writing side: the rows that were written last.
#[derive(Default)]
pub(super) struct Rollups {
    /// Rows as they are in the table, so that the rows of the present hour are not read again and again.
    rows: BTreeMap<RowKey, Usage>,
    /// The newest day with a row.
    newest: Option<i64>,
}

impl Rollups {
    /// More rows than this are not remembered. Most take less than a kilobyte.
    const ROWS_MAX: usize = 1024;
    /// Brings what was added into the table.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
        shapes: impl Iterator<Item = (Shape, Usage)>,
    ) -> rusqlite::Result<()> {
        let mut added: BTreeMap<(i64, GroupKey), Usage> = BTreeMap::new();
        for (shape, usage) in shapes {
            for by in dimensions() {
                added.entry((shape.hour, shape.key(by))).or_default().merge(&usage);
            }
        }
        let Some(newest_hour) = added.last_key_value().map(|((hour, _), _)| *hour) else {
            return Ok(());
        };
        let newest_added = newest_hour.div_euclid(DAY);
        let newest_before = match self.newest {
            Some(newest) => Some(newest),
            None => connection
                .query_row(NEWEST, [], |row| row.get::<_, Option<i64>>(0))?
                .map(|hour| hour.div_euclid(DAY)),
        };
        let newest = newest_before.map_or(newest_added, |before| before.max(newest_added));
        // Days that a later one has followed, and that have no rows of their own yet.
        let mut unbuilt: BTreeSet<i64> = newest_before.into_iter().filter(|day| *day < newest).collect();
        let mut built = BTreeSet::new();
        for (hour, _) in added.keys() {
            let day = hour.div_euclid(DAY);
            if day < newest && !unbuilt.contains(&day) && !built.contains(&day) {
                let days = if self.has_day(connection, day)? { &mut built } else { &mut unbuilt };
                days.insert(day);
            }
        }
        for ((hour, key), usage) in added {
            let day = hour.div_euclid(DAY);
            if built.contains(&day) {
                self.merge(connection, (DAY, day * DAY, key.clone()), &usage)?;
            }
            self.merge(connection, (1, hour, key), &usage)?;
        }
        for day in unbuilt {
            add_up_day(connection, day)?;
        }
        self.newest = Some(newest);
        if self.rows.len() > Self::ROWS_MAX {
            // Nearly everything that comes belongs to the present hour.
            self.rows.retain(|(_, begin, _), _| *begin >= newest_hour);
        }
        if self.rows.len() > Self::ROWS_MAX {
            self.rows.clear();
        }
        Ok(())
    }

    fn has_day(&self, connection: &Connection, day: i64) -> rusqlite::Result<bool> {
        if self.rows.contains_key(&(DAY, day * DAY, GroupKey::All)) {
            return Ok(true);
        }
        Ok(read(connection, 0, DAY, day * DAY, &Value::Integer(0))?.is_some())
    }

    fn merge(&mut self, connection: &Connection, key: RowKey, usage: &Usage) -> rusqlite::Result<()> {
        let (hours, begin, group) = (key.0, key.1, &key.2);
        let (dimension, value) = (dimension_of(group), key_value(group));
        let row = match self.rows.entry(key) {
            std::collections::btree_map::Entry::Occupied(row) => row.into_mut(),
            std::collections::btree_map::Entry::Vacant(row) => {
                row.insert(read(connection, dimension, hours, begin, &value)?.unwrap_or_default())
            }
        };
        row.merge(usage);
        write(connection, dimension, hours, begin, &value, row)
    }
}

const fn dimension_of(key: &GroupKey) -> u8 {
    dimension(match key {
        GroupKey::All | GroupKey::Day(_) => GroupBy::None,
        GroupKey::Task(_) => GroupBy::Task,
        GroupKey::Template(_) => GroupBy::Template,
        GroupKey::Tier(_) => GroupBy::Tier,
        GroupKey::Model(_) => GroupBy::Model,
        GroupKey::Caller(_) => GroupBy::Caller,
        GroupKey::Endpoint(_) => GroupBy::Endpoint,
    })
}

fn read(
    connection: &Connection,
    dimension: u8,
    hours: i64,
    begin: i64,
    key: &Value,
) -> rusqlite::Result<Option<Usage>> {
    let mut statement = connection.prepare_cached(SELECT)?;
    let found = statement.query_row(params![dimension, hours, begin, key], |row| decoded(row.get_ref(0)?));
    found.optional()
}

fn write(
    connection: &Connection,
    dimension: u8,
    hours: i64,
    begin: i64,
    key: &Value,
    usage: &Usage,
) -> rusqlite::Result<()> {
    let bytes = rollup::encode(usage);
    connection.prepare_cached(UPSERT)?.execute(params![dimension, hours, begin, key, bytes])?;
    Ok(())
}

/// Adds up the hours of a day.
fn add_up_day(connection: &Connection, day: i64) -> rusqlite::Result<()> {
    for by in dimensions() {
        let mut groups: BTreeMap<Vec<u8>, (Value, Usage)> = BTreeMap::new();
        let mut statement = connection.prepare_cached(SELECT_DAY)?;
        let mut rows = statement.query(params![dimension(by), day * DAY])?;
        while let Some(row) = rows.next()? {
            let key: Value = row.get(1)?;
            let sorted = if let Value::Text(text) = &key { text.clone().into_bytes() } else { vec![0xff] };
            let group = groups.entry(sorted).or_insert_with(|| (key, Usage::default()));
            group.1.merge(&decoded(row.get_ref(2)?)?);
        }
        for (key, usage) in groups.values() {
            write(connection, dimension(by), DAY, day * DAY, key, usage)?;
        }
    }
    Ok(())
}

fn decoded(value: ValueRef<'_>) -> rusqlite::Result<Usage> {
    let bytes = value.as_blob()?;
    rollup::decode(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
    })
}
