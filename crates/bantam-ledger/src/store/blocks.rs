//! Which requests a filter lists, without an index for every column.
//!
//! Requests are numbered as they are settled. Each run of [`BLOCK`] numbers is a block with one row: when its first and
//! last request arrived, and for every combination of task, caller, outcome, tier and model in it the places where it
//! occurs. A request stands under each rung that it was tried on, so one combination matches a filter exactly when one
//! attempt does. Reading the newest page of a filter means to look the combinations up that match, to walk the blocks
//! backwards, and to read just the rows they name: some two bytes of blocks are passed for every request.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bantam_books::{CallerFilter, RequestFilter, Rung};
use bantam_types::{RequestOutcome, TaskName};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use crate::format::DecodeError;
use crate::format::numbers::{Body, put_number};

/// How many numbers a block has.
const BLOCK: i64 = 1024;

const VERSION: u8 = 1;

const UPSERT: &str = "
INSERT INTO blocks (block, first_ms, last_ms, members) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO UPDATE SET first_ms = excluded.first_ms, last_ms = excluded.last_ms, members = excluded.members";
const SELECT: &str = "SELECT first_ms, last_ms, members FROM blocks WHERE block = ?1";
const SELECT_COMBO: &str = "
SELECT id FROM combos WHERE task IS ?1 AND caller IS ?2 AND outcome = ?3 AND tier IS ?4 AND model IS ?5";
const INSERT_COMBO: &str =
    "INSERT INTO combos (task, caller, outcome, tier, model) VALUES (?1, ?2, ?3, ?4, ?5)";

/// Returns the block of a request's number.
pub(super) const fn block_of(seq: i64) -> i64 {
    seq.div_euclid(BLOCK)
}

/// Returns the numbers of a block's requests.
pub(super) const fn numbers_of(block: i64) -> Range<i64> {
    block.saturating_mul(BLOCK)..block.saturating_add(1).saturating_mul(BLOCK)
}

/// What a filter can tell requests apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Combo {
    pub(super) task: Option<TaskName>,
    pub(super) caller: Option<Arc<str>>,
    pub(super) outcome: RequestOutcome,
    pub(super) rung: Option<Rung>,
}

/// The writing side: the block that grows, and the combinations that were met last.
#[derive(Default)]
pub(super) struct Blocks {
    combos: HashMap<Combo, u32>,
    current: Option<Block>,
}

struct Block {
    number: i64,
    first_ms: i64,
    last_ms: i64,
    members: BTreeMap<u32, Vec<u16>>,
    is_written: bool,
}

impl Blocks {
    /// More combinations than this are not remembered.
    const COMBOS_MAX: usize = 4096;

    /// Goes to the block of a request's number, and notes when the request arrived.
    pub(super) fn begin(
        &mut self,
        connection: &Connection,
        seq: i64,
        arrived_unix_ms: i64,
    ) -> rusqlite::Result<()> {
        let number = block_of(seq);
        if self.current.as_ref().is_none_or(|current| current.number != number) {
            self.write(connection)?;
            self.current = Some(load(connection, number)?);
        }
        if let Some(current) = &mut self.current {
            current.first_ms = current.first_ms.min(arrived_unix_ms);
            current.last_ms = current.last_ms.max(arrived_unix_ms);
            current.is_written = false;
        }
        Ok(())
    }

    /// Adds the request of the block that was gone to, under one of its combinations.
    pub(super) fn add(&mut self, combo: u32, seq: i64) {
        let place = u16::try_from(seq.rem_euclid(BLOCK)).unwrap_or(u16::MAX);
        let Some(current) = &mut self.current else { return };
        let places = current.members.entry(combo).or_default();
        // Two attempts on the same rung are one place.
        if places.last() != Some(&place) {
            places.push(place);
        }
    }

    /// Brings the block that grows into the table.
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(current) = self.current.as_mut().filter(|current| !current.is_written) else {
            return Ok(());
        };
        let members = encode(&current.members);
        let columns = params![current.number, current.first_ms, current.last_ms, members];
        connection.prepare_cached(UPSERT)?.execute(columns)?;
        current.is_written = true;
        Ok(())
    }

    /// Forgets what it remembers of the tables: rows were removed.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Returns the number of a combination.
    pub(super) fn id(&mut self, connection: &Connection, combo: Combo) -> rusqlite::Result<u32> {
        if let Some(id) = self.combos.get(&combo) {
            return Ok(*id);
        }
        let columns = params![
            combo.task.as_ref().map(TaskName::as_str),
            combo.caller,
            combo.outcome.as_str(),
            combo.rung.as_ref().map(|rung| rung.tier.as_str()),
            combo.rung.as_ref().map(|rung| &rung.model),
        ];
        let found =
            connection.prepare_cached(SELECT_COMBO)?.query_row(columns, |row| row.get(0)).optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                connection.prepare_cached(INSERT_COMBO)?.execute(columns)?;
                u32::try_from(connection.last_insert_rowid()).unwrap_or(u32::MAX)
            }
        };
        if self.combos.len() >= Self::COMBOS_MAX {
            self.combos.clear();
        }
        self.combos.insert(combo, id);
        Ok(id)
    }
}

fn load(connection: &Connection, number: i64) -> rusqlite::Result<Block> {
    let mut statement = connection.prepare_cached(SELECT)?;
    let found = statement.query_row([number], |row| {
        let members = decode(row.get_ref(2)?.as_blob()?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, Box::new(error))
        })?;
        Ok(Block { number, first_ms: row.get(0)?, last_ms: row.get(1)?, members, is_written: true })
    });
    let new =
        Block { number, first_ms: i64::MAX, last_ms: i64::MIN, members: BTreeMap::new(), is_written: true };
    Ok(found.optional()?.unwrap_or(new))
}

fn encode(members: &BTreeMap<u32, Vec<u16>>) -> Vec<u8> {
    let mut out = vec![VERSION];
    let (mut places, mut last_id) = (Vec::new(), 0);
    for (id, members) in members {
        places.clear();
        let mut last = 0;
        for place in members {
            put_number(&mut places, place.saturating_sub(last).into());
            last = *place;
        }
        put_number(&mut out, id.saturating_sub(last_id).into());
        put_number(&mut out, places.len() as u64);
        out.extend_from_slice(&places);
        last_id = *id;
    }
    out
}

fn decode(bytes: &[u8]) -> Result<BTreeMap<u32, Vec<u16>>, DecodeError> {
    let mut members = BTreeMap::new();
    for_members(bytes, |_| true, |id, place| members.entry(id).or_insert_with(Vec::new).push(place))?;
    Ok(members)
}

/// Calls `each` for every place of the combinations that are wanted.
fn for_members(
    bytes: &[u8],
    is_wanted: impl Fn(u32) -> bool,
    mut each: impl FnMut(u32, u16),
) -> Result<(), DecodeError> {
    const BAD: DecodeError = DecodeError::Field("members");
    let mut body = Body::new(bytes);
    match body.byte("version")? {
        VERSION => {}
        version => return Err(DecodeError::Unknown { kind: 0, version }),
    }
    let mut id = 0_u32;
    while !body.is_empty() {
        let step = u32::try_from(body.number("combination")?).map_err(|_| BAD)?;
        id = id.checked_add(step).ok_or(BAD)?;
        let length = usize::try_from(body.number("length")?).map_err(|_| BAD)?;
        let places = body.take(length, "members")?;
        if is_wanted(id) {
            let (mut places, mut place) = (Body::new(places), 0_u16);
            while !places.is_empty() {
                let step = u16::try_from(places.number("place")?).map_err(|_| BAD)?;
                place = place.checked_add(step).filter(|place| i64::from(*place) < BLOCK).ok_or(BAD)?;
                each(id, place);
            }
        }
    }
    Ok(())
}

/// The combinations that a filter lists.
pub(super) struct Wanted(Vec<u32>);

impl Wanted {
    /// Looks the combinations up; `None` when the filter tells none apart.
    pub(super) fn find(connection: &Connection, filter: &RequestFilter) -> rusqlite::Result<Option<Self>> {
        let (mut sql, mut values) = ("SELECT id FROM combos WHERE 1".to_owned(), Vec::new());
        let mut add = |condition: &str, value: Option<String>| {
            sql.push_str(condition);
            values.extend(value.map(Value::Text));
        };
        if let Some(task) = &filter.task {
            add(" AND task = ?", Some(task.to_string()));
        }
        match &filter.caller {
            None => {}
            Some(CallerFilter::NoKey) => add(" AND caller IS NULL", None),
            Some(CallerFilter::Key(name)) => add(" AND caller = ?", Some(name.clone())),
        }
        if let Some(outcome) = filter.outcome {
            add(" AND outcome = ?", Some(outcome.as_str().to_owned()));
        }
        if let Some(tier) = filter.tier {
            add(" AND tier = ?", Some(tier.as_str().to_owned()));
        }
        if let Some(model) = &filter.model {
            add(" AND model = ?", Some(model.clone()));
        }
        if sql.ends_with("WHERE 1") {
            return Ok(None);
        }
        let mut statement = connection.prepare_cached(&sql)?;
        let mut wanted = Vec::new();
        for id in statement.query_map(params_from_iter(values), |row| row.get::<_, u32>(0))? {
            wanted.push(id?);
        }
        wanted.sort_unstable();
        Ok(Some(Self(wanted)))
    }

    /// Returns whether no request can be listed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the numbers of the requests of a block that are listed, newest first.
    pub(super) fn members(&self, block: i64, bytes: &[u8]) -> Result<Vec<i64>, DecodeError> {
        let mut found = Vec::new();
        let is_wanted = |id: u32| self.0.binary_search(&id).is_ok();
        let first = numbers_of(block).start;
        for_members(bytes, is_wanted, |_, place| found.push(first.saturating_add(place.into())))?;
        found.sort_unstable_by(|one, other| other.cmp(one));
        found.dedup();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_places_of_every_combination_read_back(
            places in btree_map(any::<u32>(), btree_set(0..1024_u16, 1..20), 0..20),
            wanted in any::<prop::sample::Index>(),
        ) {
            let members: BTreeMap<u32, Vec<u16>> =
                places.into_iter().map(|(id, places)| (id, places.into_iter().collect())).collect();
            let bytes = encode(&members);
            prop_assert_eq!(decode(&bytes), Ok(members.clone()));
            if !members.is_empty() {
                let (id, places) = members.iter().nth(wanted.index(members.len())).unwrap();
                let expected: Vec<i64> = places.iter().rev().map(|place| 7 * BLOCK + i64::from(*place)).collect();
                prop_assert_eq!(Wanted(vec![*id]).members(7, &bytes), Ok(expected));
            }
        }

        #[test]
        fn bytes_that_nobody_wrote_are_an_error_and_never_a_panic(bytes in vec(any::<u8>(), 0..60)) {
            let _ = decode(&bytes);
            let _ = decode(&[&[VERSION], &bytes[..]].concat());
        }
    }

    #[test]
    fn a_place_outside_of_its_block_is_an_error() {
        let outside = BTreeMap::from([(1, vec![1024])]);
        assert!(decode(&encode(&outside)).is_err());
        assert!(decode(&[VERSION + 1]).is_err());
    }
}
