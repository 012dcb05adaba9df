use super::*;
use proptest::prelude::*;

/// Counts one cell at a time.
fn plain(x: &[i64], d: usize, y: &[u32], w: Option<&[f64]>, k: usize) -> Counts {
    let column = |j: usize| x[j..].iter().step_by(d);
    let categories: Vec<usize> = (0..d)
        .map(|j| *column(j).max().unwrap() as usize + 1)
        .collect();
    let mut class = vec![0.0; k];
    let mut cells = Vec::new();
    for (i, c) in y.iter().enumerate() {
        class[*c as usize] += w.map_or(1.0, |w| w[i]);
    }
    for (j, n) in categories.iter().enumerate() {
        let mut mine = vec![0.0; k * n];
        for (i, code) in column(j).enumerate() {
            mine[y[i] as usize * n + *code as usize] += w.map_or(1.0, |w| w[i]);
        }
        cells.extend(mine);
    }
    Counts {
        class,
        categories,
        cells,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn chunks_and_groups_count_every_cell_once(
        rows in 1usize..5000,
        d in 1usize..80,
        k in 1usize..5,
        top in prop::sample::select(vec![1usize, 3, 17, 400, 300_000]),
        seed in 0u64..1000,
        weighted: bool,
    ) {
        let rows = rows.min(40_000 / d);
        let mut stream = crate::rng::Stream::new(seed, 0);
        // Codes rise along the rows, so that tables have to grow.
        let x: Vec<i64> = (0..rows * d)
            .map(|i| stream.below(1 + top * (1 + i / d) / rows) as i64)
            .collect();
        let y: Vec<u32> = (0..rows).map(|_| stream.below(k) as u32).collect();
        let w: Vec<f64> = (0..rows).map(|_| stream.below(4) as f64).collect();
        let w = weighted.then_some(w.as_slice());
        let cells = d * (top + 1) * k;
        prop_assume!(cells < 1 << 22);
        let found = counts(&Control::serial(), &x, d, &y, w, k, None).unwrap();
        prop_assert_eq!(&found, &plain(&x, d, &y, w, k));
        let cut = rows / 2;
        if cut > 0 {
            let part = |r: std::ops::Range<usize>| {
                let w = w.map(|w| &w[r.clone()]);
                counts(&Control::serial(), &x[r.start * d..r.end * d], d, &y[r], w, k, None).unwrap()
            };
            let mut merged = Counts::init(k, d);
            merged.merge(&part(0..cut)).unwrap();
            merged.merge(&part(cut..rows)).unwrap();
            prop_assert_eq!(merged, found);
        }
    }
}

#[test]
fn negative_and_huge_codes_are_reported() {
    let count = |x: &[i64]| counts(&Control::serial(), x, 1, &[0, 0], None, 1, None);
    assert_eq!(count(&[1, -3]).unwrap_err(), negative(-3));
    assert_eq!(count(&[1, i64::MIN]).unwrap_err(), negative(i64::MIN));
    for code in [1 << 40, i64::MAX] {
        assert!(matches!(count(&[1, code]), Err(Error::TooLarge { .. })));
    }
    let least = counts(
        &Control::serial(),
        &[0u8, 1],
        1,
        &[0, 0],
        None,
        1,
        Some(&[5]),
    )
    .unwrap();
    assert_eq!(least.categories, [5]);
    assert_eq!(least.cells, [1.0, 1.0, 0.0, 0.0, 0.0]);
    let huge = counts(
        &Control::serial(),
        &[0u8, 1],
        1,
        &[0, 0],
        None,
        1,
        Some(&[i64::MAX]),
    );
    assert!(matches!(huge, Err(Error::TooLarge { .. })));
}

#[test]
fn a_model_checks_its_arrays_and_smooths_the_unknown() {
    let good = Counts {
        class: vec![3.0, 1.0],
        categories: vec![2],
        cells: vec![3.0, 0.0, 0.0, 1.0],
    };
    let prior = vec![0.75f64.ln(), 0.25f64.ln()];
    let model = CategoricalModel::new(good.clone(), prior.clone(), 1.0).unwrap();
    let joint = model
        .joint_log_likelihood(&Control::serial(), &[0i64, 1, 2, 99])
        .unwrap();
    let want = [
        0.75 * 4.0 / 5.0,
        0.25 / 3.0,
        0.75 / 5.0,
        0.25 * 2.0 / 3.0,
        0.75 / 5.0,
        0.25 / 3.0,
        0.75 / 5.0,
        0.25 / 3.0,
    ];
    for (a, b) in joint.iter().zip(want) {
        assert!((a.exp() - b).abs() < 1e-12);
    }
    let codes = model.predict(&Control::serial(), &[0u8, 1]).unwrap();
    assert_eq!(codes, [0, 1]);
    let bad = model.predict(&Control::serial(), &[0i32, -7]).unwrap_err();
    assert_eq!(bad, negative(-7));
    let new = |counts: &Counts, prior: &[f64], alpha: f64| {
        CategoricalModel::new(counts.clone(), prior.to_vec(), alpha)
    };
    assert!(new(&good, &prior, f64::INFINITY).is_err());
    assert!(new(&good, &prior, -1.0).is_err());
    assert!(new(&good, &prior[..1], 1.0).is_err());
    assert!(new(&good, &[f64::NAN, 0.0], 1.0).is_err());
    for change in [
        |c: &mut Counts| c.cells[0] = f64::NAN,
        |c: &mut Counts| c.cells[0] = -1.0,
        |c: &mut Counts| c.categories[0] = 3,
        |c: &mut Counts| c.categories[0] = usize::MAX,
        |c: &mut Counts| c.categories.clear(),
        |c: &mut Counts| c.class.clear(),
    ] {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(new(&bad, &prior, 1.0).is_err());
    }
}
