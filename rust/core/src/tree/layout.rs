//! The nodes of a forest as prediction reads them.
//!
//! A node takes eight bytes, its children lie side by side, and the top levels of a tree lie
//! together before the subtrees below follow one after another: the first levels stay in
//! cache, and a row's way further down touches few lines. Several rows walk down at once, so
//! that their loads overlap. Values that are missing and sets of categories are left to
//! [`ForestModel::leaf`].

use super::model::ForestModel;
use std::collections::VecDeque;

/// Rows (or trees) that walk together.
pub(super) const LANES: usize = 16;

/// Levels that lie together at the top of a tree.
const TOP: usize = 8;

/// Marks a leaf of one class only.
const PURE: u32 = 1 << 31;

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The largest f32 that goes left; infinite at leaves.
    threshold: f32,
    /// Feature above, left child's place below; the right child follows it. A leaf is its own
    /// left child.
    link: u32,
}

/// What a leaf votes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vote {
    /// All of it for one class.
    Class(usize),
    /// The class shares (or values) of the node with this number, counted over all trees.
    Shares(usize),
}

/// All trees of a forest.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    nodes: Vec<Node>,
    /// What the leaf in each place votes for: a class, or a node's number.
    votes: Vec<u32>,
    /// Where each tree begins.
    roots: Vec<u32>,
    /// Bits of a place within a tree.
    shift: u32,
    /// Bytes of the largest tree.
    pub largest: usize,
}

/// The largest f32 not above `value`: a row's f32 is at most the one where it is at most the
/// other.
#[inline]
pub(super) fn round_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value {
        near.next_down()
    } else {
        near
    }
}

impl Layout {
    /// Lays a forest out; `None` where it has categories or is too wide and deep for eight
    /// bytes a node.
    pub fn new(model: &ForestModel) -> Option<Layout> {
        let arrays = model.arrays();
        let nodes = &arrays.nodes;
        let total = nodes.len();
        if !nodes.category_bits.is_empty() || total >= PURE as usize {
            return None;
        }
        let feature_bits = usize::BITS - (model.n_features() - 1).leading_zeros();
        let shift = 32 - feature_bits;
        let sizes = arrays.offsets.windows(2).map(|w| (w[1] - w[0]) as usize);
        let largest = sizes.max()?;
        if shift < 32 && largest >> shift != 0 {
            return None;
        }
        let mut layout = Layout {
            nodes: vec![
                Node {
                    threshold: f32::INFINITY,
                    link: 0
                };
                total
            ],
            votes: vec![0; total],
            roots: Vec::with_capacity(model.n_trees()),
            shift,
            largest: largest * size_of::<Node>(),
        };
        for start in &arrays.offsets[..model.n_trees()] {
            layout.roots.push(*start as u32);
            layout.place_tree(model, *start as usize);
        }
        Some(layout)
    }

    fn place_tree(&mut self, model: &ForestModel, start: usize) {
        let nodes = &model.arrays().nodes;
        let classes = model.width();
        let mut used = 1;
        let mut top = VecDeque::from([(0, 0, 0)]);
        let mut below: Vec<(usize, usize)> = Vec::new();
        loop {
            // Breadth first near the root, then each subtree depth first.
            let (node, place, depth) = match top.front() {
                Some(&(_, _, depth)) if depth >= TOP => {
                    below.extend(top.drain(..).rev().map(|(n, p, _)| (n, p)));
                    continue;
                }
                Some(_) => top.pop_front().expect("there is a front"),
                None => match below.pop() {
                    Some((node, place)) => (node, place, TOP),
                    None => break,
                },
            };
            let (from, to) = (start + node, start + place);
            if nodes.left[from] < 0 {
                self.nodes[to].link = place as u32;
                let shares = &nodes.value[from * classes..(from + 1) * classes];
                let whole = shares.iter().position(|&s| s == 1.0);
                let others = shares.iter().filter(|&&s| s != 0.0).count();
                self.votes[to] = match whole {
                    Some(class) if others == 1 => class as u32 | PURE,
                    _ => from as u32,
                };
                continue;
            }
            let feature = nodes.feature[from] as u64;
            self.nodes[to] = Node {
                threshold: round_down(nodes.threshold[from]),
                link: (feature << self.shift) as u32 | used as u32,
            };
            let children = [nodes.left[from] as usize, nodes.right[from] as usize];
            if depth < TOP {
                top.push_back((children[0], used, depth + 1));
                top.push_back((children[1], used + 1, depth + 1));
            } else {
                below.push((children[1], used + 1));
                below.push((children[0], used));
            }
            used += 2;
        }
    }

    /// Number of trees.
    pub fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Walks down the tree of each lane with the row that begins at each lane's place in `x`,
    /// which has no missing values. Returns the leaves' places.
    #[inline]
    fn walk<const N: usize>(&self, x: &[f32], roots: [u32; N], rows: [usize; N]) -> [usize; N] {
        let places = ((1u64 << self.shift) - 1) as u32;
        let mut at = [0u32; N];
        loop {
            let mut moved = 0;
            for lane in 0..N {
                let node = self.nodes[(roots[lane] + at[lane]) as usize];
                let feature = (u64::from(node.link) >> self.shift) as usize;
                let right = u32::from(x[rows[lane] + feature] > node.threshold);
                let next = (node.link & places) + right;
                moved |= next ^ at[lane];
                at[lane] = next;
            }
            if moved == 0 {
                break;
            }
        }
        std::array::from_fn(|lane| (roots[lane] + at[lane]) as usize)
    }

    #[inline]
    fn vote(&self, place: usize) -> Vote {
        let vote = self.votes[place];
        if vote & PURE != 0 {
            Vote::Class((vote ^ PURE) as usize)
        } else {
            Vote::Shares(vote as usize)
        }
    }

    /// Calls `add` with each of the rows numbered in `rows` and its vote in `tree`.
    pub fn vote_rows(
        &self,
        tree: usize,
        x: &[f32],
        width: usize,
        rows: &[u32],
        mut add: impl FnMut(usize, Vote),
    ) {
        let root = self.roots[tree];
        let mut groups = rows.chunks_exact(LANES);
        for group in &mut groups {
            let starts = std::array::from_fn(|lane| group[lane] as usize * width);
            let leaves = self.walk::<LANES>(x, [root; LANES], starts);
            for (&row, leaf) in group.iter().zip(leaves) {
                add(row as usize, self.vote(leaf));
            }
        }
        for &row in groups.remainder() {
            let [leaf] = self.walk::<1>(x, [root], [row as usize * width]);
            add(row as usize, self.vote(leaf));
        }
    }

    /// Calls `add` with the vote of each tree on one row, in the order of the trees.
    pub fn vote_trees(&self, row: &[f32], mut add: impl FnMut(Vote)) {
        let mut groups = self.roots.chunks_exact(LANES);
        for group in &mut groups {
            let roots = std::array::from_fn(|lane| group[lane]);
            for leaf in self.walk::<LANES>(row, roots, [0; LANES]) {
                add(self.vote(leaf));
            }
        }
        for &root in groups.remainder() {
            let [leaf] = self.walk::<1>(row, [root], [0]);
            add(self.vote(leaf));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Outputs;
    use crate::tree::nodes::TreeArrays;

    #[test]
    fn rounding_keeps_the_side_of_every_value() {
        for threshold in [0.1, -0.1, 1e-46, -1e-46, 3.5, 1e300, f64::INFINITY, -1e300] {
            let rounded = round_down(threshold);
            for value in [
                rounded.next_down(),
                rounded,
                rounded.next_up(),
                0.0,
                f32::MAX,
            ] {
                assert_eq!(
                    f64::from(value) <= threshold,
                    value <= rounded,
                    "{threshold} {value}"
                );
            }
        }
    }

    #[test]
    fn a_deep_chain_votes_like_its_arrays() {
        // Node 2 i splits feature i % 3 at i; its left child is a leaf.
        let inner = 40;
        let mut tree = TreeArrays::default();
        for i in 0..inner {
            tree.push_leaf(1, 1.0, 0.0, &[0.5, 0.5]);
            let leaf: &[f64] = if i % 2 == 0 {
                &[1.0, 0.0]
            } else {
                &[0.25, 0.75]
            };
            tree.push_leaf(1, 1.0, 0.0, leaf);
            let at = 2 * i;
            tree.left[at] = at as i32 + 1;
            tree.right[at] = at as i32 + 2;
            tree.feature[at] = (i % 3) as i32;
            tree.threshold[at] = i as f64;
        }
        tree.push_leaf(1, 1.0, 0.0, &[0.0, 1.0]);
        tree.set_codes(Vec::new());
        let model = ForestModel::from_trees(Outputs::Classes(vec![2]), 3, vec![tree.clone(), tree]);
        let layout = Layout::new(&model).unwrap();
        let x: Vec<f32> = (0..40)
            .flat_map(|i| [i as f32, 60.0 - i as f32, 20.5 + (i % 5) as f32])
            .collect();
        let rows: Vec<u32> = (0..40).collect();
        for tree in 0..2 {
            let mut seen = 0;
            layout.vote_rows(tree, &x, 3, &rows, |row, vote| {
                let leaf = model.leaf(81 * tree, &x[3 * row..3 * row + 3]);
                let shares = &model.arrays().nodes.value[2 * leaf..2 * leaf + 2];
                let expected = match shares.iter().position(|&s| s == 1.0) {
                    Some(class) => Vote::Class(class),
                    None => Vote::Shares(leaf),
                };
                assert_eq!(vote, expected);
                seen += 1;
            });
            assert_eq!(seen, 40);
        }
        let mut votes = Vec::new();
        layout.vote_trees(&x[..3], |vote| votes.push(vote));
        assert_eq!(votes, [Vote::Class(0); 2]);
    }
}
