//! Centres from labels.
//!
//! Sums over the rows of each cluster are kept in double precision. While few rows move, only
//! those are taken off one sum and put on another; the sums are built anew when many move and
//! every [`REFRESH`] iterations, so that rounding cannot pile up. Rows are added in row order, in
//! pieces that depend on the data alone, whatever the threads.

use super::Rows;
use super::assign::{Chunk, NONE};
use super::points::Points;
use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use ironlearn_kernels::distance::{Real, add_row, pair};
use ironlearn_kernels::tier;

/// Iterations after which the sums are built anew.
const REFRESH: usize = 32;
/// Elements of X in one piece of a sum.
const PIECE: usize = 1 << 17;

/// Weighted sums of the rows of each cluster.
pub struct Sums {
    sum: Vec<f64>,
    weight: Vec<f64>,
    /// Rows of positive weight: tells an empty cluster from one whose weight was rounded.
    members: Vec<usize>,
    age: usize,
}

impl Sums {
    /// The sums of no rows.
    pub fn new(clusters: usize, features: usize) -> Sums {
        Sums {
            sum: vec![0.0; clusters * features],
            weight: vec![0.0; clusters],
            members: vec![0; clusters],
            age: 0,
        }
    }

    /// Follows the moves of the last assignment; `moved` is their number.
    pub fn follow<'a, T: Real>(
        &mut self,
        control: &Control,
        rows: &Rows<T>,
        chunks: &'a [Chunk],
        moved: usize,
    ) -> Result<()> {
        self.age += 1;
        let anew = 2 * moved >= rows.count || self.age >= REFRESH;
        if anew {
            *self = Sums::new(self.members.len(), rows.features);
        }
        let steps = |chunk: &'a Chunk| {
            let all = if anew { &chunk.labels[..] } else { &[] };
            let moves = if anew { &[] } else { &chunk.moves[..] };
            let labels = all.iter().enumerate();
            let whole = labels.map(|(i, &label)| ((chunk.start + i) as u32, label, true));
            let both = moves
                .iter()
                .flat_map(|m| [(m.row, m.from, false), (m.row, m.to, true)]);
            whole.chain(both.filter(|step| step.1 != NONE))
        };
        // Sums of all clusters for each chunk read X in its order, but must be few and small
        // beside X; else each cluster gathers its rows.
        let k = self.members.len();
        let count = if anew { rows.count } else { moved };
        if 8 * k <= rows.chunk() && k * chunks.len() <= count {
            self.add_by_chunk(control, rows, chunks, steps)?;
        } else {
            self.add_by_cluster(control, rows, chunks.iter().flat_map(steps))?;
        }
        for c in 0..k {
            if self.members[c] == 0 {
                self.weight[c] = 0.0;
                self.sum[c * rows.features..(c + 1) * rows.features].fill(0.0);
            }
        }
        Ok(())
    }

    /// Adds (or takes off) rows, chunk by chunk.
    fn add_by_chunk<'a, T: Real, I: Iterator<Item = (u32, u32, bool)>>(
        &mut self,
        control: &Control,
        rows: &Rows<T>,
        chunks: &'a [Chunk],
        steps: impl Fn(&'a Chunk) -> I + Sync,
    ) -> Result<()> {
        let (k, d) = (self.members.len(), rows.features);
        let tier = tier::active();
        let parts = map_chunks(control, chunks.len(), 1, |range| {
            let mut part = (vec![0.0; k * d], vec![0.0; k], vec![0isize; k]);
            for (row, cluster, plus) in steps(&chunks[range.start]) {
                let (row, c) = (row as usize, cluster as usize);
                let weight = rows.weight(row);
                let signed = if plus { weight } else { -weight };
                let sum = &mut part.0[c * d..(c + 1) * d];
                add_row(tier, rows.row(row), rows.offset, signed, sum);
                part.1[c] += signed;
                part.2[c] += isize::from(weight > 0.0) * if plus { 1 } else { -1 };
            }
            Ok(part)
        })?;
        for (sum, weight, members) in &parts {
            for (a, b) in self.sum.iter_mut().zip(sum) {
                *a += b;
            }
            for c in 0..k {
                self.weight[c] += weight[c];
                self.members[c] = self.members[c].wrapping_add_signed(members[c]);
            }
        }
        Ok(())
    }

    /// Adds (or takes off) rows, grouped by cluster.
    fn add_by_cluster<T: Real>(
        &mut self,
        control: &Control,
        rows: &Rows<T>,
        steps: impl Iterator<Item = (u32, u32, bool)> + Clone,
    ) -> Result<()> {
        let k = self.members.len();
        let mut ends = vec![0usize; k + 1];
        for (_, cluster, _) in steps.clone() {
            ends[cluster as usize + 1] += 1;
        }
        for c in 0..k {
            ends[c + 1] += ends[c];
        }
        let mut next = ends.clone();
        let mut order = vec![(0u32, false); ends[k]];
        for (row, cluster, plus) in steps {
            order[next[cluster as usize]] = (row, plus);
            next[cluster as usize] += 1;
            let positive = usize::from(rows.weight(row as usize) > 0.0);
            let members = &mut self.members[cluster as usize];
            *members = if plus {
                *members + positive
            } else {
                *members - positive
            };
        }
        let piece = (PIECE / rows.features).max(1);
        let mut pieces = Vec::new();
        for c in 0..k {
            for from in (ends[c]..ends[c + 1]).step_by(piece) {
                pieces.push((c, from..(from + piece).min(ends[c + 1])));
            }
        }
        let tier = tier::active();
        let parts = map_chunks(control, pieces.len(), 1, |range| {
            let (_, steps) = &pieces[range.start];
            let mut sum = vec![0.0; rows.features];
            let mut weight = 0.0;
            for &(row, plus) in &order[steps.clone()] {
                let w = rows.weight(row as usize);
                let w = if plus { w } else { -w };
                add_row(tier, rows.row(row as usize), rows.offset, w, &mut sum);
                weight += w;
            }
            Ok((sum, weight))
        })?;
        for ((c, _), (sum, weight)) in pieces.iter().zip(parts) {
            self.weight[*c] += weight;
            let span = c * rows.features..(c + 1) * rows.features;
            for (a, b) in self.sum[span].iter_mut().zip(sum) {
                *a += b;
            }
        }
        Ok(())
    }

    /// The centres that belong to the labels. An empty cluster gets the row that lies farthest
    /// from its own centre, as in scikit-learn; where all rows lie on their centres, it gets
    /// the place of the heaviest cluster.
    pub fn centres<T: Real>(
        &self,
        control: &Control,
        rows: &Rows<T>,
        chunks: &[Chunk],
        old: &[T],
    ) -> Result<Vec<T>> {
        if self.members.iter().all(|m| *m > 0) {
            return Ok(averages(
                &self.sum,
                &self.weight,
                &self.members,
                rows.features,
            ));
        }
        let d = rows.features;
        let (mut sum, mut weight) = (self.sum.clone(), self.weight.clone());
        let mut members = self.members.clone();
        let empty: Vec<usize> = (0..members.len()).filter(|&c| members[c] == 0).collect();
        for (&c, (row, label)) in
            empty
                .iter()
                .zip(farthest(control, rows, chunks, old, empty.len())?)
        {
            let w = rows.weight(row);
            for (j, x) in rows.shifted(row).enumerate() {
                let x: f64 = x.into();
                sum[label * d + j] -= w * x;
                sum[c * d + j] = w * x;
            }
            weight[c] = w;
            weight[label] -= w;
            members[c] = 1;
            members[label] -= 1;
        }
        Ok(averages(&sum, &weight, &members, d))
    }
}

fn averages<T: Real>(sum: &[f64], weight: &[f64], members: &[usize], d: usize) -> Vec<T> {
    let mut heaviest = 0;
    for c in 0..weight.len() {
        if members[c] > 0 && (members[heaviest] == 0 || weight[c] > weight[heaviest]) {
            heaviest = c;
        }
    }
    let mut out = Vec::with_capacity(sum.len());
    for c in 0..weight.len() {
        let from = if members[c] > 0 { c } else { heaviest };
        let total = weight[from];
        out.extend(
            sum[from * d..(from + 1) * d]
                .iter()
                .map(|s| T::from_f64(s / total)),
        );
    }
    out
}

/// The `count` rows of positive weight that are farthest from their centres, with the labels;
/// fewer where rows lie on their centres.
fn farthest<T: Real>(
    control: &Control,
    rows: &Rows<T>,
    chunks: &[Chunk],
    centres: &[T],
    count: usize,
) -> Result<Vec<(usize, usize)>> {
    let d = rows.features;
    let tier = tier::active();
    let lists = map_chunks(control, chunks.len(), 1, |range| {
        let chunk = &chunks[range.start];
        let mut list: Vec<(f64, usize, usize)> = Vec::new();
        for (i, &label) in chunk.labels.iter().enumerate() {
            let (row, label) = (chunk.start + i, label as usize);
            if rows.weight(row) > 0.0 {
                let centre = &centres[label * d..(label + 1) * d];
                list.push((
                    pair(tier, rows.row(row), rows.offset, centre).into(),
                    row,
                    label,
                ));
            }
        }
        list.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        list.truncate(count);
        Ok(list)
    })?;
    let mut all = lists.concat();
    all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    if all.first().is_none_or(|first| first.0 == 0.0) {
        all.clear();
    }
    all.truncate(count);
    Ok(all
        .into_iter()
        .map(|(_, row, label)| (row, label))
        .collect())
}

/// Weighted sum of squared distances to the rows' centres.
pub fn inertia<T: Real>(
    control: &Control,
    rows: &Rows<T>,
    chunks: &[Chunk],
    centres: &[T],
) -> Result<f64> {
    let d = rows.features;
    let tier = tier::active();
    let parts = map_chunks(control, chunks.len(), 1, |range| {
        let chunk = &chunks[range.start];
        let mut sum = 0.0;
        for (i, &label) in chunk.labels.iter().enumerate() {
            let (row, label) = (chunk.start + i, label as usize);
            let near = pair(
                tier,
                rows.row(row),
                rows.offset,
                &centres[label * d..(label + 1) * d],
            );
            sum += rows.weight(row) * near.into();
        }
        Ok(sum)
    })?;
    Ok(parts.iter().sum())
}
