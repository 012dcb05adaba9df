//! The forward pass of a few samples, units in the lanes.

use super::{Batch, Layer, Outputs};
use crate::error::Result;
use crate::parallel::Control;
use ironlearn_kernels::recurrent::{Cell, FEW, FewRows, few_rows};
use ironlearn_kernels::tier::Tier;

/// Runs the layer over at most [`FEW`] samples.
pub(super) fn forward(
    control: &Control,
    tier: Tier,
    layer: &Layer,
    batch: &Batch,
    outputs: &mut Outputs,
) -> Result<()> {
    let (shape, samples, steps) = (layer.shape, batch.samples, batch.steps);
    let (h, f, lstm) = (shape.units, shape.features, shape.cell == Cell::Lstm);
    let mut scratch = vec![0.0; 2 * samples * shape.columns()];
    let mut old = vec![0.0; if batch.mask.is_some() { samples * h } else { 0 }];
    let mut old_cell = vec![0.0; if lstm { old.len() } else { 0 }];
    for s in 0..steps {
        control.check()?;
        let t = if batch.reverse { steps - 1 - s } else { s };
        let x: [&[f32]; FEW] = std::array::from_fn(|n| {
            if n < samples {
                &batch.x[(n * steps + t) * f..][..f]
            } else {
                &[]
            }
        });
        if batch.mask.is_some() {
            old.copy_from_slice(&outputs.h);
            old_cell.copy_from_slice(&outputs.c);
        }
        let step = FewRows {
            shape,
            w: layer.w,
            u: layer.u,
            b: layer.b,
            bu: layer.bu,
            x: &x[..samples],
            state: &mut outputs.h,
            cell: &mut outputs.c,
            scratch: &mut scratch,
        };
        few_rows(tier, step);
        if let Some(mask) = batch.mask {
            for n in (0..samples).filter(|&n| mask[n * steps + t] == 0) {
                let range = n * h..(n + 1) * h;
                outputs.h[range.clone()].copy_from_slice(&old[range.clone()]);
                if lstm {
                    outputs.c[range.clone()].copy_from_slice(&old_cell[range]);
                }
            }
        }
        for n in 0..samples {
            outputs.y[(n * steps + t) * h..][..h].copy_from_slice(&outputs.h[n * h..][..h]);
        }
    }
    Ok(())
}
