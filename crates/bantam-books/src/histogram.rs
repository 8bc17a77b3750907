//! Times that can be added up: how many requests took about how long.

/// How long requests took, counted in buckets whose bounds are within 1/64 of each other.
///
/// Two histograms of different hours add up to the histogram of both, which sorted lists of times do not do without
/// keeping every time. The price is that a percentile is known to within 0.8 %: times below 128 µs are exact, longer
/// ones fall into one of 64 buckets between a power of two and the next. This is the log-linear layout of HdrHistogram
/// (Tene, <http://hdrhistogram.org>) with six bits of precision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// In the order of their places, none empty.
    buckets: Vec<Bucket>,
    min_us: u64,
    max_us: u64,
}

/// One bucket of a [`Histogram`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Which of the fixed buckets it is.
    pub place: u16,
    /// How many times fell into it.
    pub count: u64,
}

/// Times below this are counted exactly.
const EXACT: u64 = 1 << (SUB_BITS + 1);
/// Each power of two has two to the power of this many buckets.
const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;
/// How many buckets there are in all: the exact ones and 64 for each power of two up to 2⁶³.
const PLACES: u64 = EXACT + (63 - SUB_BITS as u64) * SUB;

impl Histogram {
    /// Counts one time, microseconds.
    pub fn record(&mut self, us: u64) {
        (self.min_us, self.max_us) =
            if self.is_empty() { (us, us) } else { (self.min_us.min(us), self.max_us.max(us)) };
        self.add(Bucket { place: place_of(us), count: 1 });
    }

    /// Adds the times of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        (self.min_us, self.max_us) = (self.min_us.min(other.min_us), self.max_us.max(other.max_us));
        if let [few] = *other.buckets {
            self.add(few);
            return;
        }
        let mut merged = Vec::with_capacity(self.buckets.len().max(other.buckets.len()) + 8);
        let (mut left, mut right) = (self.buckets.iter().peekable(), other.buckets.iter().peekable());
        while let (Some(one), Some(two)) = (left.peek(), right.peek()) {
            let (one, two) = (**one, **two);
            match one.place.cmp(&two.place) {
                std::cmp::Ordering::Less => merged.extend(left.next().copied()),
                std::cmp::Ordering::Greater => merged.extend(right.next().copied()),
                std::cmp::Ordering::Equal => {
                    merged.push(Bucket { count: one.count.saturating_add(two.count), ..one });
                    left.next();
                    right.next();
                }
            }
        }
        merged.extend(left.copied());
        merged.extend(right.copied());
        self.buckets = merged;
    }

    fn add(&mut self, bucket: Bucket) {
        match self.buckets.binary_search_by_key(&bucket.place, |each| each.place) {
            Ok(at) => {
                if let Some(there) = self.buckets.get_mut(at) {
                    there.count = there.count.saturating_add(bucket.count);
                }
            }
            Err(at) => self.buckets.insert(at, bucket),
        }
    }

    /// Returns whether nothing was counted.
    pub const fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Returns how many times were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |count, bucket| count.saturating_add(bucket.count))
    }

    /// Returns the time that `percent` of the times do not exceed, by nearest rank, microseconds; `None` when nothing
    /// was counted. It is within 0.8 % of a time that was counted, and never outside of all of them.
    pub fn percentile(&self, percent: u8) -> Option<u64> {
        let count = self.count();
        let rank = (u128::from(count) * u128::from(percent.min(100))).div_ceil(100).max(1);
        if rank >= u128::from(count) {
            return self.bounds_us().map(|(_, max_us)| max_us);
        }
        let mut seen = 0_u128;
        let bucket = self.buckets.iter().find(|bucket| {
            seen += u128::from(bucket.count);
            seen >= rank
        })?;
        Some(middle_of(bucket.place).clamp(self.min_us, self.max_us))
    }

    /// Returns the buckets in order, for whoever keeps them.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Returns the shortest and the longest time that was counted, microseconds.
    pub fn bounds_us(&self) -> Option<(u64, u64)> {
        (!self.is_empty()).then_some((self.min_us, self.max_us))
    }

    /// Returns the histogram that was kept as its bounds and buckets; `None` where they cannot be one: an unknown or
    /// empty bucket, buckets out of order, bounds that do not lie in the first and last bucket.
    pub fn from_parts(bounds_us: (u64, u64), buckets: Vec<Bucket>) -> Option<Self> {
        let (min_us, max_us) = bounds_us;
        let is_sorted = buckets.is_sorted_by(|left, right| left.place < right.place);
        let is_known = buckets.iter().all(|bucket| u64::from(bucket.place) < PLACES && bucket.count > 0);
        let first = buckets.first().map(|bucket| bucket.place);
        let last = buckets.last().map(|bucket| bucket.place);
        let is_bound = match (first, last) {
            (Some(first), Some(last)) => {
                min_us <= max_us && place_of(min_us) == first && place_of(max_us) == last
            }
            _ => bounds_us == (0, 0),
        };
        (is_sorted && is_known && is_bound).then_some(Self { buckets, min_us, max_us })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 65,536 places")]
fn place_of(us: u64) -> u16 {
    if us < EXACT {
        return us as u16;
    }
    let power = us.ilog2();
    let sub = (us >> (power - SUB_BITS)) & (SUB - 1);
    (EXACT + u64::from(power - SUB_BITS - 1) * SUB + sub) as u16
}

/// Returns the middle of a bucket, microseconds.
fn middle_of(place: u16) -> u64 {
    let place = u64::from(place);
    let Some(above) = place.checked_sub(EXACT) else {
        return place;
    };
    let shift = above / SUB + 1;
    let low = (SUB + above % SUB).checked_shl(u32::try_from(shift).unwrap_or(u32::MAX)).unwrap_or(u64::MAX);
    low.saturating_add((1 << shift.min(62)) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        times.iter().for_each(|time| histogram.record(*time));
        histogram
    }

    /// Returns the percentile by sorting, as the histogram has to know it.
    fn exact(times: &[u64], percent: u64) -> u64 {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let rank = (sorted.len() as u64 * percent).div_ceil(100).max(1);
        sorted[rank as usize - 1]
    }

    #[test]
    fn percentiles_are_within_a_hundredth_of_sorted_times() {
        // A linear congruential sequence over seven powers of ten.
        let mut state = 7_u64;
        let mut times = Vec::new();
        for at in 0..5_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            times.push((state >> 33) % 10_u64.pow(1 + at % 7));
        }
        let histogram = of(&times);
        for percent in [1, 5, 50, 90, 95, 99, 100] {
            let (found, expected) =
                (histogram.percentile(percent).unwrap() as f64, exact(&times, percent.into()) as f64);
            assert!((found - expected).abs() <= expected / 100.0, "{percent}: {found} {expected}");
        }
        assert_eq!(histogram.count(), 5_000);
    }

    #[test]
    fn few_times_are_told_as_they_were() {
        assert_eq!(of(&[]).percentile(50), None);
        assert_eq!(of(&[1_234_567]).percentile(50), Some(1_234_567));
        assert_eq!(of(&[5, 6, 127]).percentile(50), Some(6));
        assert_eq!(of(&[0, u64::MAX]).percentile(100), Some(u64::MAX));
    }

    #[test]
    fn the_parts_of_a_split_add_up_to_the_whole() {
        let times: Vec<u64> = (0..3_000).map(|at| at * at * 31 % 900_001).collect();
        let mut merged = Histogram::default();
        for part in [&times[..1], &times[1..700], &[], &times[700..]] {
            merged.merge(&of(part));
        }
        assert_eq!(merged, of(&times));
    }

    #[test]
    fn every_bucket_holds_its_own_middle_and_follows_the_one_before() {
        for place in 0..u16::try_from(PLACES).unwrap() {
            assert_eq!(place_of(middle_of(place)), place, "{place}");
        }
        assert_eq!(u64::from(place_of(u64::MAX)), PLACES - 1);
    }

    #[test]
    fn only_what_a_histogram_can_be_is_read_back() {
        let histogram = of(&[3, 900, 70_000]);
        let parts = histogram.buckets().to_vec();
        assert_eq!(Histogram::from_parts((3, 70_000), parts.clone()), Some(histogram));
        assert_eq!(Histogram::from_parts((4, 70_000), parts.clone()), None);
        assert_eq!(Histogram::from_parts((3, 70_000), parts.into_iter().rev().collect()), None);
        assert_eq!(Histogram::from_parts((0, 0), vec![Bucket { place: 0, count: 0 }]), None);
        assert_eq!(Histogram::from_parts((0, 0), vec![Bucket { place: u16::MAX, count: 1 }]), None);
        assert_eq!(Histogram::from_parts((0, 0), Vec::new()), Some(Histogram::default()));
    }
}
