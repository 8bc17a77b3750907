//! Exact money: prices, token counts and the resulting cost.

use serde::{Deserialize, Serialize};

/// An amount of US dollars, exact to a picodollar (10⁻¹² $); negative for a loss.
///
/// Providers quote dollars per million tokens with up to six decimals, so the price of one token is
/// a whole number of picodollars and every cost is an exact sum: the ledger never holds floating
/// point. An `i64` holds about ±9.2 million dollars; sums saturate there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(i64);

impl Usd {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// Returns the amount of `picodollars` (10⁻¹² $).
    pub const fn from_picodollars(picodollars: i64) -> Self {
        Self(picodollars)
    }

    /// Returns the amount in picodollars (10⁻¹² $).
    pub const fn picodollars(self) -> i64 {
        self.0
    }

    /// Returns the amount in dollars, rounded to a float. For display and ratios only.
    #[expect(clippy::cast_precision_loss, reason = "display only; the exact amount stays in picodollars")]
    pub const fn as_dollars(self) -> f64 {
        self.0 as f64 / 1e12
    }

    /// Returns the sum, saturating instead of wrapping.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Returns the difference, saturating instead of wrapping.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl std::fmt::Display for Usd {
    /// Writes the exact amount in dollars without trailing zeros: `0.000125`, `-1.5`, `0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude / 1_000_000_000_000, magnitude % 1_000_000_000_000);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:012}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A price in dollars per million tokens, stored in millionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UsdPerMillion(u64);

/// The number is not a valid price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a price in dollars per million tokens (0 to 100000, at most six decimals)")]
pub struct ParsePriceError(pub String);

impl UsdPerMillion {
    /// Returns the price of `micros` millionths of a dollar per million tokens.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the price in millionths of a dollar per million tokens, which equals picodollars per token.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Returns the price closest to `dollars` per million tokens.
    ///
    /// # Errors
    /// If `dollars` is negative, not a number, above 100,000 or has more than six decimals.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked before")]
    pub fn from_dollars(dollars: f64) -> Result<Self, ParsePriceError> {
        let refuse = || ParsePriceError(dollars.to_string());
        if !(0.0..=100_000.0).contains(&dollars) {
            return Err(refuse());
        }
        let micros = (dollars * 1e6).round();
        if (dollars * 1e6 - micros).abs() > 1e-3 {
            return Err(refuse());
        }
        Ok(Self(micros as u64))
    }

    /// Returns the exact cost of `tokens` at this price, saturating at the end of the range.
    pub fn cost(self, tokens: u64) -> Usd {
        let picodollars = u128::from(self.0) * u128::from(tokens);
        Usd(i64::try_from(picodollars).unwrap_or(i64::MAX))
    }
}

/// The prices of a model, and when they were looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Price of input tokens that were not served from the provider's cache.
    pub input: UsdPerMillion,
    /// Price of input tokens served from the provider's cache.
    pub cached_input: UsdPerMillion,
    /// Price of output tokens, including reasoning.
    pub output: UsdPerMillion,
    /// The day the price was looked up, `YYYY-MM-DD`.
    pub as_of: String,
}

impl Price {
    /// Returns the exact cost of `usage`.
    pub fn cost(&self, usage: TokenUsage) -> Usd {
        let cached = usage.cached_input.min(usage.input);
        self.input
            .cost(usage.input - cached)
            .saturating_add(self.cached_input.cost(cached))
            .saturating_add(self.output.cost(usage.output))
    }
}

/// The tokens that one attempt read and wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Input tokens, including those served from a cache.
    pub input: u64,
    /// Input tokens that the provider served from its cache; at most `input`.
    pub cached_input: u64,
    /// Output tokens, including reasoning.
    pub output: u64,
}

impl TokenUsage {
    /// Returns the field-by-field sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached_input: self.cached_input.saturating_add(other.cached_input),
            output: self.output.saturating_add(other.output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dollars: f64, usage: TokenUsage, expected: &str) {
        let price = Price {
            input: UsdPerMillion::from_dollars(dollars).unwrap(),
            cached_input: UsdPerMillion::from_dollars(dollars / 10.0).unwrap(),
            output: UsdPerMillion::from_dollars(dollars * 4.0).unwrap(),
            as_of: "2026-11-01".to_owned(),
        };
        assert_eq!(price.cost(usage).to_string(), expected);
    }

    #[test]
    fn a_cost_is_exact_to_the_picodollar() {
        check(1.25, TokenUsage { input: 1, cached_input: 0, output: 0 }, "0.00000125");
        check(1.25, TokenUsage { input: 1000, cached_input: 400, output: 10 }, "0.00085");
        check(0.15, TokenUsage { input: 3, cached_input: 3, output: 0 }, "0.000000045");
        check(2.0, TokenUsage { input: 1_000_000, cached_input: 0, output: 0 }, "2");
    }

    #[test]
    fn a_cost_is_not_negative_when_more_tokens_are_cached_than_read() {
        check(1.0, TokenUsage { input: 10, cached_input: 99, output: 0 }, "0.000001");
    }

    #[test]
    fn rejects_invalid_prices() {
        for dollars in [-1.0, f64::NAN, f64::INFINITY, 1e6, 0.000_000_1] {
            assert!(UsdPerMillion::from_dollars(dollars).is_err(), "{dollars}");
        }
    }

    #[test]
    fn a_cost_beyond_the_range_saturates() {
        assert_eq!(UsdPerMillion::from_micros(u64::MAX).cost(u64::MAX), Usd::from_picodollars(i64::MAX));
    }

    #[test]
    fn writes_a_loss_with_its_sign() {
        assert_eq!(Usd::from_picodollars(-1_500_000_000_000).to_string(), "-1.5");
        assert_eq!(Usd::ZERO.to_string(), "0");
    }
}
