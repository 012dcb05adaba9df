//! The rows of a node with more rows than a block.

use super::Context;
use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use ironlearn_kernels::bytes::{SLACK, partition};

/// Rows of a node, grouped by class, and the codes of the features that still vary.
pub(super) struct Wide {
    /// A row's number, its count above.
    pub packed: Vec<u32>,
    /// Where the rows of each class begin; one entry more than classes.
    pub offsets: Vec<u32>,
    /// Count of each class.
    pub total: Vec<u32>,
    /// The node's own columns, where every node looks at every feature.
    pub columns: Option<Columns>,
}

/// Columns of a node in the order of its rows.
pub(super) struct Columns {
    pub features: Vec<u32>,
    groups: Vec<Vec<u8>>,
    rows: usize,
}

/// Columns of one allocation.
const GROUP: usize = 32;

impl Columns {
    /// The codes of the feature in this place.
    #[inline]
    pub fn column(&self, place: usize) -> &[u8] {
        let start = place % GROUP * (self.rows + SLACK);
        &self.groups[place / GROUP][start..start + self.rows]
    }

    /// All features, for the rows of the root.
    pub fn of_root(context: &Context, packed: &[u32], control: &Control) -> Result<Columns> {
        let features: Vec<u32> = (0..context.data.features as u32).collect();
        let rows = packed.len();
        let groups = map_chunks(control, features.len(), GROUP, |range| {
            let mut codes = vec![0; range.len() * (rows + SLACK)];
            for (feature, out) in range.zip(codes.chunks_exact_mut(rows + SLACK)) {
                let column = context.coded.column(feature);
                for (o, &p) in out.iter_mut().zip(packed) {
                    *o = column[context.row(p)];
                }
            }
            Ok(codes)
        })?;
        Ok(Columns {
            features,
            groups,
            rows,
        })
    }

    /// The columns of both children; columns that do not vary are dropped.
    fn split(
        &self,
        context: &Context,
        rows: &[u64],
        left: usize,
        varying: &[bool],
        control: &Control,
    ) -> Result<[Columns; 2]> {
        let kept: Vec<usize> = (0..self.features.len()).filter(|&p| varying[p]).collect();
        let sizes = [left, self.rows - left];
        let groups = map_chunks(control, kept.len(), GROUP, |range| {
            let [mut a, mut b] = sizes.map(|n| vec![0; range.len() * (n + SLACK)]);
            for ((&place, a), b) in kept[range]
                .iter()
                .zip(a.chunks_exact_mut(sizes[0] + SLACK))
                .zip(b.chunks_exact_mut(sizes[1] + SLACK))
            {
                partition(context.tier, self.column(place), rows, a, b);
            }
            Ok((a, b))
        })?;
        let (a, b): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
        let features: Vec<u32> = kept.iter().map(|&p| self.features[p]).collect();
        let side = |groups, rows| Columns {
            features: features.clone(),
            groups,
            rows,
        };
        Ok([side(a, sizes[0]), side(b, sizes[1])])
    }
}

impl Wide {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.packed.len()
    }

    /// Splits into the rows of the set and the others.
    pub fn split(
        &self,
        context: &Context,
        rows: &[u64],
        varying: &[bool],
        control: &Control,
    ) -> Result<[Wide; 2]> {
        let classes = self.total.len();
        let left: usize = rows.iter().map(|word| word.count_ones() as usize).sum();
        let new = |rows: usize| Wide {
            packed: vec![0; rows + 1],
            offsets: vec![0; classes + 1],
            total: vec![0; classes],
            columns: None,
        };
        let (mut a, mut b) = (new(left), new(self.rows() - left));
        let (mut l, mut r) = (0, 0);
        for class in 0..classes {
            let mut count = 0;
            for i in self.offsets[class] as usize..self.offsets[class + 1] as usize {
                let packed = self.packed[i];
                let bit = (rows[i / 64] >> (i % 64) & 1) as usize;
                a.packed[l] = packed;
                b.packed[r] = packed;
                l += bit;
                r += 1 - bit;
                count += context.count(packed) * bit as u32;
            }
            a.offsets[class + 1] = l as u32;
            b.offsets[class + 1] = r as u32;
            a.total[class] = count;
            b.total[class] = self.total[class] - count;
        }
        a.packed.truncate(left);
        b.packed.truncate(r);
        if let Some(columns) = &self.columns {
            let [c, d] = columns.split(context, rows, left, varying, control)?;
            a.columns = Some(c);
            b.columns = Some(d);
        }
        Ok([a, b])
    }
}
