//! Rows of a table by number.

use crate::error::{Error, Result};
use crate::plan::layer::{Layer, Parameter, Pass, Weights, Workspace, invalid};
use std::ops::Range;

/// The first layer of a network that takes integers: each becomes a row of a table.
#[derive(Clone, Debug)]
pub struct Embedding {
    rows: usize,
    width: usize,
    mask_zero: bool,
    output: Vec<usize>,
    parameters: Vec<Parameter>,
}

impl Embedding {
    /// A table of `rows` rows of `width` numbers.
    pub fn new(
        layer: usize,
        input: &[usize],
        rows: usize,
        width: usize,
        mask_zero: bool,
    ) -> Result<Self> {
        if layer != 0 {
            return Err(invalid(
                layer,
                "embedding",
                "position",
                &layer.to_string(),
                "0: only a network's first layer takes integers",
            ));
        }
        for (name, value) in [("rows", rows), ("width", width)] {
            if value == 0 {
                return Err(invalid(layer, "embedding", name, "0", "at least 1"));
            }
        }
        let mut output = input.to_vec();
        output.push(width);
        Ok(Embedding {
            rows,
            width,
            mask_zero,
            output,
            parameters: vec![Parameter {
                name: "embeddings",
                shape: vec![rows, width],
            }],
        })
    }

    /// Numbers in a row of the table.
    pub fn width(&self) -> usize {
        self.width
    }

    /// An error unless every number names a row of the table.
    pub fn check_ids(&self, ids: &[i32]) -> Result<()> {
        match ids.iter().find(|&&id| id < 0 || id as usize >= self.rows) {
            None => Ok(()),
            Some(id) => Err(Error::InvalidParameter {
                name: "x",
                given: id.to_string(),
                expected: format!(
                    "integers from 0 to {} for layer 0 (embedding)",
                    self.rows - 1
                ),
            }),
        }
    }

    /// Adds the gradients of the table's `rows` to `out`: those of `gradient` (one row for each
    /// of `ids`, in this order) that belong there.
    ///
    /// Every task that owns some rows scans all numbers; that is cheaper than sorting them,
    /// since a number is 4 bytes and its gradient hundreds.
    pub fn add_rows(&self, rows: Range<usize>, ids: &[i32], gradient: &[f32], out: &mut [f32]) {
        let width = self.width;
        for (&id, g) in ids.iter().zip(gradient.chunks_exact(width)) {
            let id = id as usize;
            if rows.contains(&id) {
                let at = (id - rows.start) * width;
                for (o, g) in out[at..at + width].iter_mut().zip(g) {
                    *o += g;
                }
            }
        }
    }
}

impl Layer for Embedding {
    fn kind(&self) -> &'static str {
        "embedding"
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn forward(
        &self,
        pass: &Pass,
        weights: &Weights,
        _input: &[f32],
        output: &mut [f32],
        _work: &mut Workspace,
    ) {
        let table = weights.params[0];
        let rows = output.chunks_exact_mut(self.width);
        for (row, &id) in rows.zip(pass.ids) {
            let at = id as usize * self.width;
            row.copy_from_slice(&table[at..at + self.width]);
        }
    }

    /// A dense gradient: plans use [`Embedding::add_rows`] instead.
    fn backward(
        &self,
        pass: &Pass,
        _weights: &Weights,
        _input: &[f32],
        _output: &[f32],
        gout: &mut [f32],
        _gin: Option<&mut [f32]>,
        grads: &mut [f32],
        _work: &mut Workspace,
    ) {
        if !pass.accumulate {
            grads.fill(0.0);
        }
        self.add_rows(0..self.rows, pass.ids, gout, grads);
    }

    fn masks(&self) -> bool {
        self.mask_zero
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::layers::check::{Case, check};

    #[test]
    fn rows_are_copied_and_their_gradients_summed() {
        let layer = Embedding::new(0, &[4], 6, 3, true).unwrap();
        let mut case = Case::new(&layer, &[0]);
        case.ids = (0..case.samples as i32 * 4).map(|i| i * i % 6).collect();
        let ids = case.ids.clone();
        check(&case, |p, _| {
            ids.iter()
                .flat_map(|&id| p[0][id as usize * 3..][..3].to_vec())
                .collect()
        });
        let gradient: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let mut out = vec![0.0; 6];
        layer.add_rows(2..4, &[3, 1, 3, 2], &gradient, &mut out);
        assert_eq!(out, [9.0, 10.0, 11.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn numbers_outside_the_table_are_refused() {
        let layer = Embedding::new(0, &[2], 5, 3, false).unwrap();
        assert!(layer.check_ids(&[0, 4]).is_ok());
        for bad in [-1, 5] {
            let error = layer.check_ids(&[0, bad]).unwrap_err().to_string();
            assert!(error.contains("0 to 4"), "{error}");
        }
        assert!(Embedding::new(1, &[2], 5, 3, false).is_err());
        assert!(Embedding::new(0, &[2], 0, 3, false).is_err());
    }
}
