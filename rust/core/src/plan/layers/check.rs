//! Tests of one layer: forward against naive code in double precision, gradients against
//! central differences of that code.

use crate::plan::layer::{CHUNK, Layer, Pass, Weights, Workspace};
use crate::rng::Stream;
use ironlearn_kernels::buffer::Buffer;

/// What a layer is run on.
pub struct Case<'a> {
    pub layer: &'a dyn Layer,
    pub samples: usize,
    pub first: usize,
    pub seed: u64,
    pub step: u64,
    pub input: Vec<f32>,
    pub params: Vec<Vec<f32>>,
    pub ids: Vec<i32>,
    pub mask: Option<Vec<u8>>,
    pub tolerance: f64,
}

impl<'a> Case<'a> {
    /// Random input and parameters for samples of that shape.
    pub fn new(layer: &'a dyn Layer, shape: &[usize]) -> Self {
        let samples = 5;
        let mut stream = Stream::new(3, 4);
        // Away from 0 and from each other, where functions with a kink are not differentiable.
        let mut draw = |n: usize| -> Vec<f32> {
            let mut all: Vec<f32> = (0..n)
                .map(|i| i as f32)
                // Not on a grid, or sums of products might be 0.
                .map(|i| (i + 0.5 + 0.3 * (7.0 * i).sin()) / n as f32 * 2.0 - 1.0)
                .map(|v| if v.abs() < 0.003 { 0.003 } else { v })
                .collect();
            stream.shuffle(&mut all);
            all
        };
        Case {
            layer,
            samples,
            first: 0,
            seed: 11,
            step: 3,
            input: draw(samples * shape.iter().product::<usize>()),
            params: layer.parameters().iter().map(|p| draw(p.len())).collect(),
            ids: Vec::new(),
            mask: None,
            tolerance: 2e-4,
        }
    }
}

/// Checks values and gradients of `case.layer` against `naive(params, input) -> output`.
pub fn check(case: &Case, naive: impl Fn(&[Vec<f64>], &[f64]) -> Vec<f64>) {
    let layer = case.layer;
    let sizes = layer.sizes();
    let out_len: usize = case.samples * layer.output_shape().iter().product::<usize>();
    let params: Vec<&[f32]> = case.params.iter().map(Vec::as_slice).collect();
    let mut packed = vec![0.0; sizes.packed];
    layer.pack(&params, &mut packed);
    let weights = Weights {
        params: &params,
        buffers: &[],
        packed: &packed,
    };
    assert!(case.samples <= CHUNK);
    let pass = Pass {
        samples: case.samples,
        first: case.first,
        batch: case.first + case.samples,
        training: true,
        seed: case.seed,
        step: case.step,
        accumulate: false,
        ids: &case.ids,
        mask: case.mask.as_deref(),
        partials: &[],
    };
    let (mut saved, mut bytes) = (vec![0.0; sizes.saved], vec![0; sizes.saved_bytes]);
    let (mut scratch, mut product) = (vec![f32::NAN; sizes.scratch], Buffer::new());
    let mut work = Workspace {
        saved: &mut saved,
        bytes: &mut bytes,
        scratch: &mut scratch,
        product: &mut product,
    };
    let mut partials = vec![0.0; sizes.partial_forward];
    if sizes.partial_forward > 0 {
        layer.partial_forward(&pass, &weights, &case.input, &mut partials);
    }
    let pass = Pass {
        partials: &partials,
        ..pass
    };
    let mut output = vec![f32::NAN; out_len];
    layer.forward(&pass, &weights, &case.input, &mut output, &mut work);

    let wide = |v: &[f32]| -> Vec<f64> { v.iter().map(|&x| f64::from(x)).collect() };
    let (p64, x64) = (
        case.params.iter().map(|p| wide(p)).collect::<Vec<_>>(),
        wide(&case.input),
    );
    let expected = naive(&p64, &x64);
    assert_eq!(expected.len(), out_len);
    let close = |what: &str, got: f32, want: f64| {
        let got = f64::from(got);
        assert!(
            (got - want).abs() <= case.tolerance * (1.0 + want.abs()),
            "{} {what}: {got} instead of {want}",
            layer.kind()
        );
    };
    for (&got, &want) in output.iter().zip(&expected) {
        close("output", got, want);
    }

    // The derivative of sum(direction * output).
    let direction: Vec<f32> = (0..out_len)
        .map(|i| ((i * 7 % 11) as f32 - 5.0) / 5.0)
        .collect();
    let loss = |p: &[Vec<f64>], x: &[f64]| -> f64 {
        let y = naive(p, x);
        y.iter()
            .zip(&direction)
            .map(|(y, &d)| y * f64::from(d))
            .sum()
    };
    let total: usize = layer.parameters().iter().map(|p| p.len()).sum();
    let mut grads = vec![f32::NAN; total];
    let mut gin = vec![f32::NAN; case.input.len()];
    let mut gout = direction.clone();
    let mut partials = vec![0.0; sizes.partial_backward];
    if sizes.partial_backward > 0 {
        let (input, gout) = (&case.input, &mut gout);
        layer.partial_backward(
            &pass,
            &weights,
            input,
            &output,
            gout,
            &mut partials,
            &mut work,
        );
    }
    let pass = Pass {
        partials: &partials,
        ..pass
    };
    let ready = gout.clone();
    layer.backward(
        &pass,
        &weights,
        &case.input,
        &output,
        &mut gout,
        Some(&mut gin),
        &mut grads,
        &mut work,
    );
    let eps = 1e-6;
    let difference = |change: &dyn Fn(&mut Vec<Vec<f64>>, &mut Vec<f64>, f64)| {
        let at = |by: f64| {
            let (mut p, mut x) = (p64.clone(), x64.clone());
            change(&mut p, &mut x, by);
            loss(&p, &x)
        };
        (at(eps) - at(-eps)) / (2.0 * eps)
    };
    for i in 0..gin.len() {
        close(
            "gradient of the input",
            gin[i],
            difference(&|_, x, by| x[i] += by),
        );
    }
    let mut at = 0;
    for (k, p) in case.params.iter().enumerate() {
        for i in 0..p.len() {
            let name = layer.parameters()[k].name;
            close(name, grads[at], difference(&|p, _, by| p[k][i] += by));
            at += 1;
        }
    }

    // Once more on top of what is there: gradients double, the input's are as before.
    let before = grads.clone();
    let mut again = vec![f32::NAN; gin.len()];
    let pass = Pass {
        accumulate: true,
        ..pass
    };
    layer.backward(
        &pass,
        &weights,
        &case.input,
        &output,
        &mut ready.clone(),
        Some(&mut again),
        &mut grads,
        &mut work,
    );
    assert_eq!(again, gin);
    for (got, once) in grads.iter().zip(&before) {
        close("accumulated gradient", *got, 2.0 * f64::from(*once));
    }
    // Without a gradient of the input, those of the parameters are the same bits.
    let pass = Pass {
        accumulate: false,
        ..pass
    };
    layer.backward(
        &pass,
        &weights,
        &case.input,
        &output,
        &mut ready.clone(),
        None,
        &mut grads,
        &mut work,
    );
    assert_eq!(grads, before);
}
