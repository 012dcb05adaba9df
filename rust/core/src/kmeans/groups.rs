//! Centres in groups that share a bound.

use ironlearn_kernels::distance::{Packed, Real, pack_centres};
use ironlearn_kernels::tier;

/// Centres in one group: as many as the distance loop takes in one block.
const SIZE: usize = 12;

/// Groups of centres, fixed while bounds are kept, and how far the centres have gone since.
pub struct Groups<T> {
    /// Names of the members of each group, ascending.
    pub members: Vec<Vec<u32>>,
    /// The group of each centre.
    pub of: Vec<u32>,
    /// The centres as they are now, group by group.
    pub packed: Vec<Packed<T>>,
    /// Length of each centre's way since the bounds were built.
    pub way: Vec<f64>,
    /// Sum over iterations of the longest step in each group.
    pub group_way: Vec<f64>,
    /// Sum over iterations of the longest step of all.
    pub all_way: f64,
    /// The largest squared norm that any centre has had.
    pub largest: f64,
}

impl<T: Real> Groups<T> {
    /// Groups of neighbouring centres. There are no more groups than features, so that the
    /// bounds take no more memory than X.
    pub fn new(centres: &[T], features: usize) -> Self {
        let k = centres.len() / features;
        let count = k.div_ceil(SIZE).clamp(1, features);
        let mut members = Vec::with_capacity(count);
        let names: Vec<u32> = (0..k as u32).collect();
        split(centres, features, names, count, &mut members);
        let mut of = vec![0; k];
        for (g, names) in members.iter_mut().enumerate() {
            names.sort_unstable();
            for &name in names.iter() {
                of[name as usize] = g as u32;
            }
        }
        let mut groups = Groups {
            way: vec![0.0; k],
            group_way: vec![0.0; members.len()],
            all_way: 0.0,
            largest: 0.0,
            packed: Vec::new(),
            members,
            of,
        };
        groups.pack(centres, features);
        groups
    }

    fn pack(&mut self, centres: &[T], features: usize) {
        let tier = tier::active();
        self.packed = self
            .members
            .iter()
            .map(|names| pack_centres(tier, centres, features, names))
            .collect();
        for packed in &self.packed {
            for &half in packed.half_norms() {
                self.largest = self.largest.max(2.0 * half.into());
            }
        }
    }

    /// Follows the centres to where they are now.
    pub fn follow(&mut self, centres: &[T], features: usize, shifts: &[f64]) {
        let mut longest = vec![0.0f64; self.members.len()];
        for (c, &shift) in shifts.iter().enumerate() {
            self.way[c] += shift;
            let group = &mut longest[self.of[c] as usize];
            *group = group.max(shift);
        }
        for (way, step) in self.group_way.iter_mut().zip(&longest) {
            *way += step;
        }
        self.all_way += longest.iter().copied().fold(0.0, f64::max);
        self.pack(centres, features);
    }

    /// True once the ways are so long beside the data that their rounding could matter.
    pub fn worn_out(&self) -> bool {
        let worn = self.all_way > 8.0 * self.largest.sqrt();
        worn || !self.all_way.is_finite()
    }
}

/// Cuts the centres in two along the line between two far ones, again and again, into `count`
/// groups of nearly equal size.
fn split<T: Real>(centres: &[T], d: usize, names: Vec<u32>, count: usize, out: &mut Vec<Vec<u32>>) {
    if count <= 1 || names.len() < 2 {
        out.push(names);
        return;
    }
    let row = |name: u32| &centres[name as usize * d..(name as usize + 1) * d];
    let square = |a: u32, b: u32| -> f64 {
        let pairs = row(a).iter().zip(row(b));
        pairs
            .map(|(&v, &w)| {
                let t: f64 = (v - w).into();
                t * t
            })
            .sum()
    };
    let farthest = |from: u32| {
        let mut best = (0.0, from);
        for &name in &names {
            let s = square(from, name);
            if s > best.0 {
                best = (s, name);
            }
        }
        best.1
    };
    let a = farthest(names[0]);
    let b = farthest(a);
    let mut keyed: Vec<(f64, u32)> = names
        .iter()
        .map(|&name| (square(a, name) - square(b, name), name))
        .collect();
    keyed.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)));
    let left = count / 2;
    let cut = (keyed.len() * left / count).max(1);
    let names: Vec<u32> = keyed.into_iter().map(|(_, name)| name).collect();
    split(centres, d, names[..cut].to_vec(), left, out);
    split(centres, d, names[cut..].to_vec(), count - left, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_centre_is_in_one_group_with_its_neighbours() {
        let centres: Vec<f64> = (0..60).flat_map(|i| [f64::from(i * 7 % 60), 0.0]).collect();
        let groups = Groups::new(&centres, 2);
        assert_eq!(groups.members.len(), 2);
        let mut all: Vec<u32> = groups.members.concat();
        all.sort_unstable();
        assert_eq!(all, (0..60).collect::<Vec<u32>>());
        for members in &groups.members {
            let places = members.iter().map(|&m| centres[2 * m as usize]);
            let (low, high) = places.fold((60.0f64, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
            assert!(high - low < 30.0);
        }
    }
}
