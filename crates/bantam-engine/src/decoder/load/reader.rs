//! Tensors of a file, as norms, as f32 layers and as packed weights.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use bantam_kernels::{AlignedBytes, F32Linear, PackedBytes, Packing, Pool, RmsNorm, Weights};
use bantam_weights::{Dtype, TensorView, WeightFile, f16_to_f32};

use super::LoadDecoderErrorKind as Kind;
use super::config::{Architecture, DecoderConfig};
use crate::decoder::plan::{Naming, Norm, Piece, Plan};

/// What reading the parts of one model needs.
pub(in crate::decoder) struct Reader<'r> {
    pub(in crate::decoder) config: &'r DecoderConfig,
    pub(in crate::decoder) file: &'r WeightFile,
    pub(in crate::decoder) naming: Naming,
}

impl<'r> Reader<'r> {
    /// Returns the numbers of a tensor, all finite.
    fn tensor(&self, name: String, shape: &[usize]) -> Result<Vec<f32>, Kind> {
        let view = self.file.require(&name, shape)?;
        let numbers = match view.to_f32() {
            Ok(numbers) => numbers,
            Err(source) => return Err(Kind::Dequantise { tensor: name.into(), source }),
        };
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => Err(Kind::NotFinite { tensor: name.into() }),
        }
    }

    /// Checks that every token has an embedding of a type that is read.
    pub(super) fn check_embeddings(&self) -> Result<(), Kind> {
        let name = format!("{}.weight", self.naming.embeddings());
        let view = self.file.require(&name, &[self.config.vocabulary, self.config.hidden])?;
        let read = view.write_row(0, &mut vec![0.0; self.config.hidden]);
        read.map(drop).map_err(|source| Kind::Dequantise { tensor: name.into(), source })
    }

    /// Returns the norm of a name. Gemma's gains are stored less 1 by transformers.
    pub(super) fn norm(&self, name: &str, width: usize) -> Result<RmsNorm, Kind> {
        let mut gain = self.tensor(format!("{name}.weight"), &[width])?;
        if self.config.architecture == Architecture::Gemma3 && self.naming == Naming::Transformers {
            gain.iter_mut().for_each(|gain| *gain += 1.0);
        }
        Ok(RmsNorm::new(gain, self.config.norm_epsilon))
    }

    /// Returns a norm of a layer.
    pub(super) fn layer_norm(&self, layer: usize, norm: Norm) -> Result<RmsNorm, Kind> {
        let width = match norm {
            Norm::Queries | Norm::Keys => self.config.head_size,
            _ => self.config.hidden,
        };
        self.norm(&self.naming.norm(self.config, layer, norm), width)
    }

    /// Returns a layer's bias, if it has one.
    pub(super) fn bias(&self, plan: &Plan) -> Result<Option<Vec<f32>>, Kind> {
        if !plan.has_bias {
            return Ok(None);
        }
        let mut bias = Vec::with_capacity(plan.outputs());
        for piece in &plan.pieces {
            let stored = self.tensor(format!("{}.bias", piece.tensor), &[piece.outputs])?;
            bias.extend((0..piece.outputs).map(|output| stored[piece.row(output)]));
        }
        Ok(Some(bias))
    }

    fn views(&self, plan: &Plan) -> Result<Vec<TensorView<'r>>, Kind> {
        let view = |piece: &Piece| {
            let name = format!("{}.weight", piece.tensor);
            let view = self.file.require(&name, &[piece.outputs, plan.inputs])?;
            let read = view.write_row(0, &mut vec![0.0; plan.inputs]);
            read.map_err(|source| Kind::Dequantise { tensor: name.into(), source })?;
            Ok(view)
        };
        plan.pieces.iter().map(view).collect()
    }

    /// Returns a layer as it was trained.
    pub(super) fn f32_linear(&self, plan: &Plan) -> Result<F32Linear, Kind> {
        let views = self.views(plan)?;
        let (outputs, inputs) = (plan.outputs(), plan.inputs);
        let mut weights = vec![0.0; outputs * inputs];
        for (output, row) in weights.chunks_exact_mut(inputs).enumerate() {
            write_row(plan, &views, output, row);
        }
        if !weights.iter().all(|number| number.is_finite()) {
            return Err(not_finite(plan));
        }
        let bias = self.bias(plan)?.unwrap_or_else(|| vec![0.0; outputs]);
        Ok(F32Linear::new(&weights, &bias, inputs))
    }

    /// Returns how a layer's weights are held: in 4 bits where the file has them so, in 8 otherwise.
    pub(super) fn packing(&self, plan: &Plan) -> Result<Packing, Kind> {
        let views = self.views(plan)?;
        let is_int4 = views.iter().all(|view| view.dtype() == Dtype::Q4_0);
        Ok(if is_int4 { Packing::Int4 } else { Packing::Int8 })
    }

    /// Lays out a layer's weights for the products.
    pub(super) fn pack(&self, plan: &Plan, packing: Packing, pool: &Pool) -> Result<PackedBytes, Kind> {
        let views = self.views(plan)?;
        let (outputs, inputs) = (plan.outputs(), plan.inputs);
        let bytes = packing.packed_bytes(outputs, inputs).unwrap_or_default();
        let mut packed = AlignedBytes::zeros(bytes);
        let is_finite = AtomicBool::new(true);
        let row = |output: usize, numbers: &mut [f32]| {
            write_row(plan, &views, output, numbers);
            if !numbers.iter().all(|number| number.is_finite()) {
                is_finite.store(false, Ordering::Relaxed);
            }
        };
        let all = |dtype| views.iter().all(|view| view.dtype() == dtype);
        if all(Dtype::Q8_0) || all(Dtype::Q4_0) {
            let rows = rows(plan, &views);
            let block = if all(Dtype::Q8_0) { Dtype::Q8_0 } else { Dtype::Q4_0 }.block_bytes();
            let scales = rows.chunks_exact(block).map(|block| u16::from_le_bytes([block[0], block[1]]));
            is_finite.store(scales.map(f16_to_f32).all(f32::is_finite), Ordering::Relaxed);
            let weights = if all(Dtype::Q8_0) { Weights::Q8_0(&rows) } else { Weights::Q4_0(&rows) };
            weights.pack(pool, outputs, inputs, packing, packed.as_mut());
        } else {
            Weights::Numbers(&row).pack(pool, outputs, inputs, packing, packed.as_mut());
        }
        match is_finite.into_inner() {
            true => Ok(packed.into()),
            false => Err(not_finite(plan)),
        }
    }
}

fn not_finite(plan: &Plan) -> Kind {
    Kind::NotFinite { tensor: plan.name().into() }
}

/// Returns the piece that has an output, its place among the pieces, and the output's row in its tensor.
fn locate(plan: &Plan, mut output: usize) -> Option<(usize, usize)> {
    for (place, piece) in plan.pieces.iter().enumerate() {
        if output < piece.outputs {
            return Some((place, piece.row(output)));
        }
        output -= piece.outputs;
    }
    None
}

/// Writes the weights of an output. The views were checked to be readable when they were taken.
fn write_row(plan: &Plan, views: &[TensorView<'_>], output: usize, numbers: &mut [f32]) {
    let found = locate(plan, output).and_then(|(place, row)| views[place].write_row(row, numbers).ok());
    debug_assert_eq!(found, Some(true));
}

/// Returns the bytes of all outputs, copied only where the file has them in another order.
fn rows<'v>(plan: &Plan, views: &[TensorView<'v>]) -> Cow<'v, [u8]> {
    match (views, &*plan.pieces) {
        ([view], [piece]) if piece.interleaved.is_none() => Cow::Borrowed(view.bytes()),
        _ => {
            let mut bytes = Vec::with_capacity(views.iter().map(|view| view.bytes().len()).sum());
            for output in 0..plan.outputs() {
                let row = locate(plan, output).and_then(|(place, row)| views[place].row_bytes(row));
                bytes.extend(row.unwrap_or_default());
            }
            Cow::Owned(bytes)
        }
    }
}
