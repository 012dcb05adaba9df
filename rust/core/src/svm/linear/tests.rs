use super::*;
use crate::rng::Stream;
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;

const OBJECTIVES: [Objective; 5] = [
    Objective::SquaredHinge { dual: false },
    Objective::SquaredHinge { dual: true },
    Objective::Hinge,
    Objective::L1SquaredHinge,
    Objective::CrammerSinger,
];

fn settings() -> Settings {
    Settings {
        tol: 1e-4,
        max_iter: 2_000,
        seed: 3,
    }
}

/// Rows around one centre a class, about half of the elements zero.
fn blobs(rows: usize, features: usize, classes: usize, seed: u64) -> (Vec<f64>, Vec<u32>) {
    let mut stream = Stream::new(seed, 0);
    let centres: Vec<f64> = (0..classes * features).map(|_| stream.next_f64()).collect();
    let codes: Vec<u32> = (0..rows).map(|i| (i % classes) as u32).collect();
    let x = codes
        .iter()
        .flat_map(|&c| (0..features).map(move |j| c as usize * features + j))
        .map(|at| {
            let noise = stream.next_f64() - 0.5;
            if stream.next_f64() < 0.5 {
                0.0
            } else {
                centres[at] + noise
            }
        })
        .collect();
    (x, codes)
}

fn to_csr(x: &[f64], features: usize) -> (Vec<f64>, Vec<i32>, Vec<i32>) {
    let (mut data, mut indices, mut indptr) = (vec![], vec![], vec![0]);
    for row in x.chunks_exact(features) {
        // Descending order: sorted indices are not promised.
        for (j, &v) in row.iter().enumerate().rev().filter(|(_, v)| **v != 0.0) {
            data.push(v);
            indices.push(j as i32);
        }
        indptr.push(data.len() as i32);
    }
    (data, indices, indptr)
}

/// The objective that `weights` reach, straight from its definition.
fn value(
    objective: Objective,
    x: &[f64],
    features: usize,
    bias: f64,
    codes: &[u32],
    cost: &[f64],
    weights: &[f64],
    classes: usize,
) -> f64 {
    let width = features + 1;
    let score = |row: &[f64], w: &[f64]| -> f64 {
        row.iter().zip(w).map(|(a, b)| a * b).sum::<f64>() + bias * w[features]
    };
    let ridge = 0.5 * weights.iter().map(|w| w * w).sum::<f64>();
    let lasso = weights.iter().map(|w| w.abs()).sum::<f64>();
    let rows = x.chunks_exact(features).zip(codes).zip(cost);
    let loss: f64 = rows
        .map(|((row, &code), c)| {
            let scores: Vec<f64> = weights.chunks_exact(width).map(|w| score(row, w)).collect();
            if objective == Objective::CrammerSinger {
                let own = scores[code as usize];
                let others = scores
                    .iter()
                    .enumerate()
                    .filter(|(m, _)| *m != code as usize);
                return c * others
                    .map(|(_, s)| (1.0 + s - own).max(0.0))
                    .fold(0.0, f64::max);
            }
            let each = scores.iter().enumerate().map(|(k, s)| {
                let positive = if classes == 2 {
                    code == 1
                } else {
                    code as usize == k
                };
                let slack = (1.0 - if positive { *s } else { -s }).max(0.0);
                if objective == Objective::Hinge {
                    slack
                } else {
                    slack * slack
                }
            });
            c * each.sum::<f64>()
        })
        .sum();
    loss + if objective == Objective::L1SquaredHinge {
        lasso
    } else {
        ridge
    }
}

/// A case solves twenty problems: few of them by default, `PROPTEST_CASES` where it is set.
fn few_cases() -> ProptestConfig {
    let standard = ProptestConfig::default();
    let wanted = std::env::var_os("PROPTEST_CASES").map(|_| standard.cases);
    ProptestConfig {
        cases: wanted.unwrap_or(24),
        ..standard
    }
}

proptest! {
    #![proptest_config(few_cases())]
    #[test]
    fn dense_sparse_and_both_precisions_agree(
        rows in 4usize..80, features in 1usize..30, classes in 2usize..5, seed in 0u64..1000,
    ) {
        prop_assume!(rows >= classes);
        let control = Control::serial();
        let (x, codes) = blobs(rows, features, classes, seed);
        // Values that f32 holds exactly, so that both types see the same problem.
        let x: Vec<f64> = x.iter().map(|&v| f64::from(v as f32)).collect();
        let narrow: Vec<f32> = x.iter().map(|&v| v as f32).collect();
        let (data, indices, indptr) = to_csr(&x, features);
        let long = |v: &[i32]| v.iter().map(|&i| i64::from(i)).collect::<Vec<_>>();
        let (wide_indices, wide_indptr) = (long(&indices), long(&indptr));
        let cost: Vec<f64> = (0..rows).map(|i| (i % 3) as f64 * 0.5).collect();
        let weight = vec![1.0; classes];
        let bias = Some(2.0);
        for objective in OBJECTIVES {
            let dense = Dense::new(&control, &x, rows, features, bias).unwrap();
            let single = Dense::new(&control, &narrow, rows, features, bias).unwrap();
            let csr = Csr::new(&control, &data, &indices, &indptr, features, bias).unwrap();
            let csr64 = Csr::new(&control, &data, &wide_indices, &wide_indptr, features, bias).unwrap();
            let fits = [
                fit(&control, &dense, &codes, &cost, &weight, objective, &settings(), Start::default()).unwrap(),
                fit(&control, &single, &codes, &cost, &weight, objective, &settings(), Start::default()).unwrap(),
                fit(&control, &csr, &codes, &cost, &weight, objective, &settings(), Start::default()).unwrap(),
                fit(&control, &csr64, &codes, &cost, &weight, objective, &settings(), Start::default()).unwrap(),
            ];
            let reached = fits.each_ref().map(|fit| {
                value(objective, &x, features, 2.0, &codes, &cost, &fit.weights, classes)
            });
            let told: f64 = fits[0].objectives.iter().sum();
            prop_assert!((told - reached[0]).abs() <= 1e-8 * reached[0].max(1e-3), "{objective:?}");
            for (fit, other) in fits.iter().zip(reached) {
                prop_assert!(fit.converged, "{objective:?} {:?}", fit.iterations);
                prop_assert!((other - reached[0]).abs() <= 3e-4 * reached[0].max(1e-3), "{objective:?} {other} {}", reached[0]);
            }
        }
    }
}

#[test]
fn threads_change_nothing() {
    let control = Control::serial();
    let cancel = AtomicBool::new(false);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    let (x, codes) = blobs(6_000, 40, 3, 5);
    let (data, indices, indptr) = to_csr(&x, 40);
    let cost = vec![1.0; 6_000];
    for objective in OBJECTIVES {
        let settings = Settings {
            max_iter: 20,
            ..settings()
        };
        let run = |control: &Control| {
            let dense = Dense::new(control, &x, 6_000, 40, Some(1.0)).unwrap();
            let sparse = Csr::new(control, &data, &indices, &indptr, 40, Some(1.0)).unwrap();
            [
                fit(
                    control,
                    &dense,
                    &codes,
                    &cost,
                    &[1.0, 2.0, 0.5],
                    objective,
                    &settings,
                    Start::default(),
                )
                .unwrap(),
                fit(
                    control,
                    &sparse,
                    &codes,
                    &cost,
                    &[1.0; 3],
                    objective,
                    &settings,
                    Start::default(),
                )
                .unwrap(),
            ]
        };
        assert_eq!(
            run(&control),
            pool.install(|| run(&Control::new(&cancel, 3)))
        );
    }
}

#[test]
fn conjugate_gradients_reach_the_exact_optimum() {
    let control = Control::serial();
    let (x, codes) = blobs(300, 40, 2, 9);
    let cost = vec![1.0; 300];
    let dense = Dense::new(&control, &x, 300, 40, Some(1.0)).unwrap();
    let goals = Goals::Class {
        codes: &codes,
        sample: &cost,
        class: 1,
        positive: 1.0,
        negative: 1.0,
    };
    let best = newton::solve(&control, &dense, &[goals], &settings(), Start::default()).unwrap();
    let dual = dual::solve(
        &control,
        &dense,
        &goals,
        &settings(),
        false,
        0,
        Start::default().of(0, 1),
    )
    .unwrap();
    let inexact = newton::solve_inexact(&control, &dense, &[goals], &settings()).unwrap();
    for other in [&dual, &inexact[0]] {
        assert!(other.converged);
        assert!((other.objective - best[0].objective).abs() <= 1e-4 * best[0].objective);
    }
}

#[test]
fn a_set_flag_stops_every_solver() {
    let cancel = AtomicBool::new(true);
    let (x, codes) = blobs(60, 4, 3, 1);
    let cost = vec![1.0; 60];
    let serial = Control::serial();
    let dense = Dense::new(&serial, &x, 60, 4, None).unwrap();
    for objective in OBJECTIVES {
        let control = Control::new(&cancel, 1);
        let answer = fit(
            &control,
            &dense,
            &codes,
            &cost,
            &[1.0; 3],
            objective,
            &settings(),
            Start::default(),
        );
        assert_eq!(answer, Err(Error::Interrupted), "{objective:?}");
    }
}

#[test]
fn broken_csr_is_rejected() {
    let control = Control::serial();
    let new = |indices: &[i32], indptr: &[i32]| {
        Csr::new(&control, &[1.0f32; 3], indices, indptr, 4, None).map(|_| ())
    };
    assert!(new(&[3, 0, 1], &[0, 2, 3]).is_ok());
    for (indices, indptr) in [
        (&[0, 1, 4][..], &[0, 2, 3][..]),
        (&[0, 1, -1], &[0, 2, 3]),
        (&[1, 1, 0], &[0, 2, 3]),
        (&[2, 0, 2], &[0, 3, 3]),
        (&[0, 1, 2], &[0, 4, 3]),
        (&[0, 1, 2], &[0, -1, 3]),
        (&[0, 1, 2], &[1, 2, 3]),
        (&[0, 1, 2], &[0, 2, 2]),
        (&[0, 1], &[0, 1, 3]),
        (&[0, 1, 2], &[]),
    ] {
        let error = new(indices, indptr).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
}

#[test]
fn bad_values_are_named() {
    let control = Control::serial();
    let text = |error: Error| error.to_string();
    let dense = |x: &[f64]| Dense::new(&control, x, 2, 2, None).map(|_| ());
    assert!(text(dense(&[0.0, f64::NAN, 1.0, 1.0]).unwrap_err()).contains("NaN"));
    assert!(text(dense(&[0.0, f64::INFINITY, 1.0, 1.0]).unwrap_err()).contains("infinity"));
    assert!(text(dense(&[0.0]).unwrap_err()).contains("2 x 2"));
    let huge = [1e200, -1e200, 3e200, 1.0];
    let x = Dense::new(&control, &huge, 2, 2, None).unwrap();
    let run = |codes: &[u32], cost: &[f64], weight: &[f64], objective| {
        text(
            fit(
                &control,
                &x,
                codes,
                cost,
                weight,
                objective,
                &settings(),
                Start::default(),
            )
            .unwrap_err(),
        )
    };
    for objective in OBJECTIVES {
        assert!(
            run(&[0, 1], &[1.0; 2], &[1.0; 2], objective).contains("overflow"),
            "{objective:?}"
        );
    }
    let plain = Objective::Hinge;
    assert!(run(&[0, 1, 1], &[1.0; 2], &[1.0; 2], plain).contains("y has 3"));
    assert!(run(&[0, 2], &[1.0; 2], &[1.0; 2], plain).contains("below 2"));
    assert!(run(&[0, 0], &[1.0; 2], &[1.0], plain).contains("at least 2"));
    assert!(run(&[0, 1], &[1.0, -1.0], &[1.0; 2], plain).contains("not negative"));
    assert!(run(&[0, 1], &[1.0; 2], &[1.0, f64::NAN], plain).contains("class_weight"));
}

#[test]
fn models_validate_and_score() {
    assert!(LinearModel::new(vec![1.0; 5], vec![0.0; 2], 3).is_err());
    assert!(LinearModel::new(vec![], vec![], 3).is_err());
    assert!(LinearModel::new(vec![f64::NAN], vec![0.0], 1).is_err());
    let control = Control::serial();
    let model =
        LinearModel::new(vec![1.0, 0.0, 0.0, 1.0, -1.0, -1.0], vec![0.0, 0.0, 0.5], 2).unwrap();
    let x = [2.0f32, 1.0, 1.0, 3.0, -1.0, -1.0];
    let dense = Dense::new(&control, &x, 3, 2, None).unwrap();
    assert_eq!(model.predict(&control, &dense).unwrap(), [0, 1, 2]);
    assert_eq!(
        model.decision(&control, &dense).unwrap()[6..],
        [-1.0, -1.0, 2.5]
    );
    let narrow = Dense::new(&control, &x, 6, 1, None).unwrap();
    assert!(model.predict(&control, &narrow).is_err());
}
