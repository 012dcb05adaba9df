//! Convolutions with a maximum over 2 x 2 pixels behind them, of batches of images, in parallel.

use super::{scratch, sum_parts};
use crate::error::{Error, Result};
use crate::parallel::{Control, each_mut};
use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::convpool::{ConvPool, Shape};
use ironlearn_kernels::gemm::Activation;
use ironlearn_kernels::tier;

/// Multiplications that a chunk of images is worth.
const CHUNK: usize = 1 << 24;
/// Images of a chunk at most.
const MOST: usize = 16;
/// Partial sums of the weights' gradient at most.
const MOST_SUMS: usize = 8;

/// A convolution over whole batches.
#[derive(Clone, Debug)]
pub struct Layer {
    conv: ConvPool,
    /// Images of a chunk.
    chunk: usize,
}

impl Layer {
    /// The layer of that shape, or an error that says what it does not take.
    pub fn new(shape: Shape, activation: Activation) -> Result<Layer> {
        if !shape.fits() {
            return Err(Error::TooLarge {
                what: "a convolution",
                given: format!("{shape:?}"),
                limit: "2^31 numbers in an image, an output and the weights".into(),
            });
        }
        if !ConvPool::covers(&shape) {
            return Err(Error::Shape {
                name: "x",
                given: format!("{shape:?}"),
                expected: "stride and dilation 1, and at least 2 x 2 patches".into(),
            });
        }
        let pixels = shape.out_pixels().saturating_mul(shape.weights_len());
        let chunk = (CHUNK / pixels.max(1)).clamp(1, MOST);
        Ok(Layer {
            conv: ConvPool::new(tier::active(), shape, activation, chunk),
            chunk,
        })
    }

    /// Rows and columns of the answer.
    pub fn pooled(&self) -> [usize; 2] {
        self.conv.pooled()
    }

    /// Place in the unpooled image of pixel `which` of a cell.
    fn place(&self, cell: usize, which: u8) -> i32 {
        let (wide, [_, columns]) = (self.conv.shape().out_width(), self.conv.pooled());
        let (row, column) = (2 * (cell / columns), 2 * (cell % columns));
        let which = usize::from(which);
        ((row + which / 2) * wide + column + which % 2) as i32
    }

    /// Which of a cell's pixels is at `place`, if one is.
    fn which(&self, cell: usize, place: i32) -> Option<u8> {
        let wide = self.conv.shape().out_width() as i32;
        let off = place - self.place(cell, 0);
        match off {
            0 | 1 => Some(off as u8),
            _ if off == wide || off == wide + 1 => Some((off - wide) as u8 + 2),
            _ => None,
        }
    }

    /// Writes the maxima to `y` and their places in the unpooled image to `argmax`.
    pub fn forward(
        &self,
        control: &Control,
        x: &[f32],
        w: &[f32],
        b: Option<&[f32]>,
        y: &mut [f32],
        argmax: &mut [i32],
    ) -> Result<()> {
        let (one_in, one_out) = (self.conv.shape().input_len(), self.conv.pooled_len());
        let mut packed = Buffer::zeros(self.conv.packed_len());
        self.conv.pack(w, b, &mut packed);
        let filters = self.conv.shape().filters;
        let mut chunks: Vec<_> = x
            .chunks(self.chunk * one_in)
            .zip(y.chunks_mut(self.chunk * one_out))
            .zip(argmax.chunks_mut(self.chunk * one_out))
            .collect();
        each_mut(control, &mut chunks, |((x, y), argmax)| {
            scratch::with(|[a, ..]| {
                let mut bytes = vec![0; y.len()];
                let scratch = a.take(self.conv.scratch_len());
                self.conv.forward(x, &packed, y, &mut bytes, scratch);
                for (i, (argmax, &which)) in argmax.iter_mut().zip(&bytes).enumerate() {
                    *argmax = self.place(i % one_out / filters, which);
                }
            });
            Ok(())
        })?;
        Ok(())
    }

    /// Writes the gradients of weights and bias to `gw` and `gb`, and that of the input to `gx`
    /// where it is wanted.
    pub fn backward(
        &self,
        control: &Control,
        x: &[f32],
        w: &[f32],
        y: &[f32],
        argmax: &[i32],
        gy: &[f32],
        gw: &mut [f32],
        gb: &mut [f32],
        gx: Option<&mut [f32]>,
    ) -> Result<()> {
        let shape = self.conv.shape();
        let (one_in, one_out) = (shape.input_len(), self.conv.pooled_len());
        let images = y.len() / one_out;
        let mut turned = Buffer::new();
        if gx.is_some() {
            turned.resize(self.conv.turned_len());
            self.conv.turn(w, &mut turned);
        }
        // Sums begin and end by the number of images alone.
        let sums = images.div_ceil(self.chunk).clamp(1, MOST_SUMS);
        let mut rest = gx;
        let mut parts: Vec<_> = (0..sums)
            .map(|s| {
                let (from, to) = (s * images / sums, (s + 1) * images / sums);
                let own = rest.take().map(|all| {
                    let (own, others) = all.split_at_mut((to - from) * one_in);
                    rest = Some(others);
                    own
                });
                (from, to, own)
            })
            .collect();
        let wide = gw.len();
        let found = each_mut(control, &mut parts, |(from, to, gx)| {
            let mut sum = vec![0.0f32; wide + gb.len()];
            let (gw, gb) = sum.split_at_mut(wide);
            let mut bytes = vec![0; self.chunk * one_out];
            for first in (*from..*to).step_by(self.chunk) {
                let last = (first + self.chunk).min(*to);
                let (inside, outside) = (
                    first * one_in..last * one_in,
                    first * one_out..last * one_out,
                );
                let bytes = &mut bytes[..outside.len()];
                for (i, (byte, &place)) in
                    bytes.iter_mut().zip(&argmax[outside.clone()]).enumerate()
                {
                    let cell = i % one_out / shape.filters;
                    *byte = self.which(cell, place).ok_or_else(|| Error::Shape {
                        name: "argmax",
                        given: format!("place {place} for cell {cell}"),
                        expected: "places inside their cells".into(),
                    })?;
                }
                let gx = gx.as_deref_mut().map(|gx| {
                    let gx = &mut gx[(first - *from) * one_in..(last - *from) * one_in];
                    (gx, &turned[..])
                });
                scratch::with(|[a, g, ..]| {
                    let g = g.take(outside.len());
                    g.copy_from_slice(&gy[outside.clone()]);
                    let scratch = a.take(self.conv.scratch_len());
                    let (x, y) = (&x[inside], &y[outside]);
                    self.conv
                        .backward(x, y, bytes, g, gw, Some(&mut *gb), gx, scratch);
                });
            }
            Ok(sum)
        })?;
        let sum = sum_parts(&found, wide + gb.len());
        gw.copy_from_slice(&sum[..wide]);
        gb.copy_from_slice(&sum[wide..]);
        Ok(())
    }
}
