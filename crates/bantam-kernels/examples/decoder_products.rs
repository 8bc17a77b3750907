//! Times the matrix products and the attention of a decoder step, and compares them with the machine's peak.
//!
//! `cargo run --release -p bantam-kernels --example decoder_products -- [135m|0.6b] [threads] [rounds] [rows,…]`

use std::io::Write;
use std::time::Instant;

use bantam_kernels::{
    AlignedBytes, AttendOptions, AttendScratch, AttendSpan, Columns, Gate, GroupedLinear, GroupedRows,
    KvPrecision, KvShape, KvStore, Packing, Pool, RmsNorm, attend, gated_quantise, peak_int8, peak_read,
};

#[derive(Clone, Copy)]
struct Shape {
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    ffn: usize,
    layers: usize,
    vocabulary: usize,
}

const SMALL: Shape =
    Shape { hidden: 576, heads: 9, kv_heads: 3, head_size: 64, ffn: 1536, layers: 30, vocabulary: 49_152 };
const LARGE: Shape = Shape {
    hidden: 1024,
    heads: 16,
    kv_heads: 8,
    head_size: 128,
    ffn: 3072,
    layers: 28,
    vocabulary: 151_936,
};

/// All layers of a shape, with random weights.
struct Model {
    layers: Vec<[GroupedLinear; 4]>,
    head: GroupedLinear,
    packing: Packing,
}

impl Model {
    fn new(shape: Shape, packing: Packing) -> Self {
        let mut state = 88_172_645_463_325_252_u64;
        let mut layer = |outputs: usize, inputs: usize| {
            let count = packing.packed_bytes(outputs, inputs).unwrap_or(0);
            let mut bytes = AlignedBytes::zeros(count);
            let block = if packing == Packing::Int8 { 1088 } else { 576 };
            for block in bytes.as_mut().chunks_exact_mut(block) {
                let (scales, weights) = block.split_at_mut(64);
                scales.chunks_exact_mut(2).for_each(|scale| scale.copy_from_slice(&[0, 0x14]));
                for eight in weights.chunks_exact_mut(8) {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    eight.copy_from_slice(&state.to_le_bytes());
                }
            }
            GroupedLinear::from_packed(bytes.into(), outputs, inputs, packing).ok()
        };
        let Shape { hidden, heads, kv_heads, head_size, ffn, .. } = shape;
        let mut layers = Vec::new();
        for _ in 0..shape.layers {
            let four = [
                layer((heads + 2 * kv_heads) * head_size, hidden),
                layer(hidden, heads * head_size),
                layer(2 * ffn, hidden),
                layer(hidden, ffn),
            ];
            if let [Some(qkv), Some(out), Some(up), Some(down)] = four {
                layers.push([qkv, out, up, down]);
            }
        }
        let head = loop {
            if let Some(head) = layer(shape.vocabulary, hidden) {
                break head;
            }
        };
        Self { layers, head, packing }
    }

    /// Rows of the output head: all when decoding, only the last after a prefill.
    fn head_rows(rows: usize) -> usize {
        if rows <= 16 { rows } else { 1 }
    }

    fn products(&self) -> impl Iterator<Item = (&GroupedLinear, bool)> {
        let layers = self.layers.iter().flatten().map(|layer| (layer, false));
        layers.chain(std::iter::once((&self.head, true)))
    }

    fn operations(&self, rows: usize) -> f64 {
        let of = |(layer, is_head): (&GroupedLinear, bool)| {
            2 * layer.inputs() * layer.outputs() * if is_head { Self::head_rows(rows) } else { rows }
        };
        self.products().map(of).sum::<usize>() as f64
    }

    fn bytes(&self) -> f64 {
        self.products().map(|(layer, _)| layer.bytes().as_slice().len()).sum::<usize>() as f64
    }

    /// Runs all products on inputs of matching width. Returns the seconds.
    fn time(&self, pool: &Pool, rows: usize, inputs: &[GroupedRows], outputs: &mut [f32]) -> f64 {
        let begun = Instant::now();
        for (layer, is_head) in self.products() {
            let count = if is_head { Self::head_rows(rows) } else { rows };
            let inputs =
                inputs.iter().find(|inputs| inputs.width() == layer.inputs() && inputs.len() == count);
            if let Some(inputs) = inputs {
                layer.forward(pool, inputs, &mut outputs[..count * layer.outputs()]);
            }
        }
        begun.elapsed().as_secs_f64()
    }
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 1000.0).collect()
}

fn inputs(pool: &Pool, shape: Shape, rows: usize) -> Vec<GroupedRows> {
    let mut all = Vec::new();
    for count in [rows, Model::head_rows(rows)] {
        for width in [shape.hidden, shape.heads * shape.head_size, shape.ffn] {
            let mut quantised = GroupedRows::default();
            quantised.quantise(pool, &numbers(count * width), width);
            all.push(quantised);
        }
    }
    all
}

/// The parts of all layers that are not products, for `rows` new tokens after `cached`: attention and cache writes.
struct Rest {
    shape: Shape,
    store: KvStore,
    pages: Vec<u32>,
    scratch: AttendScratch,
}

impl Rest {
    fn new(shape: Shape, tokens: usize, precision: KvPrecision) -> Self {
        let Shape { layers, kv_heads, head_size, .. } = shape;
        let kv = KvShape { layers, kv_heads, head_size, precision };
        let pages: Vec<u32> = (0..tokens.div_ceil(16) as u32).rev().collect();
        let mut store = KvStore::new(kv, pages.len());
        let rows = numbers(tokens * kv_heads * head_size);
        let columns = Columns::new(&rows, kv_heads * head_size, 0);
        (0..layers).for_each(|layer| store.write(layer, &pages, 0, columns, columns));
        Self { shape, store, pages, scratch: AttendScratch::default() }
    }

    fn attend(&mut self, pool: &Pool, rows: usize, cached: usize) -> f64 {
        let width = self.shape.heads * self.shape.head_size;
        let (queries, mut outputs) = (numbers(rows * width), vec![0.0; rows * width]);
        let scale = 1.0 / (self.shape.head_size as f32).sqrt();
        let options = AttendOptions { heads: self.shape.heads, scale, softcap: None };
        let spans = [AttendSpan { rows: 0..rows, pages: &self.pages, start: cached, window: None }];
        let begun = Instant::now();
        for layer in 0..self.shape.layers {
            let (queries, store) = (Columns::new(&queries, width, 0), (&self.store, layer));
            attend(pool, store, queries, options, &spans, &mut self.scratch, &mut outputs);
        }
        begun.elapsed().as_secs_f64()
    }

    fn write(&mut self, rows: usize, cached: usize) -> f64 {
        let width = self.shape.kv_heads * self.shape.head_size;
        let numbers = numbers(rows * width);
        let columns = Columns::new(&numbers, width, 0);
        let begun = Instant::now();
        (0..self.shape.layers)
            .for_each(|layer| self.store.write(layer, &self.pages, cached, columns, columns));
        begun.elapsed().as_secs_f64()
    }
}

fn norms(pool: &Pool, shape: Shape, rows: usize) -> f64 {
    let norm = RmsNorm::new(numbers(shape.hidden), 1e-5);
    let mut hidden = numbers(rows * shape.hidden);
    let mut quantised = GroupedRows::default();
    let begun = Instant::now();
    for _ in 0..2 * shape.layers {
        norm.quantise(pool, &mut hidden, bantam_kernels::Addend::None, &mut quantised);
    }
    begun.elapsed().as_secs_f64()
}

fn gates(pool: &Pool, shape: Shape, rows: usize) -> f64 {
    let both = numbers(rows * 2 * shape.ffn);
    let mut quantised = GroupedRows::default();
    let begun = Instant::now();
    for _ in 0..shape.layers {
        gated_quantise(pool, Gate::Silu, &both, shape.ffn, &mut quantised);
    }
    begun.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the timings of everything but products.
fn print_rest(out: &mut impl Write, pool: &Pool, shape: Shape, rounds: usize) -> std::io::Result<()> {
    for precision in [KvPrecision::F32, KvPrecision::F16] {
        let mut rest = Rest::new(shape, 512, precision);
        for (rows, cached) in [(1, 360), (8, 360), (60, 300), (512, 0)] {
            let attention = median((0..rounds).map(|_| rest.attend(pool, rows, cached)).collect());
            let write = median(
                (0..rounds).map(|_| rest.write(rows, if cached + rows > 512 { 0 } else { cached })).collect(),
            );
            let seen: usize = (0..rows).map(|row| cached + row + 1).sum();
            let flops = (4 * seen * shape.heads * shape.head_size * shape.layers) as f64;
            writeln!(
                out,
                "{precision:?}: attention of {rows} on {cached}: {:.2} ms, {:.0} GFLOP/s; writing {:.2} ms",
                attention * 1e3,
                flops / attention / 1e9,
                write * 1e3
            )?;
        }
    }
    for rows in [1, 8, 60, 512] {
        let norms = median((0..rounds).map(|_| norms(pool, shape, rows)).collect());
        let gates = median((0..rounds).map(|_| gates(pool, shape, rows)).collect());
        writeln!(out, "rows {rows}: norms {:.2} ms, gates {:.2} ms", norms * 1e3, gates * 1e3)?;
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: usize| {
        arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let shape = if arguments.first().is_some_and(|name| name == "0.6b") { LARGE } else { SMALL };
    let pool = Pool::new(argument(1, 2));
    let rounds = argument(2, 7);
    let rows: Vec<usize> = arguments
        .get(3)
        .map_or("1,8,60,512", String::as_str)
        .split(',')
        .filter_map(|rows| rows.parse().ok())
        .collect();
    let mut out = std::io::stdout().lock();
    let models = [Packing::Int8, Packing::Int4].map(|packing| Model::new(shape, packing));
    let buffer = &models[0].head.bytes().as_slice();
    writeln!(out, "{} on {} threads, {rounds} rounds, median", pool.isa().name(), pool.threads())?;
    let most = rows.iter().copied().max().unwrap_or(1);
    let largest = (most * 2 * shape.ffn).max(16 * shape.vocabulary).max(most * shape.hidden * 4);
    let mut outputs = vec![0.0; largest];
    for rows in rows {
        let inputs = inputs(&pool, shape, rows);
        let mut times = models.each_ref().map(|_| Vec::new());
        for _ in 0..rounds {
            for (model, times) in models.iter().zip(&mut times) {
                let (before, read) = (peak_int8(&pool), peak_read(&pool, buffer));
                let time = model.time(&pool, rows, &inputs, &mut outputs);
                times.push([
                    time,
                    (before + peak_int8(&pool)) / 2.0,
                    (read + peak_read(&pool, buffer)) / 2.0,
                ]);
            }
        }
        for (model, times) in models.iter().zip(times) {
            let (operations, bytes) = (model.operations(rows), model.bytes());
            let of = |what: &dyn Fn(&[f64; 3]) -> f64| median(times.iter().map(what).collect());
            let (time, least) = (of(&|at| at[0]), times.iter().map(|at| at[0]).fold(f64::INFINITY, f64::min));
            writeln!(
                out,
                "rows {rows:>3} {:?}: {:8.2} ms (best {:8.2}) {:6.0} GOP/s = {:3.0} % of {:4.0}; {:5.1} GB/s = {:3.0} % of {:4.1}",
                model.packing,
                time * 1e3,
                least * 1e3,
                operations / time / 1e9,
                100.0 * of(&|at| operations / at[0] / at[1]),
                of(&|at| at[1]) / 1e9,
                bytes / time / 1e9,
                100.0 * of(&|at| bytes / at[0] / at[2]),
                of(&|at| at[2]) / 1e9,
            )?;
        }
    }
    print_rest(&mut out, &pool, shape, rounds)
}
