//! Rows of a table by number, and the table's gradient.

use crate::error::{Error, Result};
use crate::nn::ELEMENTS;
use crate::parallel::{Control, fill_chunks};
use ironlearn_kernels::{pointwise, tier};

fn rows_of(width: usize) -> usize {
    (ELEMENTS / width.max(1)).max(1)
}

/// An error unless every number has a row.
fn check(ids: &[i64], rows: usize) -> Result<()> {
    match ids.iter().find(|&&id| id < 0 || id as usize >= rows) {
        Some(id) => Err(Error::InvalidParameter {
            name: "ids",
            given: id.to_string(),
            expected: format!("at least 0 and below {rows}"),
        }),
        None => Ok(()),
    }
}

/// Writes row `ids[i]` of `table` to row `i` of `out`.
pub fn gather(
    control: &Control,
    ids: &[i64],
    table: &[f32],
    width: usize,
    out: &mut [f32],
) -> Result<()> {
    check(ids, table.len() / width)?;
    fill_chunks(control, out, width, rows_of(width), |range, out| {
        for (&id, out) in ids[range].iter().zip(out.chunks_exact_mut(width)) {
            let at = id as usize * width;
            out.copy_from_slice(&table[at..at + width]);
        }
        Ok(())
    })
}

/// Writes to row `r` of `out` the sum of the rows `i` of `g` with `ids[i] == r`, in their order.
pub fn scatter(
    control: &Control,
    g: &[f32],
    ids: &[i64],
    width: usize,
    out: &mut [f32],
) -> Result<()> {
    let rows = out.len() / width;
    check(ids, rows)?;
    // A counting sort: which rows of `g` belong to each row of `out`.
    let mut ends = vec![0usize; rows + 1];
    for &id in ids {
        ends[id as usize + 1] += 1;
    }
    for r in 0..rows {
        ends[r + 1] += ends[r];
    }
    let mut next = ends.clone();
    let mut order = vec![0usize; ids.len()];
    for (i, &id) in ids.iter().enumerate() {
        let place = &mut next[id as usize];
        order[*place] = i;
        *place += 1;
    }
    let tier = tier::active();
    fill_chunks(control, out, width, rows_of(width), |range, out| {
        for (r, out) in range.zip(out.chunks_exact_mut(width)) {
            out.fill(0.0);
            for &i in &order[ends[r]..ends[r + 1]] {
                pointwise::add_assign(tier, out, &g[i * width..(i + 1) * width]);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_there_and_back() {
        let table: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let ids = [3, 0, 3];
        let mut out = [0.0; 9];
        gather(&Control::serial(), &ids, &table, 3, &mut out).unwrap();
        assert_eq!(out, [9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 9.0, 10.0, 11.0]);
        let mut grad = [7.0; 12];
        scatter(&Control::serial(), &out, &ids, 3, &mut grad).unwrap();
        let want = [0., 1., 2., 0., 0., 0., 0., 0., 0., 18., 20., 22.];
        assert_eq!(grad, want);
        for bad in [-1, 4] {
            assert!(gather(&Control::serial(), &[bad], &table, 3, &mut out[..3]).is_err());
            assert!(scatter(&Control::serial(), &out[..3], &[bad], 3, &mut grad).is_err());
        }
    }
}
