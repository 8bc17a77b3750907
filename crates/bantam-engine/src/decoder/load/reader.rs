//! Reads tensors as norms, as f32 layers and as packed weights.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use bantam_kernels::{AlignedBytes, F32Linear, PackedBytes, Packing, Pool, RmsNorm, Weights};
use bantam_weights::{Dtype, TensorView, WeightFile};
use half::f16;

use super::LoadDecoderErrorKind as Kind;
use super::config::{Architecture, DecoderConfig};
use crate::decoder::naming::{LinearSource, Naming, Norm, TensorPiece};

/// The context for reading one model.
pub(in crate::decoder) struct Reader<'r> {
    pub(in crate::decoder) config: &'r DecoderConfig,
    pub(in crate::decoder) file: &'r WeightFile,
    pub(in crate::decoder) naming: Naming,
}

impl<'r> Reader<'r> {
    /// Returns the values of a tensor, after checking that all are finite.
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

    /// Checks that every token has an embedding of a supported type.
    pub(super) fn check_embeddings(&self) -> Result<(), Kind> {
        let name = format!("{}.weight", self.naming.embeddings());
        let view = self.file.require(&name, &[self.config.vocabulary, self.config.hidden])?;
        let read = view.write_row(0, &mut vec![0.0; self.config.hidden]);
        read.map(drop).map_err(|source| Kind::Dequantise { tensor: name.into(), source })
    }

    /// Returns the norm with a name. transformers stores Gemma's gains minus 1.
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
    pub(super) fn bias(&self, linear: &LinearSource) -> Result<Option<Vec<f32>>, Kind> {
        if !linear.has_bias {
            return Ok(None);
        }
        let mut bias = Vec::with_capacity(linear.outputs());
        for piece in &linear.pieces {
            let stored = self.tensor(format!("{}.bias", piece.tensor), &[piece.outputs])?;
            bias.extend((0..piece.outputs).map(|output| stored[piece.row(output)]));
        }
        Ok(Some(bias))
    }

    fn views(&self, linear: &LinearSource) -> Result<Vec<TensorView<'r>>, Kind> {
        let view = |piece: &TensorPiece| {
            let name = format!("{}.weight", piece.tensor);
            let view = self.file.require(&name, &[piece.outputs, linear.inputs])?;
            let read = view.write_row(0, &mut vec![0.0; linear.inputs]);
            read.map_err(|source| Kind::Dequantise { tensor: name.into(), source })?;
            Ok(view)
        };
        linear.pieces.iter().map(view).collect()
    }

    /// Returns a layer in f32.
    pub(super) fn f32_linear(&self, linear: &LinearSource) -> Result<F32Linear, Kind> {
        let views = self.views(linear)?;
        let (outputs, inputs) = (linear.outputs(), linear.inputs);
        let mut weights = vec![0.0; outputs * inputs];
        for (output, row) in weights.chunks_exact_mut(inputs).enumerate() {
            write_row(linear, &views, output, row);
        }
        if !weights.iter().all(|number| number.is_finite()) {
            return Err(not_finite(linear));
        }
        let bias = self.bias(linear)?.unwrap_or_else(|| vec![0.0; outputs]);
        Ok(F32Linear::new(&weights, &bias, inputs))
    }

    /// Returns the packing of a layer's weights: 4 bits if the file has them in Q4_0, otherwise 8.
    pub(super) fn packing(&self, linear: &LinearSource) -> Result<Packing, Kind> {
        let views = self.views(linear)?;
        let is_int4 = views.iter().all(|view| view.dtype() == Dtype::Q4_0);
        Ok(if is_int4 { Packing::Int4 } else { Packing::Int8 })
    }

    /// Packs a layer's weights for the products.
    pub(super) fn pack(
        &self,
        linear: &LinearSource,
        packing: Packing,
        pool: &Pool,
    ) -> Result<PackedBytes, Kind> {
        let views = self.views(linear)?;
        let (outputs, inputs) = (linear.outputs(), linear.inputs);
        let bytes = packing.packed_bytes(outputs, inputs).unwrap_or_default();
        let mut packed = AlignedBytes::zeros(bytes);
        let is_finite = AtomicBool::new(true);
        let row = |output: usize, numbers: &mut [f32]| {
            write_row(linear, &views, output, numbers);
            if !numbers.iter().all(|number| number.is_finite()) {
                is_finite.store(false, Ordering::Relaxed);
            }
        };
        let all = |dtype| views.iter().all(|view| view.dtype() == dtype);
        if all(Dtype::Q8_0) || all(Dtype::Q4_0) {
            let rows = rows(linear, &views);
            let block = if all(Dtype::Q8_0) { Dtype::Q8_0 } else { Dtype::Q4_0 }.block_bytes();
            let mut scales = rows.chunks_exact(block).map(|block| f16::from_le_bytes([block[0], block[1]]));
            is_finite.store(scales.all(f16::is_finite), Ordering::Relaxed);
            let weights = if all(Dtype::Q8_0) { Weights::Q8_0(&rows) } else { Weights::Q4_0(&rows) };
            weights.pack(pool, outputs, inputs, packing, packed.as_mut());
        } else {
            Weights::Numbers(&row).pack(pool, outputs, inputs, packing, packed.as_mut());
        }
        match is_finite.into_inner() {
            true => Ok(packed.into()),
            false => Err(not_finite(linear)),
        }
    }
}

fn not_finite(linear: &LinearSource) -> Kind {
    Kind::NotFinite { tensor: linear.name().into() }
}

/// Returns the index of the piece that contains an output, and the output's row in its tensor.
fn locate(linear: &LinearSource, mut output: usize) -> Option<(usize, usize)> {
    for (index, piece) in linear.pieces.iter().enumerate() {
        if output < piece.outputs {
            return Some((index, piece.row(output)));
        }
        output -= piece.outputs;
    }
    None
}

/// Writes the weights of an output. The views were checked to be readable.
fn write_row(linear: &LinearSource, views: &[TensorView<'_>], output: usize, numbers: &mut [f32]) {
    let found = locate(linear, output).and_then(|(index, row)| views[index].write_row(row, numbers).ok());
    debug_assert_eq!(found, Some(true));
}

/// Returns the bytes of all outputs, copied only if the file has them in another order.
fn rows<'v>(linear: &LinearSource, views: &[TensorView<'v>]) -> Cow<'v, [u8]> {
    match (views, &*linear.pieces) {
        ([view], [piece]) if piece.interleaved.is_none() => Cow::Borrowed(view.bytes()),
        _ => {
            let mut bytes = Vec::with_capacity(views.iter().map(|view| view.bytes().len()).sum());
            for output in 0..linear.outputs() {
                let row = locate(linear, output).and_then(|(index, row)| views[index].row_bytes(row));
                bytes.extend(row.unwrap_or_default());
            }
            Cow::Owned(bytes)
        }
    }
}
