//! Exact money: amounts, and prices per token.

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

#[cfg(test)]
mod tests {
    use super::*;

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
