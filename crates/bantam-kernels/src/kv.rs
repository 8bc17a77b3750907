//! Keys and values of tokens, in pages.

use crate::half::f16_to_f32;
use crate::isa::{Isa, Kernel};
use crate::product::load_some;
use crate::simd::Simd;

/// Tokens of a page.
pub const PAGE_TOKENS: usize = 16;

/// How keys and values are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvPrecision {
    /// 32-bit floats.
    F32,
    /// 16-bit floats: half the memory; numbers are off by at most 1/2048 of themselves, and above 65,504 infinite.
    F16,
}

/// What a store holds for every token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Layers.
    pub layers: usize,
    /// Heads of keys and of values, in each layer.
    pub kv_heads: usize,
    /// Numbers of a head.
    pub head_size: usize,
    /// How they are held.
    pub precision: KvPrecision,
}

impl KvShape {
    /// Returns how many numbers the keys, or the values, of a page's head have.
    pub(crate) fn head_numbers(&self) -> usize {
        self.head_size * PAGE_TOKENS
    }

    /// Returns how many numbers a page has, or nothing where these are more than can be addressed.
    fn page_numbers(&self) -> Option<usize> {
        self.head_size.checked_mul(2 * PAGE_TOKENS)?.checked_mul(self.kv_heads)?.checked_mul(self.layers)
    }

    fn number_bytes(&self) -> usize {
        match self.precision {
            KvPrecision::F32 => 4,
            KvPrecision::F16 => 2,
        }
    }

    /// Returns how many bytes a page of 16 tokens has, over all layers.
    pub fn page_bytes(&self) -> usize {
        self.page_numbers().unwrap_or(usize::MAX).saturating_mul(self.number_bytes())
    }
}

/// Columns of rows: of every `stride` numbers those from `start` on.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    pub(crate) numbers: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) start: usize,
}

impl<'a> Columns<'a> {
    /// Returns the columns from `start` on of rows of `stride` numbers.
    ///
    /// # Panics
    /// If `numbers` is not whole rows, or they have no column `start`.
    pub fn new(numbers: &'a [f32], stride: usize, start: usize) -> Self {
        assert!(start < stride && numbers.len().is_multiple_of(stride), "columns of whole rows");
        Self { numbers, stride, start }
    }

    /// Returns how many rows there are.
    pub fn rows(&self) -> usize {
        self.numbers.len() / self.stride
    }

    /// Returns how many columns there are.
    pub fn width(&self) -> usize {
        self.stride - self.start
    }
}

/// Keys and values of all layers for pages of 16 tokens; who has which page is up to the caller.
///
/// Within a page there is, for each layer and head, the keys with one number of all 16 tokens after the other, so
/// that tokens are the lanes of a vector, and then the values token after token.
#[derive(Debug)]
pub struct KvStore {
    shape: KvShape,
    pages: usize,
    isa: Isa,
    pub(crate) numbers: Numbers,
}

#[derive(Debug)]
pub(crate) enum Numbers {
    F32(Vec<f32>),
    F16(Vec<u16>),
}

impl KvStore {
    /// Returns a store of `pages` pages of zeros. The system gives the memory as pages are written.
    ///
    /// # Panics
    /// If the shape has a zero or is larger than can be addressed.
    pub fn new(shape: KvShape, pages: usize) -> Self {
        assert!(shape.layers > 0 && shape.kv_heads > 0 && shape.head_size > 0, "an empty shape");
        let count = shape.page_numbers().and_then(|numbers| numbers.checked_mul(pages));
        let count = count.unwrap_or(usize::MAX);
        let numbers = match shape.precision {
            KvPrecision::F32 => Numbers::F32(vec![0.0; count]),
            KvPrecision::F16 => Numbers::F16(vec![0; count]),
        };
        Self { shape, pages, isa: Isa::best(), numbers }
    }

    /// Returns what it holds for every token.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Returns how many pages there are.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Returns how many bytes a page has, over all layers.
    pub fn page_bytes(&self) -> usize {
        self.shape.page_bytes()
    }

    /// Returns where the keys of a head start, in numbers; its values follow.
    pub(crate) fn at(&self, page: usize, layer: usize, head: usize) -> usize {
        assert!(page < self.pages, "page {page} of {}", self.pages);
        let KvShape { layers, kv_heads, .. } = self.shape;
        ((page * layers + layer) * kv_heads + head) * 2 * self.shape.head_numbers()
    }

    /// Writes keys and values, the heads of a token side by side in a row, for the tokens from `start` on of a
    /// sequence that has `pages`. Columns beyond the heads' are not looked at.
    ///
    /// # Panics
    /// If the layer, a page or the pages' number do not fit, or there are not as many rows of both.
    pub fn write(
        &mut self,
        layer: usize,
        pages: &[u32],
        start: usize,
        keys: Columns<'_>,
        values: Columns<'_>,
    ) {
        let KvShape { layers, kv_heads, head_size, .. } = self.shape;
        assert!(layer < layers, "layer {layer} of {layers}");
        assert_eq!(keys.rows(), values.rows());
        assert!(keys.width() >= kv_heads * head_size && values.width() >= kv_heads * head_size, "all heads");
        assert!(start + keys.rows() <= pages.len() * PAGE_TOKENS, "pages for all tokens");
        let shape = self.shape;
        let (size, width, page) = (head_size, kv_heads * head_size, 2 * shape.head_numbers());
        let mut halves = vec![0; if shape.precision == KvPrecision::F16 { 2 * width } else { 0 }];
        for row in 0..keys.rows() {
            let token = start + row;
            let at = self.at(pages[token / PAGE_TOKENS] as usize, layer, 0);
            let (range, token) = (at..at + kv_heads * page, token % PAGE_TOKENS);
            let [keys, values] = [keys, values].map(|of| &of.numbers[row * of.stride + of.start..][..width]);
            match &mut self.numbers {
                Numbers::F32(numbers) => {
                    for (head, numbers) in numbers[range].chunks_exact_mut(page).enumerate() {
                        place(numbers, token, &keys[head * size..][..size], &values[head * size..][..size]);
                    }
                }
                Numbers::F16(numbers) => {
                    self.isa.call(Halves { from: [keys, values], to: &mut halves });
                    let (keys, values) = halves.split_at(width);
                    for (head, numbers) in numbers[range].chunks_exact_mut(page).enumerate() {
                        place(numbers, token, &keys[head * size..][..size], &values[head * size..][..size]);
                    }
                }
            }
        }
    }

    /// Copies a page, over all layers.
    ///
    /// # Panics
    /// If there is no such page.
    pub fn copy_page(&mut self, from: u32, to: u32) {
        let count = self.shape.layers * self.shape.kv_heads * 2 * self.shape.head_numbers();
        let (from, to) = (self.at(from as usize, 0, 0), self.at(to as usize, 0, 0));
        match &mut self.numbers {
            Numbers::F32(numbers) => numbers.copy_within(from..from + count, to),
            Numbers::F16(numbers) => numbers.copy_within(from..from + count, to),
        }
    }

    /// Returns the key and the value of a token's head, as they were rounded.
    ///
    /// # Panics
    /// If there is no such layer, page or head.
    pub fn read(&self, layer: usize, pages: &[u32], token: usize, head: usize) -> (Vec<f32>, Vec<f32>) {
        let (page, token) = (pages[token / PAGE_TOKENS] as usize, token % PAGE_TOKENS);
        assert!(layer < self.shape.layers && head < self.shape.kv_heads, "layer {layer}, head {head}");
        let (at, size) = (self.at(page, layer, head), self.shape.head_size);
        let number = |index: usize| match &self.numbers {
            Numbers::F32(numbers) => numbers[at + index],
            Numbers::F16(numbers) => f16_to_f32(numbers[at + index]),
        };
        let key = (0..size).map(|i| number(i * PAGE_TOKENS + token)).collect();
        let value = (0..size).map(|i| number(self.shape.head_numbers() + token * size + i)).collect();
        (key, value)
    }
}

/// Puts a key and a value into a page's head.
fn place<T: Copy>(head: &mut [T], token: usize, key: &[T], value: &[T]) {
    let (keys, values) = head.split_at_mut(head.len() / 2);
    for (place, key) in keys.iter_mut().skip(token).step_by(PAGE_TOKENS).zip(key) {
        *place = *key;
    }
    values[token * value.len()..][..value.len()].copy_from_slice(value);
}

/// Two equally long rows, written one after the other in half precision.
struct Halves<'c> {
    from: [&'c [f32]; 2],
    to: &'c mut [u16],
}

impl Kernel for Halves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (from, to) in self.from.into_iter().zip(self.to.chunks_exact_mut(self.from[0].len())) {
            let count = from.len().min(to.len());
            for start in (0..count).step_by(S::LANES) {
                let left = count - start;
                // SAFETY: a vector is stored only where a whole one is left of both.
                unsafe {
                    let numbers = load_some(s, from.as_ptr().add(start), left);
                    if left >= S::LANES {
                        s.store_half(numbers, to.as_mut_ptr().add(start));
                    } else {
                        let mut last = [0; 16];
                        s.store_half(numbers, last.as_mut_ptr());
                        to[start..count].copy_from_slice(&last[..left]);
                    }
                }
            }
        }
    }
}
