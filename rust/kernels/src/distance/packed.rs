//! Centres in the order in which the loops read them.

/// Some centres, packed block by block: within a block, feature after feature.
#[derive(Clone, Debug)]
pub struct Packed<T> {
    pub(super) features: usize,
    pub(super) data: Vec<T>,
    /// `|c|^2 / 2` of each centre.
    pub(super) half: Vec<T>,
    /// The number that each centre is reported by.
    pub(super) names: Vec<T>,
    pub(super) blocks: Vec<Block>,
}

/// `count` centres from the `first`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) first: usize,
    pub(super) count: usize,
}

impl<T: Copy> Packed<T> {
    /// Packs the centres of the given names in blocks of at most `most`.
    pub(super) fn build(
        centres: &[T],
        features: usize,
        names: &[u32],
        most: usize,
        to_name: impl Fn(u32) -> T,
        half_norm: impl Fn(&[T]) -> T,
    ) -> Packed<T> {
        let k = names.len();
        let row = |name: u32| &centres[name as usize * features..(name as usize + 1) * features];
        let count = k.div_ceil(most);
        let mut out = Packed {
            features,
            data: Vec::with_capacity(k * features),
            half: names.iter().map(|&n| half_norm(row(n))).collect(),
            names: names.iter().map(|&n| to_name(n)).collect(),
            blocks: Vec::with_capacity(count),
        };
        // Blocks of nearly equal size: padding would waste products.
        for b in 0..count {
            let (first, end) = (b * k / count, (b + 1) * k / count);
            for j in 0..features {
                out.data
                    .extend(names[first..end].iter().map(|&n| row(n)[j]));
            }
            out.blocks.push(Block {
                first,
                count: end - first,
            });
        }
        out
    }

    /// Number of centres.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// `|c|^2 / 2` of each centre.
    pub fn half_norms(&self) -> &[T] {
        &self.half
    }

    /// True without centres.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
