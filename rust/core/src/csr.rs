//! The structure of CSR matrices.

use crate::error::Result;
use crate::naive_bayes::rows::Index;
use crate::parallel::Control;

/// Whether no element of a CSR matrix is stored in parts: each column at most once in a row,
/// in any order. `None` if row starts or columns are out of range.
pub fn is_whole<I: Index>(
    control: &Control,
    indices: &[I],
    indptr: &[I],
    features: usize,
) -> Result<Option<bool>> {
    // The last row in which a column was seen, for rows that are not sorted.
    let mut seen: Vec<usize> = Vec::new();
    let mut whole = true;
    let mut start = 0;
    if indptr.first().is_none_or(|p| p.place() != 0) {
        return Ok(None);
    }
    for (i, end) in indptr[1..].iter().map(|p| p.place()).enumerate() {
        if i % 4096 == 0 {
            control.check()?;
        }
        let Some(row) = indices.get(start..end) else {
            return Ok(None);
        };
        start = end;
        let (mut rising, mut inside, mut next) = (true, true, 0);
        for j in row {
            let j = j.place();
            inside &= j < features;
            rising &= j >= next;
            next = j.saturating_add(1);
        }
        if !inside {
            return Ok(None);
        }
        if !rising {
            seen.resize(features, usize::MAX);
            for j in row {
                whole &= std::mem::replace(&mut seen[j.place()], i) != i;
            }
        }
    }
    Ok((start == indices.len()).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_broken_structures_are_found() {
        let control = Control::serial();
        let is = |indices: &[i32], indptr: &[i32]| is_whole(&control, indices, indptr, 3).unwrap();
        assert_eq!(is(&[], &[0]), Some(true));
        assert_eq!(is(&[2, 0, 1, 1], &[0, 3, 4]), Some(true));
        assert_eq!(is(&[0, 1, 2, 1], &[0, 2, 2, 4]), Some(true));
        assert_eq!(is(&[0, 1, 1], &[0, 0, 3]), Some(false));
        assert_eq!(is(&[2, 0, 2, 1], &[0, 3, 4]), Some(false));
        for (indices, indptr) in [
            (&[0, 3][..], &[0, 2][..]),
            (&[0, -1], &[0, 2]),
            (&[0, 1], &[1, 2]),
            (&[0, 1], &[0, 3]),
            (&[0, 1], &[0, 1]),
            (&[0, 1], &[0, 2, 1]),
            (&[0, 1], &[0, -1, 2]),
            (&[], &[]),
        ] {
            assert_eq!(is(indices, indptr), None);
        }
        assert_eq!(
            is_whole(&control, &[i64::MAX, 0], &[0, 2], 3).unwrap(),
            None
        );
    }
}
