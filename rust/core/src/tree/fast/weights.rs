//! Row weights as integer counts times a factor a class.

use super::wide::Wide;

/// The weight of row i is `count[i] * scale[y[i]]`.
pub(super) struct Counts {
    /// Empty where every row counts once.
    count: Vec<u32>,
    pub scale: Vec<f64>,
    /// Bits that hold a row's number.
    pub shift: u32,
}

/// Counts of all rows together stay below this.
const LARGEST_SUM: u64 = 1 << 31;

impl Counts {
    /// Factors the weights; `None` where they are not small integers up to a factor a class.
    pub fn new(y: &[u32], n_classes: usize, weight: Option<&[f64]>) -> Option<Counts> {
        let shift = (usize::BITS - y.len().saturating_sub(1).leading_zeros()).max(1);
        let Some(weight) = weight else {
            return Some(Counts {
                count: Vec::new(),
                scale: vec![1.0; n_classes],
                shift,
            });
        };
        let largest = if shift >= 32 { 1 } else { u32::MAX >> shift };
        let fits = |scale: &[f64]| -> Option<Vec<u32>> {
            let mut sum = 0u64;
            let mut counts = Vec::with_capacity(weight.len());
            for (&w, &class) in weight.iter().zip(y) {
                let scale = scale[class as usize];
                let count = (w / scale).round();
                if count > f64::from(largest) || count * scale != w {
                    return None;
                }
                sum += count as u64;
                counts.push(count as u32);
            }
            (sum < LARGEST_SUM).then_some(counts)
        };
        let ones = vec![1.0; n_classes];
        let (count, scale) = match fits(&ones) {
            Some(count) => (count, ones),
            None => {
                let mut least = vec![f64::INFINITY; n_classes];
                for (&w, &class) in weight.iter().zip(y) {
                    let least = &mut least[class as usize];
                    if w > 0.0 && w < *least {
                        *least = w;
                    }
                }
                for l in &mut least {
                    if l.is_infinite() {
                        *l = 1.0;
                    }
                }
                (fits(&least)?, least)
            }
        };
        let unit = count.iter().all(|&c| c == 1);
        Some(Counts {
            count: if unit { Vec::new() } else { count },
            scale,
            shift,
        })
    }

    /// Whether every row counts once.
    pub fn unit(&self) -> bool {
        self.count.is_empty()
    }

    /// All rows with a positive count. `order` has all rows, grouped by class; a row's number
    /// is its place there.
    pub fn root(&self, y: &[u32], order: &[u32]) -> Option<Wide> {
        let classes = self.scale.len();
        let mut offsets = vec![0u32; classes + 1];
        let mut total = vec![0u32; classes];
        let mut packed = Vec::with_capacity(order.len());
        for (place, &row) in order.iter().enumerate() {
            let (class, row) = (y[row as usize] as usize, row as usize);
            let count = self.count.get(row).copied().unwrap_or(1);
            if count == 0 {
                continue;
            }
            offsets[class + 1] += 1;
            total[class] += count;
            let above = if self.unit() {
                0
            } else {
                u64::from(count) << self.shift
            };
            packed.push(u32::try_from(above | place as u64).ok()?);
        }
        for class in 0..classes {
            offsets[class + 1] += offsets[class];
        }
        Some(Wide {
            packed,
            offsets,
            total,
            columns: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors() {
        let y = [0, 1, 1, 0];
        assert!(Counts::new(&y, 2, None).unwrap().unit());
        let whole = Counts::new(&y, 2, Some(&[2.0, 0.0, 1.0, 1.0])).unwrap();
        assert_eq!(whole.scale, [1.0, 1.0]);
        let root = whole.root(&y, &[0, 3, 1, 2]).unwrap();
        assert_eq!(root.offsets, [0, 2, 3]);
        assert_eq!(root.total, [3, 1]);
        assert_eq!(root.packed, [2 << 2, 1 | 1 << 2, 3 | 1 << 2]);
        let classes = Counts::new(&y, 2, Some(&[0.3, 1.7, 1.7, 0.3])).unwrap();
        assert!(classes.unit());
        assert_eq!(classes.scale, [0.3, 1.7]);
        assert!(Counts::new(&y, 2, Some(&[0.3, 1.7, 1.7, 0.7])).is_none());
    }
}
