//! Each tier beside plain loops in double precision.

use super::*;
use crate::tier::supported;
use proptest::prelude::*;

/// Rows of `d` numbers each, with an offset.
fn data() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, usize, Vec<f64>)> {
    (1usize..90, 1usize..33, 1usize..40).prop_flat_map(|(d, n, k)| {
        let numbers = |n: usize| prop::collection::vec(-4.0f64..4.0, n);
        (numbers(n * d), numbers(k * d), Just(d), numbers(d))
    })
}

fn check<T: Real>(x: &[f64], centres: &[f64], d: usize, offset: &[f64], eps: f64) {
    let cast = |v: &[f64]| v.iter().map(|&v| T::from_f64(v)).collect::<Vec<T>>();
    let (x, centres, offset) = (cast(x), cast(centres), cast(offset));
    let (n, k) = (x.len() / d, centres.len() / d);
    let wide_of = |v: T| -> f64 { v.into() };
    let at = |i: usize, j: usize| wide_of(x[i * d + j] - offset[j]);
    let exact = |i: usize, c: usize| -> f64 {
        (0..d)
            .map(|j| (at(i, j) - wide_of(centres[c * d + j])).powi(2))
            .sum()
    };
    let norm = |i: usize| -> f64 { (0..d).map(|j| at(i, j).powi(2)).sum() };
    let names: Vec<u32> = (0..k as u32).collect();
    let slack = eps * 300.0 * d as f64;
    for tier in supported() {
        let lanes = lanes::<T>(tier);
        assert!(lanes <= MOST_LANES);
        let packed = pack_centres(tier, &centres, d, &names);
        let mut panel = vec![T::default(); 2 * lanes * d];
        let mut turned = vec![T::default(); 2 * lanes * d];
        let zeros = vec![T::default(); d];
        for start in (0..n).step_by(2 * lanes) {
            let rows: Vec<u32> = (start..n.min(start + 2 * lanes))
                .map(|i| i as u32)
                .collect();
            let wide = pack(tier, &x, &rows, &offset, &mut panel);
            let width = if wide { 2 * lanes } else { lanes };
            let mut best = vec![T::default(); width];
            let (mut second, mut name) = (best.clone(), best.clone());
            let out = Best {
                best: &mut best,
                second: &mut second,
                name: &mut name,
            };
            nearest(tier, &panel, wide, true, &packed, out);
            let mut squared = vec![T::default(); width * k];
            squares(tier, &panel, wide, &packed, &mut squared);
            for (p, &i) in rows.iter().enumerate() {
                let i = i as usize;
                let mut sorted: Vec<f64> = (0..k).map(|c| exact(i, c)).collect();
                let found = exact(i, name[p].to_name() as usize);
                sorted.sort_by(f64::total_cmp);
                assert!((found - sorted[0]).abs() <= slack, "{tier:?}");
                assert!((norm(i) + 2.0 * wide_of(best[p]) - sorted[0]).abs() <= slack);
                if k > 1 {
                    assert!((norm(i) + 2.0 * wide_of(second[p]) - sorted[1]).abs() <= slack);
                } else {
                    assert!(!second[p].finite());
                }
                for c in 0..k {
                    assert!((wide_of(squared[c * width + p]) - exact(i, c)).abs() <= slack);
                }
                let c = name[p].to_name() as usize;
                let row = &x[i * d..(i + 1) * d];
                let near = pair(tier, row, &offset, &centres[c * d..(c + 1) * d]);
                assert!((wide_of(near) - found).abs() <= slack);
                // One row with the places exchanged: the same bits.
                let shifted: Vec<T> = (0..d).map(|j| row[j] - offset[j]).collect();
                let group: Vec<u32> = vec![c as u32];
                let turned_wide = pack(tier, &centres, &group, &zeros, &mut turned);
                let mut products = vec![T::default(); 2 * lanes];
                dots(tier, &turned, turned_wide, &shifted, &mut products);
                let half = pack_centres(tier, &centres, d, &group).half[0];
                assert_eq!(wide_of(half - products[0]), wide_of(best[p]));
            }
        }
        let mut sum = vec![1.0; d];
        add_row(tier, &x[..d], &offset, 0.5, &mut sum);
        for j in 0..d {
            assert_eq!(sum[j], 1.0 + 0.5 * at(0, j));
        }
    }
}

proptest! {
    #[test]
    fn single_precision((x, centres, d, offset) in data()) {
        check::<f32>(&x, &centres, d, &offset, f64::from(f32::EPSILON));
    }

    #[test]
    fn double_precision((x, centres, d, offset) in data()) {
        check::<f64>(&x, &centres, d, &offset, f64::EPSILON);
    }
}

#[test]
fn equal_centres_give_the_first_and_nan_never_wins() {
    for tier in supported() {
        let centres = [1.0f32, 1.0, 5.0, 1.0];
        let packed = pack_centres(tier, &centres, 1, &[0, 1, 2, 3]);
        let mut panel = vec![0.0; 2 * MOST_LANES];
        let wide = pack(tier, &[1.5, f32::NAN], &[0, 1], &[0.0], &mut panel);
        let mut out = [[0.0f32; 2 * MOST_LANES]; 3];
        let [best, second, name] = &mut out;
        nearest(
            tier,
            &panel,
            wide,
            true,
            &packed,
            Best { best, second, name },
        );
        assert_eq!((out[2][0], out[0][0], out[1][0]), (0.0, -1.0, -1.0));
        assert_eq!(out[0][1], f32::INFINITY);
    }
}

proptest! {
    #[test]
    fn sparse_rows_as_dense_ones(
        (x, centres, d, _) in data(),
        keep in prop::collection::vec(any::<bool>(), 90),
    ) {
        let (n, k) = (x.len() / d, centres.len() / d);
        for tier in supported() {
            let length = |c: &[f64]| c.iter().map(|v| v * v).sum::<f64>();
            let halves = centres.chunks(d).map(|c| 0.5 * length(c)).collect();
            let turned = Turned::new(tier, &centres, d, halves);
            prop_assert_eq!((turned.len(), turned.features()), (k, d));
            let mut squares = vec![0.0; turned.width()];
            for i in 0..n {
                // Columns backwards: their order must not matter.
                let stored = (0..d).rev().filter(|&j| keep[(i + j) % 90]);
                let columns: Vec<i32> = stored.map(|j| j as i32).collect();
                let wide: Vec<i64> = columns.iter().map(|&j| i64::from(j)).collect();
                let at = |j: &i32| x[i * d + *j as usize];
                let values: Vec<f64> = columns.iter().map(at).collect();
                let places = Places::Narrow(&columns);
                let mut full = vec![0.0; d];
                for (&j, &v) in columns.iter().zip(&values) {
                    full[j as usize] = v;
                }
                let exact = |c: usize| -> f64 {
                    let pairs = full.iter().zip(&centres[c * d..]);
                    pairs.map(|(a, b)| (a - b) * (a - b)).sum()
                };
                let row = |places| SparseRow { values: &values, places };
                let mut found = [(0.0, 9); 2];
                let both = [row(places), row(Places::Wide(&wide))];
                sparse_nearest(tier, &both, &turned, &mut found);
                prop_assert_eq!(found[0], found[1]);
                let (score, name) = found[0];
                let mut norms = [0.0; 2];
                sparse_norms(tier, &both, &mut norms);
                let norm = norms[0];
                let lowest = (0..k).map(exact).fold(f64::INFINITY, f64::min);
                let slack = 1e-9 * (1.0 + lowest);
                prop_assert!((exact(name as usize) - lowest).abs() <= slack);
                prop_assert!((norm + 2.0 * score - lowest).abs() <= slack);
                sparse_squares(tier, &both[..1], Some(&norms), &turned, &mut squares);
                for c in 0..k {
                    prop_assert!((squares[c] - exact(c)).abs() <= slack);
                }
                // A centre that is the row itself.
                let own = Turned::new(tier, &full, d, vec![0.5 * norm]);
                let mut own_square = vec![1.0; own.width()];
                sparse_squares(tier, &both[..1], None, &own, &mut own_square);
                prop_assert_eq!(own_square[0], 0.0);
            }
        }
    }
}

#[test]
fn sparse_ties_go_to_the_first_and_nan_never_wins() {
    for tier in supported() {
        let centres = vec![1.0f32; 37];
        let turned = Turned::new(tier, &centres, 1, vec![0.5; 37]);
        let nearest = |value: f32, place: i32| {
            let (values, places) = ([value], [place]);
            let row = SparseRow {
                values: &values[..],
                places: Places::Narrow(&places),
            };
            let mut found = [(0.0, 9)];
            sparse_nearest(tier, &[row], &turned, &mut found);
            found[0]
        };
        assert_eq!(nearest(2.0, 0), (-1.5, 0));
        assert_eq!(nearest(f32::NAN, 0), (f64::INFINITY, 0));
        for bad in [-1, 1] {
            let read = std::panic::catch_unwind(|| nearest(2.0, bad));
            assert!(read.is_err());
        }
    }
}

#[test]
fn a_survey_finds_what_is_wrong() {
    for tier in supported() {
        let values = vec![1.5f32; 37];
        let places: Vec<i32> = (0..37).collect();
        let good = survey(tier, &values, Places::Narrow(&places));
        assert!(good.finite);
        assert_eq!((good.top, good.falls), (36, 0));
        for place in 0..37 {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = values.clone();
                values[place] = bad;
                assert!(!survey(tier, &values, Places::Narrow(&places)).finite);
            }
            let mut places = places.clone();
            places[place] = -1;
            let found = survey(tier, &values, Places::Narrow(&places));
            assert!(found.top > i32::MAX as usize);
            assert_eq!(found.falls, usize::from(place > 0));
            let wide: Vec<i64> = places.iter().map(|&p| i64::from(p)).collect();
            assert!(survey(tier, &values, Places::Wide(&wide)).top > i32::MAX as usize);
        }
    }
}
