//! The paged KV cache.

use half::f16;

use crate::isa::{Isa, Kernel};
use crate::product::load_some;
use crate::simd::Simd;

/// Tokens per page.
pub const PAGE_TOKENS: usize = 16;

/// The element type of keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvPrecision {
    /// 32-bit floats.
    F32,
    /// 16-bit floats: half the memory, a relative error of at most 1/2048, and infinity above 65,504.
    F16,
}

/// What a store holds for every token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Number of layers.
    pub layers: usize,
    /// Number of key heads per layer; there are as many value heads.
    pub kv_heads: usize,
    /// Elements per head.
    pub head_size: usize,
    /// The element type.
    pub precision: KvPrecision,
}

impl KvShape {
    /// Returns the number of elements in the keys, or in the values, of one head in a page.
    pub(crate) fn head_numbers(&self) -> usize {
        self.head_size * PAGE_TOKENS
    }

    /// Returns the number of elements in a page, or `None` if it is not addressable.
    fn page_numbers(&self) -> Option<usize> {
        self.head_size.checked_mul(2 * PAGE_TOKENS)?.checked_mul(self.kv_heads)?.checked_mul(self.layers)
    }

    fn number_bytes(&self) -> usize {
        match self.precision {
            KvPrecision::F32 => 4,
            KvPrecision::F16 => 2,
        }
    }

    /// Returns the size of a page of 16 tokens over all layers, in bytes.
    pub fn page_bytes(&self) -> usize {
        self.page_numbers().unwrap_or(usize::MAX).saturating_mul(self.number_bytes())
    }
}

/// A view of columns: of every `stride` elements, those from `start` on.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    pub(crate) numbers: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) start: usize,
}

impl<'a> Columns<'a> {
    /// Returns the columns from `start` on of rows of `stride` elements.
    ///
    /// # Panics
    /// If `numbers` does not consist of whole rows, or they have no column `start`.
    pub fn new(numbers: &'a [f32], stride: usize, start: usize) -> Self {
        assert!(start < stride && numbers.len().is_multiple_of(stride), "not columns of whole rows");
        Self { numbers, stride, start }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.numbers.len() / self.stride
    }

    /// Returns the number of columns.
    pub fn width(&self) -> usize {
        self.stride - self.start
    }
}

/// Keys and values of all layers in pages of 16 tokens. The caller decides which sequence owns which page.
///
/// For each layer and head, a page holds the keys element by element for all 16 tokens, so that tokens are the lanes
/// of a vector, and then the values token by token.
#[derive(Debug)]
pub struct KvStore {
    shape: KvShape,
    pages: usize,
    isa: Isa,
    pub(crate) numbers: KvElements,
}

#[derive(Debug)]
pub(crate) enum KvElements {
    F32(Vec<f32>),
    F16(Vec<u16>),
}

impl KvStore {
    /// Returns a store of `pages` zeroed pages. The system allocates the memory as pages are written.
    ///
    /// # Panics
    /// If a dimension of the shape is zero, or the store is not addressable.
    pub fn new(shape: KvShape, pages: usize) -> Self {
        assert!(shape.layers > 0 && shape.kv_heads > 0 && shape.head_size > 0, "an empty shape");
        let count = shape.page_numbers().and_then(|numbers| numbers.checked_mul(pages));
        let count = count.unwrap_or(usize::MAX);
        let numbers = match shape.precision {
            KvPrecision::F32 => KvElements::F32(vec![0.0; count]),
            KvPrecision::F16 => KvElements::F16(vec![0; count]),
        };
        Self { shape, pages, isa: Isa::best(), numbers }
    }

    /// Returns the shape of the store.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Returns the number of pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Returns the size of a page over all layers, in bytes.
    pub fn page_bytes(&self) -> usize {
        self.shape.page_bytes()
    }

    /// Returns the offset of a head's keys, in elements; its values follow.
    pub(crate) fn at(&self, page: usize, layer: usize, head: usize) -> usize {
        assert!(page < self.pages, "page {page} of {}", self.pages);
        let KvShape { layers, kv_heads, .. } = self.shape;
        ((page * layers + layer) * kv_heads + head) * 2 * self.shape.head_numbers()
    }

    /// Writes keys and values for the tokens from `start` on of a sequence that has `pages`. The heads of a token are
    /// side by side in a row; columns after the heads are ignored.
    ///
    /// # Panics
    /// If the layer or a page does not exist, there are too few pages, or keys and values differ in length.
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
        assert!(
            keys.width() >= kv_heads * head_size && values.width() >= kv_heads * head_size,
            "rows lack heads"
        );
        assert!(start + keys.rows() <= pages.len() * PAGE_TOKENS, "too few pages");
        let shape = self.shape;
        let (size, width, page) = (head_size, kv_heads * head_size, 2 * shape.head_numbers());
        let mut halves = vec![0; if shape.precision == KvPrecision::F16 { 2 * width } else { 0 }];
        for row in 0..keys.rows() {
            let token = start + row;
            let at = self.at(pages[token / PAGE_TOKENS] as usize, layer, 0);
            let (range, token) = (at..at + kv_heads * page, token % PAGE_TOKENS);
            let [keys, values] = [keys, values].map(|of| &of.numbers[row * of.stride + of.start..][..width]);
            match &mut self.numbers {
                KvElements::F32(numbers) => {
                    for (head, numbers) in numbers[range].chunks_exact_mut(page).enumerate() {
                        write_token(
                            numbers,
                            token,
                            &keys[head * size..][..size],
                            &values[head * size..][..size],
                        );
                    }
                }
                KvElements::F16(numbers) => {
                    self.isa.call(HalfPrecisionRows { from: [keys, values], to: &mut halves });
                    let (keys, values) = halves.split_at(width);
                    for (head, numbers) in numbers[range].chunks_exact_mut(page).enumerate() {
                        write_token(
                            numbers,
                            token,
                            &keys[head * size..][..size],
                            &values[head * size..][..size],
                        );
                    }
                }
            }
        }
    }

    /// Copies a page, for all layers.
    ///
    /// # Panics
    /// If there is no such page.
    pub fn copy_page(&mut self, from: u32, to: u32) {
        let count = self.shape.layers * self.shape.kv_heads * 2 * self.shape.head_numbers();
        let (from, to) = (self.at(from as usize, 0, 0), self.at(to as usize, 0, 0));
        match &mut self.numbers {
            KvElements::F32(numbers) => numbers.copy_within(from..from + count, to),
            KvElements::F16(numbers) => numbers.copy_within(from..from + count, to),
        }
    }

    /// Returns the key and value of a token's head, as stored.
    ///
    /// # Panics
    /// If there is no such layer, page or head.
    pub fn read(&self, layer: usize, pages: &[u32], token: usize, head: usize) -> (Vec<f32>, Vec<f32>) {
        let (page, token) = (pages[token / PAGE_TOKENS] as usize, token % PAGE_TOKENS);
        assert!(layer < self.shape.layers && head < self.shape.kv_heads, "layer {layer}, head {head}");
        let (at, size) = (self.at(page, layer, head), self.shape.head_size);
        let number = |index: usize| match &self.numbers {
            KvElements::F32(numbers) => numbers[at + index],
            KvElements::F16(numbers) => f16::from_bits(numbers[at + index]).to_f32(),
        };
        let key = (0..size).map(|i| number(i * PAGE_TOKENS + token)).collect();
        let value = (0..size).map(|i| number(self.shape.head_numbers() + token * size + i)).collect();
        (key, value)
    }
}

/// Writes a key and a value into a page's head.
fn write_token<T: Copy>(head: &mut [T], token: usize, key: &[T], value: &[T]) {
    let (keys, values) = head.split_at_mut(head.len() / 2);
    for (slot, key) in keys.iter_mut().skip(token).step_by(PAGE_TOKENS).zip(key) {
        *slot = *key;
    }
    values[token * value.len()..][..value.len()].copy_from_slice(value);
}

/// Converts two equally long rows to half precision, one after the other.
struct HalfPrecisionRows<'c> {
    from: [&'c [f32]; 2],
    to: &'c mut [u16],
}

impl Kernel for HalfPrecisionRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (from, to) in self.from.into_iter().zip(self.to.chunks_exact_mut(self.from[0].len())) {
            let count = from.len().min(to.len());
            for start in (0..count).step_by(S::LANES) {
                let left = count - start;
                // SAFETY: a vector is stored only if both sides have a whole one left.
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
