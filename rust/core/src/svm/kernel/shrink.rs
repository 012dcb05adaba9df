//! Shrinking: rows at a bound that nothing suggests to move are left out for a while.
//!
//! As in LIBSVM (Fan, Chen and Lin, "Working set selection using second order information",
//! JMLR 2005; Joachims, "Making large-scale SVM learning practical", 1998), with two
//! differences. Kernel rows of a shrunk problem are computed and kept for the rows that are
//! left alone, so they cost less and more of them fit the cache; it is done only where the
//! cache cannot hold the whole problem, for else it saves nothing. And instead of sums over
//! the bounded rows, the products of all rows at the time of the first shrinking are kept:
//! what changed since then brings the rows that were left out up to date.

use super::cache::Set;
use super::smo::State;
use crate::error::Result;
use crate::parallel::Control;
use ironlearn_kernels::kernel_rows::add_row;
use ironlearn_kernels::tier;

/// The rows that a shrunk problem looks at, and how it was before.
pub(super) struct Shrunk {
    pub set: Set,
    /// Training rows, one for each place that is left.
    pub rows: Vec<u32>,
    /// Products and weights of all places when it was first shrunk.
    products: Vec<f64>,
    weights: Vec<f64>,
}

impl State<'_> {
    /// True if variable `v` is at a bound and moving it away would not help.
    fn idle(&self, v: usize, smallest: f64, largest: f64) -> bool {
        match (self.member(v, true), self.member(v, false)) {
            (true, true) => false,
            (true, false) => self.gradient(v) > largest,
            (false, true) => self.gradient(v) < smallest,
            (false, false) => true,
        }
    }

    /// Leaves out the rows whose variables are all idle, if they are many.
    pub(super) fn shrink(&mut self, smallest: f64, largest: f64) {
        let (n, variables) = (self.products.len(), self.alpha.len());
        let keeps = |place: u32| {
            let mut own = (place as usize..variables).step_by(n);
            own.any(|v| !self.idle(v, smallest, largest))
        };
        // Positions among the places of now, since kept kernel values are in their order.
        let left: Vec<u32> = (0..self.places.len() as u32)
            .filter(|&at| keeps(self.places[at as usize]))
            .collect();
        if 4 * left.len() > 3 * self.places.len() {
            return;
        }
        let places: Vec<u32> = left.iter().map(|&at| self.places[at as usize]).collect();
        let rows = places.iter().map(|&p| self.layout.rows[p as usize]);
        let (rows, set) = (rows.collect(), self.store.new_set());
        self.shrunk = Some(match self.shrunk.take() {
            Some(before) => {
                self.store.narrow(before.set, set, &left);
                Shrunk {
                    set,
                    rows,
                    ..before
                }
            }
            None => Shrunk {
                set,
                rows,
                products: self.products.clone(),
                weights: self.weights(),
            },
        });
        self.places = places;
    }

    /// Brings the rows that were left out up to date and looks at all rows again.
    pub(super) fn unshrink(&mut self, control: &Control) -> Result<()> {
        let Some(shrunk) = self.shrunk.take() else {
            return Ok(());
        };
        self.store.forget(shrunk.set);
        let n = self.products.len();
        let mut left = vec![false; n];
        for &place in &self.places {
            left[place as usize] = true;
        }
        let out: Vec<usize> = (0..n).filter(|&place| !left[place]).collect();
        let rows: Vec<u32> = out.iter().map(|&p| self.layout.rows[p]).collect();
        let changes: Vec<(u32, f64)> = (self.weights().iter().zip(&shrunk.weights))
            .zip(&self.layout.rows)
            .map(|((now, then), &row)| (row, now - then))
            .filter(|change| change.1 != 0.0)
            .collect();
        let mut products: Vec<f64> = out.iter().map(|&p| shrunk.products[p]).collect();
        let tier = tier::active();
        let add = |out: &mut [f64], change: f64, row: &[f32]| add_row(tier, out, change, row);
        (self.store).add_products(control, &changes, &rows, &mut products, add)?;
        for (&place, product) in out.iter().zip(products) {
            self.products[place] = product;
        }
        self.places = (0..n as u32).collect();
        Ok(())
    }
}
