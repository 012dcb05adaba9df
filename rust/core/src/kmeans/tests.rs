use super::*;
use ironlearn_kernels::distance::Places;
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;

/// Lumps of points, in two dimensions or more.
fn lumps(n: usize, d: usize, seed: u64) -> Vec<f64> {
    let mut stream = crate::rng::Stream::new(seed, 0);
    (0..n)
        .flat_map(|i| (0..d).map(move |j| (i, j)))
        .map(|(i, j)| ((i % 7) * (j + 3) % 11) as f64 + stream.next_f64())
        .collect()
}

fn settings(bounds: bool) -> Settings {
    Settings {
        max_iter: 50,
        tol: 0.0,
        bounds,
        history: true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn runs_end_at_a_fixed_point(
        n in 30usize..3000, d in 1usize..12, k in 1usize..30, seed: u64, bounds: bool,
    ) {
        let x = lumps(n, d, seed);
        let serial = Control::serial();
        let (offset, _) = moments(&serial, &x, d).unwrap();
        let rows = Rows::new(&x, &offset, None).unwrap();
        let centres = start(&serial, &rows, k, Start::PlusPlus, seed).unwrap();
        let fit = run(&serial, &rows, &centres, settings(bounds)).unwrap();
        for pair in fit.history.windows(2) {
            prop_assert!(pair[1] <= pair[0] * (1.0 + 1e-12) + 1e-12);
        }
        for i in (0..n).step_by(7) {
            let to = |c: usize| -> f64 {
                rows.shifted(i).zip(&fit.centres[c * d..]).map(|(a, b)| (a - b) * (a - b)).sum()
            };
            let own = to(fit.labels[i] as usize);
            for c in 0..k {
                prop_assert!(own <= to(c) + 1e-9);
            }
        }
    }

    #[test]
    fn neither_bounds_nor_threads_nor_a_second_run_change_a_bit(
        n in 1000usize..9000, d in 1usize..20, k in 2usize..60, seed: u64,
    ) {
        let x: Vec<f32> = lumps(n, d, seed).into_iter().map(|v| v as f32).collect();
        let serial = Control::serial();
        let cancel = AtomicBool::new(false);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let (offset, _) = moments(&serial, &x, d).unwrap();
        let rows = Rows::new(&x, &offset, None).unwrap();
        for method in [Start::Random, Start::PlusPlus, Start::Parallel] {
            let centres = start(&serial, &rows, k, method, seed).unwrap();
            let many = Control::new(&cancel, 3);
            let again = pool.install(|| start(&many, &rows, k, method, seed)).unwrap();
            prop_assert_eq!(&centres, &again);
            let first = run(&serial, &rows, &centres, settings(false)).unwrap();
            prop_assert_eq!(&run(&serial, &rows, &centres, settings(true)).unwrap(), &first);
            let threads = pool.install(|| run(&many, &rows, &centres, settings(true))).unwrap();
            prop_assert_eq!(&threads, &first);
        }
    }
}

#[test]
fn a_model_answers_alike_for_one_row_and_for_many() {
    let x: Vec<f32> = lumps(500, 9, 1).into_iter().map(|v| v as f32).collect();
    let model = KMeansModel::new(x[..9 * 70].to_vec(), vec![0.25; 9]).unwrap();
    let serial = Control::serial();
    let all = model.predict(&serial, &x).unwrap();
    for (i, row) in x.chunks(9).enumerate() {
        assert_eq!(model.predict(&serial, row).unwrap(), [all[i]]);
    }
}

#[test]
fn bad_input_is_an_error() {
    let x = [0.0f64, 1.0, 2.0, 3.0];
    let zeros = [0.0; 2];
    assert!(Rows::new(&x, &[0.0; 3], None).is_err());
    assert!(Rows::new(&x, &[], None).is_err());
    assert!(Rows::new(&x, &zeros, Some(&[1.0])).is_err());
    assert!(Rows::new(&x, &zeros, Some(&[1.0, -1.0])).is_err());
    let rows = Rows::new(&x, &zeros, None).unwrap();
    let serial = Control::serial();
    assert!(start(&serial, &rows, 3, Start::Random, 0).is_err());
    assert!(start(&serial, &rows, 0, Start::Random, 0).is_err());
    assert!(run(&serial, &rows, &[f64::NAN, 0.0], settings(false)).is_err());
    assert!(run(&serial, &rows, &[0.0], settings(false)).is_err());
    assert!(KMeansModel::new(vec![0.0f64; 3], vec![0.0; 2]).is_err());
    assert!(KMeansModel::new(vec![f64::INFINITY; 2], vec![0.0; 2]).is_err());
    let model = KMeansModel::new(vec![0.0f64; 2], vec![0.0; 2]).unwrap();
    assert!(model.predict(&serial, &[1.0; 3]).is_err());
}

#[test]
fn a_set_flag_stops_a_run() {
    let cancel = AtomicBool::new(true);
    let control = Control::new(&cancel, 1);
    let x = lumps(50, 2, 0);
    let rows = Rows::new(&x, &[0.0; 2], None).unwrap();
    assert_eq!(
        run(&control, &rows, &x[..4], settings(true)).unwrap_err(),
        Error::Interrupted
    );
}

/// Three quarters of the elements of `x`, as CSR and with zeros for the others.
fn thinned(x: &[f64], d: usize) -> (Vec<f64>, Vec<i32>, Vec<i32>, Vec<f64>) {
    let (mut data, mut indices, mut indptr) = (Vec::new(), Vec::new(), vec![0]);
    let mut full = vec![0.0; x.len()];
    for (i, row) in x.chunks(d).enumerate() {
        for (j, &v) in row.iter().enumerate().filter(|(j, _)| (i + 3 * j) % 4 > 0) {
            data.push(v);
            indices.push(j as i32);
            full[i * d + j] = v;
        }
        indptr.push(data.len() as i32);
    }
    (data, indices, indptr, full)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn sparse_rows_cluster_as_dense_ones(
        n in 100usize..4000, d in 2usize..30, k in 1usize..20, seed: u64, tol in 0.0f64..0.1,
    ) {
        let (data, indices, indptr, full) = thinned(&lumps(n, d, seed), d);
        let (indices, indptr) = (Places::Narrow(&indices), Places::Narrow(&indptr));
        let cancel = AtomicBool::new(false);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let (serial, many) = (Control::serial(), Control::new(&cancel, 3));
        let weights: Vec<f64> = (0..n).map(|i| 1.0 + (i % 3) as f64).collect();
        let thin = SparseRows::new(&serial, &data, indices, indptr, d, Some(&weights)).unwrap();
        let zeros = vec![0.0; d];
        let dense = Rows::new(&full, &zeros, Some(&weights)).unwrap();
        let centres = start(&serial, &thin, k, Start::PlusPlus, seed).unwrap();
        let same = start(&serial, &dense, k, Start::PlusPlus, seed).unwrap();
        prop_assert_eq!(&centres, &same);
        let settings = Settings { tol, ..settings(false) };
        let fit = run_sparse(&serial, &thin, &centres, settings).unwrap();
        let other = run(&serial, &dense, &centres, settings).unwrap();
        prop_assert_eq!(&fit.labels, &other.labels);
        prop_assert_eq!(fit.n_iter, other.n_iter);
        prop_assert!((fit.inertia - other.inertia).abs() <= 1e-9 * other.inertia.max(1.0));
        let threads = pool.install(|| run_sparse(&many, &thin, &centres, settings)).unwrap();
        prop_assert_eq!(&threads, &fit);
        let model = KMeansModel::new(fit.centres.clone(), zeros.clone()).unwrap();
        prop_assert_eq!(&model.predict_sparse(&serial, &thin).unwrap(), &fit.labels);
    }

    #[test]
    fn mini_batches_do_not_depend_on_threads_or_zeros(
        n in 300usize..4000, d in 2usize..30, k in 1usize..20, batch in 1usize..2000, seed: u64,
    ) {
        let (data, indices, indptr, full) = thinned(&lumps(n, d, seed), d);
        let (indices, indptr) = (Places::Narrow(&indices), Places::Narrow(&indptr));
        let cancel = AtomicBool::new(false);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let (serial, many) = (Control::serial(), Control::new(&cancel, 3));
        let thin = SparseRows::new(&serial, &data, indices, indptr, d, None).unwrap();
        let zeros = vec![0.0; d];
        let dense = Rows::new(&full, &zeros, None).unwrap();
        let settings = mini_batch::Settings {
            batch, steps: 20, tol: 0.0, patience: None, ratio: 0.05, history: true,
        };
        let state = mini_batch::State {
            centres: start(&serial, &dense, k, Start::Random, seed).unwrap(),
            counts: vec![0.0; k],
            since: 0,
        };
        let fit = mini_batch::run(&serial, &dense, &state, settings, seed).unwrap();
        let threads = pool.install(|| mini_batch::run(&many, &dense, &state, settings, seed));
        prop_assert_eq!(threads.unwrap().state, fit.state.clone());
        let sparse = mini_batch::run(&serial, &thin, &state, settings, seed).unwrap();
        let threads = pool.install(|| mini_batch::run(&many, &thin, &state, settings, seed));
        prop_assert_eq!(&threads.unwrap().state, &sparse.state);
        let heaviest = fit.state.centres.iter().fold(1.0f64, |a, v| a.max(v.abs()));
        for (a, b) in fit.state.centres.iter().zip(&sparse.state.centres) {
            prop_assert!((a - b).abs() <= 1e-9 * heaviest);
        }
        prop_assert_eq!(fit.history.len(), 20);
    }
}
