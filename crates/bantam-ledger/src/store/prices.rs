//! Prices: a row for each that was ever charged with.

use std::sync::Arc;

use bantam_types::{Price, Rates, UsdPerMillion};
use rusqlite::{Connection, Row, params};

use super::fold::held;
use super::kinds::row_of;
use super::row::{count, get};
use crate::error::{DatabaseError, QueryError};

const SELECT: &str = "
SELECT id FROM prices
WHERE input_micros = ?1 AND cached_input_micros = ?2 AND output_micros = ?3 AND as_of = ?4 AND terms IS ?5";
const INSERT: &str = "
INSERT INTO prices (input_micros, cached_input_micros, output_micros, as_of, terms) VALUES (?1, ?2, ?3, ?4, ?5)";

/// The row numbers of the prices that were used last. Prices are few, so a list is enough; it is
/// bounded all the same.
#[derive(Default)]
pub(super) struct Prices(Vec<(Arc<Price>, i64)>);

impl Prices {
    const MAX: usize = 64;

    /// Returns the number of a price's row, and adds the row if it is missing.
    pub(super) fn id(&mut self, connection: &Connection, price: &Arc<Price>) -> rusqlite::Result<i64> {
        // Most prices come from one place, which shares them.
        let is_it = |known: &Arc<Price>| Arc::ptr_eq(known, price) || known == price;
        if let Some((_, id)) = self.0.iter().find(|(known, _)| is_it(known)) {
            return Ok(*id);
        }
        let rates = &price.standard.base;
        let micros = [rates.input, rates.cached_input, rates.output].map(|rate| held(rate.micros()));
        let [input, cached_input, output] = micros;
        let columns = params![input, cached_input, output, price.as_of, terms(price)?];
        let id = row_of(connection, SELECT, INSERT, columns)?;
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        self.0.push((Arc::clone(price), id));
        Ok(id)
    }
}

/// Returns the whole price as JSON; `None` when the three rates and the day say it all.
fn terms(price: &Price) -> rusqlite::Result<Option<String>> {
    let rates = &price.standard.base;
    if *price == of_three(rates.input, rates.cached_input, rates.output, price.as_of.clone())
        && [rates.input, rates.cached_input, rates.output]
            .iter()
            .all(|rate| i64::try_from(rate.micros()).is_ok())
    {
        return Ok(None);
    }
    let json = serde_json::to_string(price);
    json.map(Some).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn of_three(
    input: UsdPerMillion,
    cached_input: UsdPerMillion,
    output: UsdPerMillion,
    as_of: String,
) -> Price {
    Price::flat(Rates { input, cached_input, output, ..Rates::default() }, as_of)
}

/// Returns the price whose columns `input_micros`, `cached_input_micros`, `output_micros`, `as_of` and `terms` begin at
/// `at`; `None` for an attempt without one.
pub(super) fn price(row: &Row<'_>, at: usize) -> Result<Option<Price>, QueryError> {
    let Some(as_of) = get::<Option<String>>(row, at + 3)? else {
        return Ok(None);
    };
    let terms = row.get_ref(at + 4).map_err(DatabaseError::when("give a column"))?;
    let bad = || QueryError::Value { column: "terms" };
    if let Some(json) = terms.as_str_or_null().map_err(|_| bad())? {
        return serde_json::from_str(json).map(Some).map_err(|_| bad());
    }
    let rate = |at| count(row, at).map(UsdPerMillion::from_micros);
    Ok(Some(of_three(rate(at)?, rate(at + 1)?, rate(at + 2)?, as_of)))
}
