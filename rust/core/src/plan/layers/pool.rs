//! Pooling over windows of an image, or over all positions.

use crate::error::Result;
use crate::plan::layer::{CHUNK, Layer, Pass, Sizes, Weights, Workspace, bad_input, invalid};
use std::ops::Range;

/// Which number stands for a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The largest, the first among equals.
    Max,
    /// The mean of those inside the image.
    Average,
}

/// Pooling over windows of images (height, width, channels).
#[derive(Clone, Debug)]
pub struct Pool {
    kind: Kind,
    input: [usize; 3],
    size: (usize, usize),
    stride: (usize, usize),
    /// Top and left.
    padding: (usize, usize),
    output: Vec<usize>,
}

/// Bytes of a saved position.
const PLACE: usize = 4;

impl Pool {
    /// Windows of `size`, `stride` apart, on images padded by `padding` (top, bottom, left,
    /// right).
    pub fn new(
        layer: usize,
        input: &[usize],
        kind: Kind,
        size: (usize, usize),
        stride: (usize, usize),
        padding: [usize; 4],
    ) -> Result<Self> {
        let name = match kind {
            Kind::Max => "max_pool2d",
            Kind::Average => "avg_pool2d",
        };
        let &[h, w, c] = input else {
            return Err(bad_input(layer, name, input, "(height, width, channels)"));
        };
        let [top, bottom, left, right] = padding;
        let pairs = [
            (h, size.0, stride.0, top, bottom),
            (w, size.1, stride.1, left, right),
        ];
        let mut cells = [0; 2];
        for (cell, (n, size, stride, before, after)) in cells.iter_mut().zip(pairs) {
            if size == 0 || stride == 0 {
                let given = format!("{size} and {stride}");
                return Err(invalid(
                    layer,
                    name,
                    "size and stride",
                    &given,
                    "at least 1",
                ));
            }
            if before >= size || after >= size {
                let given = format!("{before} and {after}");
                return Err(invalid(
                    layer,
                    name,
                    "padding",
                    &given,
                    "less than the window",
                ));
            }
            if n + before + after < size {
                let expected = format!("at least {size} rows and columns");
                return Err(bad_input(layer, name, input, &expected));
            }
            *cell = (n + before + after - size) / stride + 1;
        }
        Ok(Pool {
            kind,
            input: [h, w, c],
            size,
            stride,
            padding: (top, left),
            output: vec![cells[0], cells[1], c],
        })
    }

    /// Pooling over all positions of samples (..., channels).
    pub fn global(layer: usize, input: &[usize], kind: Kind) -> Result<Self> {
        let name = match kind {
            Kind::Max => "global_max_pool",
            Kind::Average => "global_avg_pool",
        };
        match input.split_last() {
            Some((&c, before)) if !before.is_empty() && !before.contains(&0) => {
                let positions = before.iter().product();
                Ok(Pool {
                    kind,
                    input: [1, positions, c],
                    size: (1, positions),
                    stride: (1, 1),
                    padding: (0, 0),
                    output: vec![c],
                })
            }
            _ => Err(bad_input(layer, name, input, "(positions, channels)")),
        }
    }

    fn cells(&self) -> (usize, usize) {
        match self.output[..] {
            [h, w, _] => (h, w),
            _ => (1, 1),
        }
    }

    /// Calls `f` with the number of each output cell and the rows and columns of its window.
    fn windows(&self, mut f: impl FnMut(usize, Range<usize>, Range<usize>)) {
        let (oh, ow) = self.cells();
        let range = |at: usize, stride: usize, size: usize, before: usize, n: usize| {
            let from = (at * stride).saturating_sub(before);
            from..(at * stride + size - before.min(at * stride + size)).min(n)
        };
        for i in 0..oh {
            let rows = range(i, self.stride.0, self.size.0, self.padding.0, self.input[0]);
            for j in 0..ow {
                let columns = range(j, self.stride.1, self.size.1, self.padding.1, self.input[1]);
                f(i * ow + j, rows.clone(), columns);
            }
        }
    }

    fn lens(&self) -> (usize, usize) {
        let (oh, ow) = self.cells();
        let c = self.input[2];
        (self.input[0] * self.input[1] * c, oh * ow * c)
    }
}

impl Layer for Pool {
    fn kind(&self) -> &'static str {
        match (self.kind, self.output.len()) {
            (Kind::Max, 3) => "max_pool2d",
            (Kind::Average, 3) => "avg_pool2d",
            (Kind::Max, _) => "global_max_pool",
            (Kind::Average, _) => "global_avg_pool",
        }
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn sizes(&self) -> Sizes {
        let kept = match self.kind {
            Kind::Max => CHUNK * self.lens().1 * PLACE,
            Kind::Average => 0,
        };
        Sizes {
            saved_bytes: kept,
            ..Sizes::default()
        }
    }

    fn forward(
        &self,
        pass: &Pass,
        _: &Weights,
        input: &[f32],
        output: &mut [f32],
        work: &mut Workspace,
    ) {
        let (width, c) = (self.input[1], self.input[2]);
        let (from_len, to_len) = self.lens();
        for s in 0..pass.samples {
            let x = &input[s * from_len..][..from_len];
            let y = &mut output[s * to_len..][..to_len];
            let mut places = work.bytes.get_mut(s * to_len * PLACE..).unwrap_or_default();
            if self.kind == Kind::Average || !pass.training {
                places = &mut [];
            }
            self.windows(|cell, rows, columns| {
                let y = &mut y[cell * c..][..c];
                let count = (rows.len() * columns.len()) as f32;
                let positions = rows.flat_map(|i| columns.clone().map(move |j| i * width + j));
                match self.kind {
                    Kind::Average => {
                        y.fill(0.0);
                        for p in positions {
                            for (y, x) in y.iter_mut().zip(&x[p * c..][..c]) {
                                *y += x;
                            }
                        }
                        y.iter_mut().for_each(|y| *y /= count);
                    }
                    Kind::Max if places.is_empty() => {
                        y.fill(f32::NEG_INFINITY);
                        for p in positions {
                            for (y, &x) in y.iter_mut().zip(&x[p * c..][..c]) {
                                *y = if x > *y || x.is_nan() { x } else { *y };
                            }
                        }
                    }
                    Kind::Max => {
                        let places = &mut places[cell * c * PLACE..][..c * PLACE];
                        let mut first = true;
                        for p in positions {
                            let word = (p as u32).to_le_bytes();
                            let cells = y.iter_mut().zip(places.chunks_exact_mut(PLACE));
                            for ((y, place), &x) in cells.zip(&x[p * c..][..c]) {
                                // NaN wins, so that it does not go unnoticed.
                                if first || x > *y || x.is_nan() {
                                    *y = x;
                                    place.copy_from_slice(&word);
                                }
                            }
                            first = false;
                        }
                    }
                }
            });
        }
    }

    fn backward(
        &self,
        pass: &Pass,
        _: &Weights,
        _input: &[f32],
        _output: &[f32],
        gout: &mut [f32],
        gin: Option<&mut [f32]>,
        _grads: &mut [f32],
        work: &mut Workspace,
    ) {
        let Some(gin) = gin else { return };
        gin.fill(0.0);
        let (width, c) = (self.input[1], self.input[2]);
        let (from_len, to_len) = self.lens();
        for s in 0..pass.samples {
            let o = &mut gin[s * from_len..][..from_len];
            let g = &gout[s * to_len..][..to_len];
            match self.kind {
                Kind::Max => {
                    let places = work.bytes[s * to_len * PLACE..].chunks_exact(PLACE);
                    for (i, (g, place)) in g.iter().zip(places).enumerate() {
                        let p = place.try_into().map_or(0, u32::from_le_bytes) as usize;
                        o[p * c + i % c] += g;
                    }
                }
                Kind::Average => self.windows(|cell, rows, columns| {
                    let share = 1.0 / (rows.len() * columns.len()) as f32;
                    for i in rows {
                        for p in columns.clone().map(|j| i * width + j) {
                            let cells = o[p * c..][..c].iter_mut().zip(&g[cell * c..][..c]);
                            cells.for_each(|(o, g)| *o += g * share);
                        }
                    }
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::layers::check::{Case, check};

    fn naive(kind: Kind, x: &[f64], input: [usize; 3], pool: &Pool) -> Vec<f64> {
        let [h, w, c] = input;
        let (oh, ow) = pool.cells();
        let mut out = Vec::new();
        for image in x.chunks_exact(h * w * c) {
            for i in 0..oh {
                for j in 0..ow {
                    for k in 0..c {
                        let mut all = Vec::new();
                        for a in 0..pool.size.0 {
                            for b in 0..pool.size.1 {
                                let y = (i * pool.stride.0 + a).wrapping_sub(pool.padding.0);
                                let z = (j * pool.stride.1 + b).wrapping_sub(pool.padding.1);
                                if y < h && z < w {
                                    all.push(image[(y * w + z) * c + k]);
                                }
                            }
                        }
                        out.push(match kind {
                            Kind::Max => all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                            Kind::Average => all.iter().sum::<f64>() / all.len() as f64,
                        });
                    }
                }
            }
        }
        out
    }

    #[test]
    fn windows_agree_with_naive_code() {
        for kind in [Kind::Max, Kind::Average] {
            for (size, stride, padding) in [
                ((2, 2), (2, 2), [0; 4]),
                ((3, 2), (1, 2), [1, 2, 0, 1]),
                ((2, 3), (3, 1), [0, 1, 2, 2]),
                ((1, 1), (2, 2), [0; 4]),
            ] {
                let input = [5, 4, 3];
                let layer = Pool::new(0, &input, kind, size, stride, padding).unwrap();
                check(&Case::new(&layer, &input), |_, x| {
                    naive(kind, x, input, &layer)
                });
            }
            let layer = Pool::global(0, &[3, 2, 4], kind).unwrap();
            check(&Case::new(&layer, &[3, 2, 4]), |_, x| {
                naive(kind, x, [1, 6, 4], &layer)
            });
        }
    }

    #[test]
    fn bad_windows_are_refused() {
        let new = |input: &[usize], size, stride, padding| {
            Pool::new(2, input, Kind::Max, size, stride, padding)
        };
        assert!(new(&[4, 4], (2, 2), (2, 2), [0; 4]).is_err());
        assert!(new(&[4, 4, 1], (0, 2), (2, 2), [0; 4]).is_err());
        assert!(new(&[4, 4, 1], (2, 2), (0, 2), [0; 4]).is_err());
        assert!(new(&[4, 4, 1], (2, 2), (2, 2), [2, 0, 0, 0]).is_err());
        assert!(new(&[4, 4, 1], (5, 2), (2, 2), [0; 4]).is_err());
        assert!(Pool::global(0, &[4], Kind::Max).is_err());
    }
}
