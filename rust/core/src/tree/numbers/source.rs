//! Weights and targets of rows, in the form that suits the loop that reads them.

/// Weight and target of each row, for one output.
pub(in crate::tree) trait Source: Sync {
    /// Whether every row weighs 1.
    const UNIT: bool;

    /// Weight and target of a row.
    fn at(&self, row: u32) -> (f64, f64);
}

/// Rows that all weigh 1.
pub(in crate::tree) struct Unit<'a>(pub &'a [f64]);

impl Source for Unit<'_> {
    const UNIT: bool = true;

    #[inline]
    fn at(&self, row: u32) -> (f64, f64) {
        (1.0, self.0[row as usize])
    }
}

/// Weight and target side by side, so that a row is one access.
pub(in crate::tree) struct Pairs<'a>(pub &'a [[f64; 2]]);

impl Source for Pairs<'_> {
    const UNIT: bool = false;

    #[inline]
    fn at(&self, row: u32) -> (f64, f64) {
        let [weight, target] = self.0[row as usize];
        (weight, target)
    }
}

/// Weights and targets of the rows of one tree.
pub(in crate::tree) struct Rows<'a> {
    pub values: &'a [f64],
    pub outputs: usize,
    /// Empty where every row weighs 1.
    pub weight: &'a [f64],
    /// Weight and target, where there are weights and one output.
    pub pairs: Vec<[f64; 2]>,
}

impl<'a> Rows<'a> {
    pub fn new(values: &'a [f64], outputs: usize, weight: Option<&'a [f64]>) -> Self {
        let weight = weight.filter(|weight| weight.iter().any(|&w| w != 1.0));
        let pairs = match weight {
            Some(weight) if outputs == 1 => {
                weight.iter().zip(values).map(|(&w, &y)| [w, y]).collect()
            }
            _ => Vec::new(),
        };
        Rows {
            values,
            outputs,
            weight: weight.unwrap_or(&[]),
            pairs,
        }
    }

    #[inline]
    pub fn weight(&self, row: u32) -> f64 {
        if self.weight.is_empty() {
            1.0
        } else {
            self.weight[row as usize]
        }
    }

    #[inline]
    pub fn target(&self, row: u32, output: usize) -> f64 {
        self.values[row as usize * self.outputs + output]
    }
}

/// Whether all targets are whole numbers that add up exactly over so many rows.
pub(in crate::tree) fn all_whole(values: &[f64], rows: usize) -> bool {
    const EXACT: f64 = (1u64 << 53) as f64;
    values
        .iter()
        .all(|v| v.fract() == 0.0 && v.abs() * rows as f64 <= EXACT)
}
