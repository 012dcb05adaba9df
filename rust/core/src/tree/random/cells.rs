//! The training data as integers that sort like the values, the rows in an order that keeps
//! those of a class together.

use crate::error::Result;
use crate::parallel::{Control, fill_chunks, map_chunks};
use crate::tree::fast::codes::distinct;
use crate::tree::params::TrainingSet;
use ironlearn_kernels::gather::{Cell, TILE, key_of, of_key, prefetch, transpose_tile};

/// Columns that are coded together: one cache line of a row of X.
const GROUP: usize = 16;

/// Columns one after another.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, C> {
    pub cells: &'a [C],
    pub rows: usize,
}

impl<'a, C> Columns<'a, C> {
    /// The column of a feature.
    #[inline]
    pub fn column(&self, feature: usize) -> &'a [C] {
        &self.cells[feature * self.rows..(feature + 1) * self.rows]
    }
}

/// The whole training data.
pub(super) struct Coded<C> {
    pub rows: usize,
    pub features: usize,
    columns: Vec<C>,
    /// Bytes once more, row by row; keys are made from X.
    by_row: Vec<C>,
    /// Where each row is in X.
    order: Vec<u32>,
    /// The rising values of each feature's bytes.
    values: Vec<Vec<f32>>,
}

/// What a cell stands for.
pub(super) trait Meaning: Cell {
    /// The value of a cell.
    fn value(coded: &Coded<Self>, feature: usize, cell: Self) -> f32;

    /// The largest cell whose value is at most `cut`. It lies a share of `share` of the way
    /// from the value of `low` to that of `high`.
    fn cut(
        coded: &Coded<Self>,
        feature: usize,
        low: Self,
        high: Self,
        share: f64,
        cut: f64,
    ) -> Self;

    /// Copies some rows to `out`, as columns. `x` is what the cells were made from.
    fn copy_rows(coded: &Coded<Self>, x: &[f32], rows: &[u32], out: &mut [Self]);
}

impl Meaning for u8 {
    #[inline]
    fn value(coded: &Coded<u8>, feature: usize, cell: u8) -> f32 {
        coded.values[feature][usize::from(cell)]
    }

    #[inline]
    fn cut(coded: &Coded<u8>, feature: usize, low: u8, high: u8, share: f64, cut: f64) -> u8 {
        let values = &coded.values[feature];
        let cut = round_down(cut);
        // Where values are evenly spread the first guess is right.
        let guess = low + (share * f64::from(high - low)) as u8;
        let at = usize::from(guess);
        if guess < high && values[at] <= cut && cut < values[at + 1] {
            return guess;
        }
        let between = &values[usize::from(low) + 1..usize::from(high)];
        low + between.partition_point(|&value| value <= cut) as u8
    }

    fn copy_rows(coded: &Coded<u8>, _: &[f32], rows: &[u32], out: &mut [u8]) {
        let (features, count) = (coded.features, rows.len());
        let row = |number: u32| &coded.by_row[number as usize * features..][..features];
        let whole = (features - features % TILE, count - count % TILE);
        rows.iter()
            .take(TILE)
            .for_each(|&number| prefetch(row(number)));
        for start in (0..whole.1).step_by(TILE) {
            let next = rows[start + TILE..].iter().take(TILE);
            next.for_each(|&number| prefetch(row(number)));
            for first in (0..whole.0).step_by(TILE) {
                let mut tile = [[0; TILE]; TILE];
                for (cells, &number) in tile.iter_mut().zip(&rows[start..]) {
                    cells.copy_from_slice(&row(number)[first..first + TILE]);
                }
                for (j, cells) in transpose_tile(tile).iter().enumerate() {
                    out[(first + j) * count + start..][..TILE].copy_from_slice(cells);
                }
            }
        }
        // What does not fill a tile.
        for (i, &number) in rows.iter().enumerate() {
            let first = if i < whole.1 { whole.0 } else { 0 };
            for (feature, &cell) in row(number).iter().enumerate().skip(first) {
                out[feature * count + i] = cell;
            }
        }
    }
}

impl Meaning for i32 {
    #[inline]
    fn value(_: &Coded<i32>, _: usize, cell: i32) -> f32 {
        of_key(cell)
    }

    #[inline]
    fn cut(_: &Coded<i32>, _: usize, _: i32, _: i32, _: f64, cut: f64) -> i32 {
        key_of(round_down(cut))
    }

    fn copy_rows(coded: &Coded<i32>, x: &[f32], rows: &[u32], out: &mut [i32]) {
        let features = coded.features;
        let row = |number: u32| {
            let number = coded.order[number as usize] as usize;
            &x[number * features..][..features]
        };
        for (i, &number) in rows.iter().enumerate() {
            if let Some(&later) = rows.get(i + TILE) {
                prefetch(row(later));
            }
            for (feature, &value) in row(number).iter().enumerate() {
                out[feature * rows.len() + i] = key_of(value);
            }
        }
    }
}

/// The largest f32 not above `value`: an f32 is at most the one where it is at most the other.
#[inline]
fn round_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value {
        near.next_down()
    } else {
        near
    }
}

impl<C: Cell> Coded<C> {
    /// All columns.
    pub fn columns(&self) -> Columns<'_, C> {
        Columns {
            cells: &self.columns,
            rows: self.rows,
        }
    }

    /// Where each row is in X.
    pub fn order(&self) -> &[u32] {
        &self.order
    }
}

impl Coded<u8> {
    /// One byte a cell; `None` where a feature has more than 256 values.
    pub fn bytes(
        data: &TrainingSet,
        order: &[u32],
        control: &Control,
    ) -> Result<Option<Coded<u8>>> {
        let (rows, features) = (data.rows, data.features);
        let groups = map_chunks(control, features, GROUP, |range| {
            let width = range.len();
            let mut cells = vec![0.0f32; rows * width];
            for (i, &row) in order.iter().enumerate() {
                let row = &data.x[row as usize * features..][..features];
                for (j, &value) in row[range.clone()].iter().enumerate() {
                    // Turns -0.0 into 0.0, which has the same order but other bits.
                    cells[j * rows + i] = value + 0.0;
                }
            }
            let mut codes = vec![0; rows * width];
            let mut values = Vec::with_capacity(width);
            for (column, out) in cells.chunks_exact(rows).zip(codes.chunks_exact_mut(rows)) {
                control.check()?;
                match distinct(column, out) {
                    Some(found) => values.push(found),
                    None => return Ok(None),
                }
            }
            Ok(Some((codes, values)))
        })?;
        let (mut columns, mut values) = (Vec::with_capacity(rows * features), Vec::new());
        for group in groups {
            let Some((codes, found)) = group else {
                return Ok(None);
            };
            columns.extend_from_slice(&codes);
            values.extend(found);
        }
        let mut by_row = vec![0u8; rows * features];
        let column = |feature: usize| &columns[feature * rows..][..rows];
        fill_chunks(control, &mut by_row, features, 256, |range, part| {
            let whole = (features - features % TILE, range.len() - range.len() % TILE);
            for first in (0..whole.0).step_by(TILE) {
                for start in (0..whole.1).step_by(TILE) {
                    let tile = std::array::from_fn(|j| {
                        let cells = &column(first + j)[range.start + start..][..TILE];
                        cells.try_into().expect("a tile")
                    });
                    for (i, cells) in transpose_tile(tile).iter().enumerate() {
                        part[(start + i) * features + first..][..TILE].copy_from_slice(cells);
                    }
                }
            }
            for feature in 0..features {
                let from = if feature < whole.0 { whole.1 } else { 0 };
                for i in from..range.len() {
                    part[i * features + feature] = column(feature)[range.start + i];
                }
            }
            Ok(())
        })?;
        Ok(Some(Coded {
            rows,
            features,
            columns,
            by_row,
            order: order.to_vec(),
            values,
        }))
    }
}

impl Coded<i32> {
    /// The bits of each value, turned so that they sort as integers.
    pub fn keys(data: &TrainingSet, order: &[u32], control: &Control) -> Result<Coded<i32>> {
        let (rows, features) = (data.rows, data.features);
        let mut columns = vec![0i32; rows * features];
        fill_chunks(control, &mut columns, rows, GROUP, |range, part| {
            for (i, &row) in order.iter().enumerate() {
                let row = &data.x[row as usize * features..][..features];
                for (j, &value) in row[range.clone()].iter().enumerate() {
                    part[j * rows + i] = key_of(value);
                }
            }
            Ok(())
        })?;
        Ok(Coded {
            rows,
            features,
            columns,
            by_row: Vec::new(),
            order: order.to_vec(),
            values: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use crate::tree::Targets;
    use proptest::prelude::*;

    fn set(x: &[f32], features: usize) -> TrainingSet<'_> {
        TrainingSet {
            x,
            rows: x.len() / features,
            features,
            targets: Targets::Classes {
                codes: &[],
                n_classes: &[],
            },
            weight: None,
            categorical: None,
            monotonic: None,
        }
    }

    fn check<C: Meaning + std::fmt::Debug>(coded: &Coded<C>, x: &[f32], share: f64) {
        let features = coded.features;
        let mut block = vec![C::default(); x.len()];
        let turned: Vec<u32> = (0..coded.rows as u32).rev().collect();
        C::copy_rows(coded, x, &turned, &mut block);
        for feature in 0..features {
            let column = coded.columns().column(feature);
            let value = |row: usize| x[coded.order()[row] as usize * features + feature];
            for (row, &cell) in column.iter().enumerate() {
                assert_eq!(C::value(coded, feature, cell), value(row));
                assert_eq!(block[feature * coded.rows + coded.rows - 1 - row], cell);
            }
            let (low, high) = (*column.iter().min().unwrap(), *column.iter().max().unwrap());
            let ends = [low, high].map(|cell| f64::from(C::value(coded, feature, cell)));
            if low < high {
                let at = ends[0] + share * (ends[1] - ends[0]);
                let cut = C::cut(coded, feature, low, high, share, at);
                for (row, &cell) in column.iter().enumerate() {
                    assert_eq!(cell <= cut, f64::from(value(row)) <= at);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn cells_stand_for_the_values(
            values in prop::collection::vec(-300i32..300, 40..1200),
            features in 1usize..40,
            scale in prop_oneof![Just(0.37f32), Just(1e-40), Just(1e35)],
            share in 0.0f64..1.0,
        ) {
            let rows = values.len() / features;
            let x: Vec<f32> = values[..rows * features].iter().map(|&v| v as f32 * scale).collect();
            let data = set(&x, features);
            let control = Control::serial();
            let mut order: Vec<u32> = (0..rows as u32).collect();
            Stream::new(5, 6).shuffle(&mut order);
            check(&Coded::keys(&data, &order, &control).unwrap(), &x, share);
            if let Some(coded) = Coded::bytes(&data, &order, &control).unwrap() {
                check(&coded, &x, share);
            } else {
                prop_assert!(rows > 256);
            }
        }
    }
}
