//! Inputs made from others by small, seeded damage.

/// Bytes of an input at most: parsers that read more do the same to more of it.
const BYTES_MAX: usize = 64 * 1024;

/// Numbers at the edges of what counts and lengths can hold, as parsers meet them in text.
const NUMBERS: [&[u8]; 10] = [
    b"0",
    b"-1",
    b"1e999",
    b"-0.0",
    b"NaN",
    b"255",
    b"65536",
    b"4294967295",
    b"18446744073709551615",
    b"1e-400",
];

/// Makes damaged inputs from a corpus. The same seed and corpus give the same inputs.
#[derive(Debug)]
pub struct Mutator<'c> {
    random: fastrand::Rng,
    corpus: &'c [Vec<u8>],
    words: &'static [&'static str],
}

impl<'c> Mutator<'c> {
    /// Returns a mutator over `corpus` that also inserts `words`, which the target's format knows.
    pub fn new(seed: u64, corpus: &'c [Vec<u8>], words: &'static [&'static str]) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), corpus, words }
    }

    /// Returns the next input: a file of the corpus with one to eight changes.
    pub fn input(&mut self) -> Vec<u8> {
        let mut bytes = self.file().to_vec();
        for _ in 0..self.random.usize(1..=8) {
            self.change(&mut bytes);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn file(&mut self) -> &'c [u8] {
        match self.corpus.len() {
            0 => &[],
            files => self.corpus.get(self.random.usize(..files)).map_or(&[], Vec::as_slice),
        }
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        match self.random.u8(..10) {
            0 => self.flip_a_bit(bytes),
            1 => self.overwrite_a_byte(bytes),
            2 => self.overwrite_a_length(bytes),
            3 => drop(bytes.drain(self.span(bytes.len()))),
            4 => {
                let copied = bytes.get(self.span(bytes.len())).unwrap_or_default().to_vec();
                self.insert(bytes, &copied);
            }
            5 => bytes.truncate(self.random.usize(..=bytes.len())),
            6 => {
                let other = self.file();
                let taken = other.get(self.span(other.len())).unwrap_or_default();
                self.insert(bytes, taken);
            }
            7 => {
                let word = self.random.choice(self.words).map_or("", |word| *word);
                self.insert(bytes, word.as_bytes());
            }
            8 => self.replace_a_number(bytes),
            _ => {
                let repeated = vec![self.random.u8(..); self.random.usize(1..600)];
                self.insert(bytes, &repeated);
            }
        }
    }

    /// Returns a short span within `length`, often empty or a few bytes long.
    fn span(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.random.usize(..=length);
        let longest = if self.random.bool() { 8 } else { 4096 };
        start..length.min(start + self.random.usize(..longest))
    }

    fn insert(&mut self, bytes: &mut Vec<u8>, inserted: &[u8]) {
        let at = self.random.usize(..=bytes.len());
        bytes.splice(at..at, inserted.iter().copied());
    }

    fn flip_a_bit(&mut self, bytes: &mut [u8]) {
        let bit = self.random.u8(..8);
        if let Some(byte) = self.byte(bytes) {
            *byte ^= 1 << bit;
        }
    }

    fn overwrite_a_byte(&mut self, bytes: &mut [u8]) {
        let value = *self
            .random
            .choice(&[0, 1, b'"', b'{', b'}', b'[', b'\\', b'\n', 0x7f, 0x80, 0xff])
            .unwrap_or(&0);
        if let Some(byte) = self.byte(bytes) {
            *byte = value;
        }
    }

    fn byte<'b>(&mut self, bytes: &'b mut [u8]) -> Option<&'b mut u8> {
        let length = bytes.len();
        bytes.get_mut(self.random.usize(..length.max(1)))
    }

    /// Overwrites four or eight bytes with a length that no file has, or only just.
    fn overwrite_a_length(&mut self, bytes: &mut [u8]) {
        let value = match self.random.u8(..4) {
            0 => u64::MAX,
            1 => u64::from(u32::MAX),
            2 => bytes.len() as u64 + self.random.u64(..3),
            _ => self.random.u64(..) >> self.random.u32(..64),
        };
        let width = if self.random.bool() { 4 } else { 8 };
        let start = self.random.usize(..bytes.len().max(1));
        let target = bytes.iter_mut().skip(start).take(width);
        target.zip(value.to_le_bytes()).for_each(|(byte, value)| *byte = value);
    }

    /// Replaces a run of decimal digits by a number at an edge.
    fn replace_a_number(&mut self, bytes: &mut Vec<u8>) {
        let from = self.random.usize(..=bytes.len());
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let Some(start) = bytes.iter().skip(from).position(is_digit).map(|at| from + at) else { return };
        let digits = bytes.iter().skip(start).take_while(|byte| is_digit(byte)).count();
        let number = self.random.choice(NUMBERS).unwrap_or_default();
        bytes.splice(start..start + digits, number.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_inputs_of_bounded_length() {
        let corpus = vec![b"{\"a\": 12}".to_vec(), vec![7; BYTES_MAX]];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, &corpus, &["null"]);
            (0..500).map(|_| mutator.input()).collect::<Vec<_>>()
        };
        let first = inputs(1);
        assert_eq!(first, inputs(1));
        assert_ne!(first, inputs(2));
        assert!(first.iter().all(|input| input.len() <= BYTES_MAX));
        let distinct: std::collections::HashSet<_> = first.iter().collect();
        assert!(distinct.len() > 400, "{} of 500 inputs differ", distinct.len());
    }

    #[test]
    fn an_empty_corpus_still_gives_inputs() {
        let mut mutator = Mutator::new(3, &[], &[]);
        assert!((0..100).any(|_| !mutator.input().is_empty()));
    }
}
