//! What the algorithms ask of rows, whether they are dense or sparse.

use super::Rows;
use super::assign::Scratch;
use super::lloyd::{Fit, Settings, run};
use super::store::{Means, Store};
use crate::error::Result;
use crate::parallel::Control;
use ironlearn_kernels::distance::{Packed, Real, add_row, pack_centres, pair};
use ironlearn_kernels::tier;

/// Rows to cluster, with their weights.
pub trait Points<T: Real>: Sync {
    /// Centres as the comparison reads them.
    type Table: Sync;
    /// Buffers of one thread.
    type Desk: Send;
    /// Centres that move with every batch.
    type Store: Store<T, Self>;

    /// Number of rows.
    fn count(&self) -> usize;
    /// Number of features.
    fn features(&self) -> usize;
    /// Weights of the rows; `None` where all are one.
    fn weights(&self) -> Option<&[f64]>;
    /// Elements in a usual row.
    fn row_cost(&self) -> usize;

    /// The weight of row `i`.
    fn weight(&self, i: usize) -> f64 {
        self.weights().map_or(1.0, |w| w[i])
    }
    /// Rows in one chunk: many chunks for many threads, but enough rows that those whose
    /// bounds fail fill whole panels.
    fn chunk(&self) -> usize {
        (self.count() / 64).clamp(1024, 8192) / 64 * 64
    }

    /// Prepares centres that lie one after another.
    fn table(&self, centres: &[T]) -> Self::Table;
    /// Prepares rows as centres.
    fn table_of(&self, chosen: &[usize]) -> Self::Table;
    /// New buffers.
    fn desk(&self) -> Self::Desk;
    /// Rows that [`Points::nearest`] and [`Points::squares`] take at once.
    fn width(&self, desk: &Self::Desk) -> usize;
    /// The nearest centre of each of the rows `numbers`, the first among equals.
    fn nearest(
        &self,
        desk: &mut Self::Desk,
        table: &Self::Table,
        numbers: &[u32],
        labels: &mut [u32],
    );
    /// Squared distances from the rows `numbers` to all centres: that of row `p` to centre `c`
    /// at `c * stride + p`, where `stride` is returned and at most the width.
    fn squares(
        &self,
        desk: &mut Self::Desk,
        table: &Self::Table,
        numbers: &[u32],
        out: &mut [T],
    ) -> usize;

    /// Squared lengths of centres, as far as [`Points::square`] needs them.
    fn lengths(&self, centres: &[T]) -> Vec<f64>;
    /// Squared distance from row `i` to a centre of the given squared length.
    fn square(&self, i: usize, centre: &[T], length: f64) -> f64;
    /// Adds `weight` times row `i` to `sum`.
    fn add(&self, i: usize, weight: f64, sum: &mut [f64]);
    /// Appends row `i`, zeros included.
    fn append(&self, i: usize, out: &mut Vec<T>);

    /// Lloyd's iteration from centres, less the offset.
    fn lloyd(&self, control: &Control, centres: &[T], settings: Settings) -> Result<Fit<T>>;

    /// The chosen rows, one after another.
    fn gather(&self, chosen: &[usize]) -> Vec<T> {
        let mut out = Vec::with_capacity(chosen.len() * self.features());
        for &i in chosen {
            self.append(i, &mut out);
        }
        out
    }
}

impl<T: Real> Points<T> for Rows<'_, T> {
    type Table = Packed<T>;
    type Desk = Scratch<T>;
    type Store = Means<T>;

    fn count(&self) -> usize {
        self.count
    }
    fn features(&self) -> usize {
        self.features
    }
    fn weights(&self) -> Option<&[f64]> {
        self.weights
    }
    fn row_cost(&self) -> usize {
        self.features
    }
    fn table(&self, centres: &[T]) -> Packed<T> {
        let names: Vec<u32> = (0..(centres.len() / self.features) as u32).collect();
        pack_centres(tier::active(), centres, self.features, &names)
    }
    fn table_of(&self, chosen: &[usize]) -> Packed<T> {
        self.table(&self.gather(chosen))
    }
    fn desk(&self) -> Scratch<T> {
        Scratch::new(self.features)
    }
    fn width(&self, desk: &Scratch<T>) -> usize {
        desk.width
    }
    fn nearest(
        &self,
        desk: &mut Scratch<T>,
        table: &Packed<T>,
        numbers: &[u32],
        labels: &mut [u32],
    ) {
        desk.load(self.x, numbers, self.offset);
        desk.nearest(table, false);
        for (label, name) in labels.iter_mut().zip(&desk.name) {
            *label = name.to_name();
        }
    }
    fn squares(
        &self,
        desk: &mut Scratch<T>,
        table: &Packed<T>,
        numbers: &[u32],
        out: &mut [T],
    ) -> usize {
        let stride = desk.load(self.x, numbers, self.offset);
        desk.squares(table, out);
        stride
    }
    fn lengths(&self, centres: &[T]) -> Vec<f64> {
        // Differences need no lengths.
        vec![0.0; centres.len() / self.features]
    }
    fn square(&self, i: usize, centre: &[T], _: f64) -> f64 {
        pair(tier::active(), self.row(i), self.offset, centre).into()
    }
    fn add(&self, i: usize, weight: f64, sum: &mut [f64]) {
        add_row(tier::active(), self.row(i), self.offset, weight, sum);
    }
    fn append(&self, i: usize, out: &mut Vec<T>) {
        out.extend(self.shifted(i));
    }
    fn lloyd(&self, control: &Control, centres: &[T], settings: Settings) -> Result<Fit<T>> {
        run(control, self, centres, settings)
    }
}
