//! Kernel blocks against the formulas, problems against their optimality conditions.

use super::cache::Rows;
use super::rows::block;
use super::*;
use crate::rng::Stream;
use std::sync::atomic::AtomicBool;

fn random(seed: u64, n: usize) -> Vec<f64> {
    let mut stream = Stream::new(seed, 0);
    (0..n).map(|_| 2.0 * stream.next_f64() - 1.0).collect()
}

/// The rows of `x` without their zeros.
fn sparse(x: &[f64], width: usize) -> Points<'static> {
    let (mut data, mut indices, mut indptr) = (Vec::new(), Vec::new(), vec![0]);
    for row in x.chunks_exact(width) {
        for (k, &v) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
            data.push(v);
            indices.push(k as u32);
        }
        indptr.push(data.len());
    }
    Points::sparse(&Control::serial(), data, indices, indptr, width).unwrap()
}

fn formula(kernel: &Kernel, a: &[f64], b: &[f64]) -> f64 {
    let product: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    let inner = kernel.gamma * product + kernel.coef0;
    match kernel.kind {
        Kind::Linear | Kind::Precomputed => product,
        Kind::Poly => inner.powi(kernel.degree as i32),
        Kind::Sigmoid => inner.tanh(),
        Kind::Rbf => {
            let distance: f64 = a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum();
            (-kernel.gamma * distance).exp()
        }
    }
}

#[test]
fn blocks_of_every_storage_hold_the_kernel() {
    let control = Control::serial();
    for (n, width) in [(1, 1), (7, 3), (150, 20), (61, 300)] {
        let mut x = random(n as u64, n * width);
        x.iter_mut()
            .filter(|v| v.abs() < 0.3)
            .for_each(|v| *v = 0.0);
        let single: Vec<f32> = x.iter().map(|&v| v as f32).collect();
        let all: Vec<u32> = (0..n as u32).rev().collect();
        for name in ["linear", "poly", "rbf", "sigmoid"] {
            let kernel = Kernel::new(name, 0.4, 0.1, 3).unwrap();
            let stores = [
                Points::double(&control, x.clone(), n, width).unwrap(),
                Points::single(&control, &single, n, width).unwrap(),
                sparse(&x, width),
            ];
            for left in &stores {
                for right in &stores {
                    let mut out = vec![0.0f64; n * n];
                    let mut lines: Vec<&mut [f64]> = out.chunks_exact_mut(n).collect();
                    block(&control, &kernel, (left, &all), (right, &all), &mut lines).unwrap();
                    for (r, &i) in all.iter().enumerate() {
                        for (c, &j) in all.iter().enumerate() {
                            let row = |i: u32| &x[i as usize * width..(i as usize + 1) * width];
                            let want = formula(&kernel, row(i), row(j));
                            let got = out[r * n + c];
                            assert!((got - want).abs() < 1e-4 * want.abs().max(1.0));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_has_distance_zero_from_itself_and_the_matrix_is_symmetric() {
    let control = Control::serial();
    let (n, width) = (40, 777);
    let x: Vec<f64> = random(3, n * width).iter().map(|v| v + 1e4).collect();
    let points = Points::double(&control, x, n, width).unwrap();
    let kernel = Kernel::new("rbf", 1.0, 0.0, 3).unwrap();
    let all: Vec<u32> = (0..n as u32).collect();
    let mut out = vec![0.0f64; n * n];
    let mut lines: Vec<&mut [f64]> = out.chunks_exact_mut(n).collect();
    let (left, right) = ((&points, &all[..]), (&points, &all[..]));
    block(&control, &kernel, left, right, &mut lines).unwrap();
    for i in 0..n {
        assert_eq!(out[i * n + i], 1.0);
        for j in 0..n {
            assert_eq!(out[i * n + j], out[j * n + i]);
        }
    }
}

#[test]
fn the_cache_keeps_its_size_and_its_values() {
    let control = Control::serial();
    let (n, width) = (50, 4);
    let points = Points::double(&control, random(5, n * width), n, width).unwrap();
    let source = Source::Points(points, Kernel::new("rbf", 0.5, 0.0, 3).unwrap());
    let class: Vec<u32> = (0..n as u32).step_by(2).collect();
    // A quarter is for values that are being computed and the solver's arrays.
    let capacity = 16 * class.len() * 4;
    let store = Rows::new(&source, vec![class.clone(), Vec::new()], capacity, 1);
    let all: Vec<u32> = (0..n as u32).collect();
    let fresh = store.segments(&control, &all, 0, &class).unwrap();
    assert_eq!(store.bytes(), capacity / 4 * 3);
    assert!(store.find(0, 0).is_none() && store.find(n as u32 - 1, 0).is_some());
    let again = store.segments(&control, &all, 0, &class).unwrap();
    for (row, again) in all.iter().zip(again) {
        assert_eq!(*again, *fresh[*row as usize]);
    }
    assert!(
        store
            .segments(&control, &all, 1, &[])
            .unwrap()
            .iter()
            .all(|s| s.is_empty())
    );
    assert_eq!(store.bytes(), capacity / 4 * 3);
    let (old, new) = (store.new_set(), store.new_set());
    let kept = store.segments(&control, &all[..3], old, &class).unwrap();
    store.narrow(old, new, &[1, 4]);
    assert!(store.find(0, old).is_none());
    assert_eq!(*store.find(2, new).unwrap(), [kept[2][1], kept[2][4]]);
    store.forget(new);
    assert!(store.find(2, new).is_none() && store.bytes() <= capacity / 4 * 3);
    let changes = [(3, 2.0), (7, -1.0)];
    let mut sums = vec![1.0; class.len()];
    let add = |out: &mut [f64], factor: f64, row: &[f32]| {
        for (o, &v) in out.iter_mut().zip(row) {
            *o += factor * f64::from(v);
        }
    };
    (store.add_products(&control, &changes, &class, &mut sums, add)).unwrap();
    for (j, sum) in sums.iter().enumerate() {
        let want = 1.0 + 2.0 * f64::from(fresh[3][j]) - f64::from(fresh[7][j]);
        assert_eq!(*sum, want);
    }
}

/// Largest violation of the optimality conditions of a two-class fit.
fn violation(fit: &Fit, x: &[f64], width: usize, kernel: &Kernel, y: &[u32], c: f64) -> f64 {
    let n = y.len();
    let mut weights = vec![0.0; n];
    for (&row, &w) in fit.support.iter().zip(&fit.dual_coef) {
        weights[row as usize] = w;
    }
    assert!(weights.iter().sum::<f64>().abs() < 1e-9);
    let (mut smallest, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
    for i in 0..n {
        let sign = if y[i] == 0 { 1.0 } else { -1.0 };
        let alpha = sign * weights[i];
        assert!((0.0..=c).contains(&alpha));
        let row = |i: usize| &x[i * width..(i + 1) * width];
        let f: f64 = (0..n)
            .map(|j| weights[j] * formula(kernel, row(i), row(j)))
            .sum::<f64>()
            - sign;
        if (sign > 0.0 && alpha < c) || (sign < 0.0 && alpha > 0.0) {
            smallest = smallest.min(f);
        }
        if (sign > 0.0 && alpha > 0.0) || (sign < 0.0 && alpha < c) {
            largest = largest.max(f);
        }
    }
    largest - smallest
}

#[test]
fn solutions_are_optimal_in_one_piece_and_in_working_sets() {
    let width = 3;
    for n in [20, 300, 1300] {
        let x = random(n as u64, n * width);
        let noise = random(1, n);
        let y: Vec<u32> = (0..n)
            .map(|i| u32::from(x[i * width] + 0.5 * noise[i] > 0.0))
            .collect();
        for (name, c) in [("linear", 1.0), ("rbf", 10.0)] {
            let kernel = Kernel::new(name, 0.7, 0.0, 3).unwrap();
            for cache_bytes in [1 << 12, 1 << 24] {
                let settings = Settings {
                    tol: 1e-3,
                    max_iter: None,
                    cache_bytes,
                    shrinking: true,
                };
                let control = Control::serial();
                let points = Points::double(&control, &x[..], n, width).unwrap();
                let source = Source::Points(points, kernel);
                let cost = vec![c; n];
                let fit = classify(&control, &source, &y, &cost, 2, None, &settings).unwrap();
                assert!(fit.converged);
                let found = violation(&fit, &x, width, &kernel, &y, c);
                assert!(found < 1.5e-3, "{name} {n}: {found}");
            }
        }
    }
}

#[test]
fn shrinking_ends_at_the_same_optimum() {
    for n in [400, 2500] {
        compare_shrinking(n, 3);
    }
}

fn compare_shrinking(n: usize, width: usize) {
    let x = random(11, n * width);
    let noise = random(2, n);
    let y: Vec<u32> = (0..n)
        .map(|i| u32::from(x[i * width] * x[i * width + 1] + 0.2 * noise[i] > 0.0))
        .collect();
    let target: Vec<f64> = (0..n).map(|i| x[i * width] + 0.1 * noise[i]).collect();
    let mut objectives = Vec::new();
    for shrinking in [false, true] {
        let settings = Settings {
            tol: 1e-4,
            max_iter: None,
            cache_bytes: 1 << 20,
            shrinking,
        };
        let control = Control::serial();
        let points = Points::double(&control, &x[..], n, width).unwrap();
        let source = Source::Points(points, Kernel::new("rbf", 1.0, 0.0, 3).unwrap());
        let cost = vec![5.0; n];
        let classes = classify(&control, &source, &y, &cost, 2, Some(1), &settings).unwrap();
        let answers = regress(&control, &source, &target, &cost, 0.05, &settings).unwrap();
        assert!(classes.converged && answers.converged);
        objectives.push([
            classes.objectives[0],
            answers.objectives[0],
            classes.sigmoids[0].0,
        ]);
    }
    for (without, with) in objectives[0].iter().zip(&objectives[1]) {
        assert!(
            (without - with).abs() < 1e-3 * without.abs(),
            "{objectives:?}"
        );
    }
    assert!((objectives[0][0] - objectives[1][0]).abs() < 1e-5 * objectives[0][0].abs());
}

#[test]
fn threads_and_cancelling() {
    let (n, width) = (1500, 2);
    let x = random(9, n * width);
    let y: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
    let settings = Settings {
        tol: 1e-3,
        max_iter: Some(3000),
        cache_bytes: 1 << 18,
        shrinking: true,
    };
    let run = |control: &Control| {
        let points = Points::double(&Control::serial(), &x[..], n, width).unwrap();
        let source = Source::Points(points, Kernel::new("rbf", 1.0, 0.0, 3).unwrap());
        classify(control, &source, &y, &vec![1.0; n], 3, Some(5), &settings)
    };
    let one = run(&Control::serial()).unwrap();
    let never = AtomicBool::new(false);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    let many = pool.install(|| run(&Control::new(&never, 3))).unwrap();
    assert_eq!(one, many);
    let now = AtomicBool::new(true);
    assert_eq!(run(&Control::new(&now, 1)), Err(Error::Interrupted));
}

#[test]
fn regression_fits_a_line() {
    let control = Control::serial();
    let x: Vec<f64> = (0..50).map(|i| i as f64 / 10.0).collect();
    let target: Vec<f64> = x.iter().map(|v| 3.0 * v - 1.0).collect();
    let points = Points::double(&control, &x[..], 50, 1).unwrap();
    let kernel = Kernel::new("linear", 0.0, 0.0, 3).unwrap();
    let source = Source::Points(points, kernel);
    let settings = Settings {
        tol: 1e-6,
        max_iter: None,
        cache_bytes: 1 << 20,
        shrinking: true,
    };
    let fit = regress(&control, &source, &target, &[100.0; 50], 0.01, &settings).unwrap();
    let slope: f64 = (fit.support.iter().zip(&fit.dual_coef))
        .map(|(&i, w)| w * x[i as usize])
        .sum();
    assert!((slope - 3.0).abs() < 0.01 && (fit.intercept[0] + 1.0).abs() < 0.02);
}

#[test]
fn what_does_not_fit_is_refused() {
    let control = Control::serial();
    let two = [1.0, f64::NAN];
    assert!(Points::double(&control, &two[..], 2, 1).is_err());
    assert!(Points::double(&control, &two[..1], 2, 1).is_err());
    for (indices, indptr) in [
        (vec![0, 0], vec![0, 2]),
        (vec![1, 0], vec![0, 2]),
        (vec![0, 3], vec![0, 2]),
        (vec![0, 1], vec![0, 3]),
        (vec![0, 1], vec![0, 2, 1, 2]),
        (vec![0], vec![0, 2]),
    ] {
        assert!(Points::sparse(&control, vec![1.0; 2], indices, indptr, 3).is_err());
    }
    assert!(Kernel::new("rbf", -1.0, 0.0, 3).is_err());
    assert!(Kernel::new("cubic", 1.0, 0.0, 3).is_err());
    assert!(Source::matrix(&control, Matrix::F64(&[1.0; 6]), 2).is_err());
}
