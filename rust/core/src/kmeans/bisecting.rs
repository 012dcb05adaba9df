//! The tree of bisecting k-means (Steinbach, Karypis and Kumar, "A comparison of document
//! clustering techniques", 2000): a row goes down to the nearer of two centres at each fork.
//!
//! Between two centres lies a plane, so one product decides at each fork.

use super::points::Points;
use super::sparse::SparseRows;
use crate::error::{Error, Result, non_finite};
use crate::parallel::{Control, fill_chunks};
use ironlearn_kernels::distance::Real;
use ironlearn_kernels::linear::Element;
use ironlearn_kernels::tier;

/// A fork of the tree. Children are other forks, or leaves where negative: leaf `c` is `!c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Where rows nearer to the first centre go.
    pub left: i32,
    /// Where the others go.
    pub right: i32,
}

/// Forks with the two centres of each: immutable, checked, ready to predict.
#[derive(Clone, Debug)]
pub struct BisectingTree {
    features: usize,
    forks: Vec<Fork>,
    /// The difference of each fork's centres.
    normals: Vec<f64>,
    /// Rows whose product with the difference is at least this go left.
    levels: Vec<f64>,
}

impl BisectingTree {
    /// Checks the parts: a plane (normal and level) for each fork; children come after their
    /// parent, and each fork but the first and each leaf has one parent.
    pub fn new(
        forks: Vec<Fork>,
        normals: Vec<f64>,
        levels: Vec<f64>,
        features: usize,
    ) -> Result<Self> {
        let malformed = |given: String, expected: String| {
            Err(Error::Shape {
                name: "forks",
                given,
                expected,
            })
        };
        if features == 0
            || Some(normals.len()) != features.checked_mul(forks.len())
            || levels.len() != forks.len()
        {
            return malformed(
                format!("{} elements of planes", normals.len()),
                format!("a normal of {features} features and a level for each fork"),
            );
        }
        if let Some(bad) = normals.iter().chain(&levels).find(|v| !v.is_finite()) {
            return Err(non_finite("planes", bad.is_nan()));
        }
        let mut parents = vec![false; forks.len()];
        let mut leaves = vec![false; forks.len() + 1];
        for (i, fork) in forks.iter().enumerate() {
            for child in [fork.left, fork.right] {
                let seen = if child < 0 {
                    leaves.get_mut(!child as usize)
                } else if child as usize > i {
                    parents.get_mut(child as usize)
                } else {
                    None
                };
                // Twice as many children as forks: where none comes twice, none is left out.
                match seen {
                    Some(seen) if !*seen => *seen = true,
                    _ => {
                        return malformed(
                            format!("the child {child} at fork {i}"),
                            "later forks and leaves, each once,".into(),
                        );
                    }
                }
            }
        }
        Ok(BisectingTree {
            features,
            forks,
            normals,
            levels,
        })
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The forks.
    pub fn forks(&self) -> &[Fork] {
        &self.forks
    }
    /// The difference of each fork's centres.
    pub fn normals(&self) -> &[f64] {
        &self.normals
    }
    /// The least product with that difference that goes left.
    pub fn levels(&self) -> &[f64] {
        &self.levels
    }

    fn descend(&self, product: impl Fn(&[f64]) -> f64) -> i32 {
        if self.forks.is_empty() {
            return 0;
        }
        let (mut at, d) = (0, self.features);
        while at >= 0 {
            let i = at as usize;
            let nearer = product(&self.normals[i * d..(i + 1) * d]) >= self.levels[i];
            at = if nearer {
                self.forks[i].left
            } else {
                self.forks[i].right
            };
        }
        !at
    }

    fn check(&self, given: usize) -> Result<()> {
        if given == self.features {
            return Ok(());
        }
        Err(Error::Shape {
            name: "X",
            given: format!("{given} features"),
            expected: format!("{}", self.features),
        })
    }

    /// The leaf of each dense row.
    pub fn predict<T: Element>(&self, control: &Control, x: &[T]) -> Result<Vec<i32>> {
        let d = self.features;
        if !x.len().is_multiple_of(d) {
            return Err(Error::Shape {
                name: "X",
                given: format!("{} elements", x.len()),
                expected: format!("rows of {d} features"),
            });
        }
        let tier = tier::active();
        let mut out = vec![0; x.len() / d];
        fill_chunks(control, &mut out, 1, (1 << 17) / d + 64, |range, leaves| {
            let rows = x[range.start * d..range.end * d].chunks_exact(d);
            for (leaf, row) in leaves.iter_mut().zip(rows) {
                if !T::all_finite(row) {
                    let nan = row.iter().any(|v| v.widen().is_nan());
                    return Err(non_finite("X", nan));
                }
                *leaf = self.descend(|normal| T::dot(tier, row, normal));
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// The leaf of each sparse row.
    pub fn predict_sparse<T: Real>(
        &self,
        control: &Control,
        rows: &SparseRows<T>,
    ) -> Result<Vec<i32>> {
        self.check(rows.features())?;
        let mut out = vec![0; rows.count()];
        let chunk = (1 << 17) / rows.row_cost() + 64;
        fill_chunks(control, &mut out, 1, chunk, |range, leaves| {
            for (leaf, i) in leaves.iter_mut().zip(range) {
                *leaf = self.descend(|normal| rows.product(i, normal));
            }
            Ok(())
        })?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fork(left: i32, right: i32) -> Fork {
        Fork { left, right }
    }

    #[test]
    fn rows_go_to_the_nearer_centre_at_each_fork() {
        // Centres 0 and 10, then -1 and 1.
        let forks = vec![fork(1, !2), fork(!0, !1)];
        let tree = BisectingTree::new(forks, vec![-10.0, -2.0], vec![-50.0, 0.0], 1).unwrap();
        let serial = Control::serial();
        let found = tree.predict(&serial, &[-3.0f32, -0.5, 0.0, 0.5, 4.9, 5.1]);
        assert_eq!(found.unwrap(), [0, 0, 0, 1, 1, 2]);
        let one = BisectingTree::new(vec![], vec![], vec![], 2).unwrap();
        assert_eq!(one.predict(&serial, &[1.0f64; 4]).unwrap(), [0, 0]);
    }

    #[test]
    fn wrong_trees_are_refused() {
        for forks in [
            vec![fork(1, 1), fork(!0, !1)],
            vec![fork(0, !2), fork(!0, !1)],
            vec![fork(1, !3), fork(!0, !1)],
            vec![fork(1, !0), fork(!0, !1)],
            vec![fork(2, !2), fork(!0, !1)],
            vec![fork(!0, !1)],
        ] {
            assert!(BisectingTree::new(forks, vec![1.0; 2], vec![0.0; 2], 1).is_err());
        }
        let stump = |normal| BisectingTree::new(vec![fork(!0, !1)], vec![normal], vec![0.0], 1);
        assert!(stump(f64::NAN).is_err());
        let tree = stump(1.0).unwrap();
        assert!(tree.predict(&Control::serial(), &[f64::INFINITY]).is_err());
    }
}
