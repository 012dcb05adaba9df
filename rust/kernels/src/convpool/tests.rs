//! Each tier beside plain loops in double precision.

use super::*;
use crate::tier::supported;
use proptest::prelude::*;

/// Plain loops; the definition.
struct Plain {
    shape: Shape,
    activation: Activation,
}

impl Plain {
    /// Calls `f(output pixel, index of x, index of w without the filter)` for every product.
    fn each(&self, n: usize, mut f: impl FnMut(usize, usize, usize)) {
        let s = &self.shape;
        for image in 0..n {
            for oy in 0..s.out_height() {
                for ox in 0..s.out_width() {
                    let pixel = (image * s.out_height() + oy) * s.out_width() + ox;
                    for ky in 0..s.kernel[0] {
                        for kx in 0..s.kernel[1] {
                            let y = oy * s.stride[0] + ky * s.dilation[0];
                            let x = ox * s.stride[1] + kx * s.dilation[1];
                            let y = y.wrapping_sub(s.padding[0][0]);
                            let x = x.wrapping_sub(s.padding[1][0]);
                            if y >= s.height || x >= s.width {
                                continue;
                            }
                            for c in 0..s.channels {
                                let from = ((image * s.height + y) * s.width + x) * s.channels + c;
                                f(pixel, from, (ky * s.kernel[1] + kx) * s.channels + c);
                            }
                        }
                    }
                }
            }
        }
    }

    fn activate(&self, x: f64) -> f64 {
        match self.activation {
            Activation::Linear => x,
            Activation::Relu => x.max(0.0),
            Activation::LeakyRelu => x.max(0.01 * x),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Elu => x.max(0.0) + x.min(0.0).exp_m1(),
            Activation::Relu6 => x.clamp(0.0, 6.0),
        }
    }

    fn slope(&self, y: f64) -> f64 {
        match self.activation {
            Activation::Linear => 1.0,
            Activation::Relu => f64::from(y > 0.0),
            Activation::LeakyRelu => [0.01, 1.0][usize::from(y > 0.0)],
            Activation::Sigmoid => y * (1.0 - y),
            Activation::Tanh => 1.0 - y * y,
            Activation::Elu => 1.0 + y.min(0.0),
            Activation::Relu6 => f64::from(y > 0.0 && y < 6.0),
        }
    }

    fn forward(&self, n: usize, x: &[f64], w: &[f64], b: &[f64]) -> Vec<f64> {
        let f = self.shape.filters;
        let mut y = vec![0.0; n * self.shape.output_len()];
        for y in y.chunks_exact_mut(f) {
            y.copy_from_slice(b);
        }
        self.each(n, |pixel, from, k| {
            for o in 0..f {
                y[pixel * f + o] += x[from] * w[k * f + o];
            }
        });
        y.iter().map(|&y| self.activate(y)).collect()
    }

    /// Gradients of x, w and b.
    fn backward(
        &self,
        n: usize,
        x: &[f64],
        w: &[f64],
        y: &[f64],
        gy: &[f64],
    ) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let f = self.shape.filters;
        let g: Vec<f64> = gy.iter().zip(y).map(|(g, &y)| g * self.slope(y)).collect();
        let (mut gx, mut gw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        let mut gb = vec![0.0; f];
        self.each(n, |pixel, from, k| {
            for o in 0..f {
                gx[from] += g[pixel * f + o] * w[k * f + o];
                gw[k * f + o] += g[pixel * f + o] * x[from];
            }
        });
        for g in g.chunks_exact(f) {
            for (gb, g) in gb.iter_mut().zip(g) {
                *gb += g;
            }
        }
        (gx, gw, gb)
    }

    /// Pooled values and which pixel of the four each one is.
    fn pool(&self, n: usize, y: &[f64]) -> (Vec<f64>, Vec<u8>) {
        let s = &self.shape;
        let (mut best, mut which) = (Vec::new(), Vec::new());
        self.each_cell(n, |four| {
            let mut at = 0;
            for p in 1..4 {
                if y[four[p]] > y[four[at]] {
                    at = p;
                }
            }
            best.push(y[four[at]]);
            which.push(at as u8);
        });
        let cells = n * (s.out_height() / 2) * (s.out_width() / 2);
        assert_eq!(best.len(), cells * s.filters);
        (best, which)
    }

    fn each_cell(&self, n: usize, mut f: impl FnMut([usize; 4])) {
        let s = &self.shape;
        let (height, width) = (s.out_height(), s.out_width());
        for image in 0..n {
            for row in 0..height / 2 {
                for column in 0..width / 2 {
                    for o in 0..s.filters {
                        f([0, 1, 2, 3].map(|p| {
                            let (y, x) = (2 * row + p / 2, 2 * column + p % 2);
                            ((image * height + y) * width + x) * s.filters + o
                        }));
                    }
                }
            }
        }
    }
}

/// Whole numbers keep single precision exact, and make ties.
fn whole(state: &mut u64, n: usize, most: u64) -> Vec<f64> {
    (0..n)
        .map(|_| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((*state >> 33) % (2 * most + 1)) as f64 - most as f64
        })
        .collect()
}

fn single(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

fn close(found: &[f32], wanted: &[f64], slack: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(1.0f64, |m, w| m.max(w.abs()));
    for (i, (&found, &wanted)) in found.iter().zip(wanted).enumerate() {
        let gap = (f64::from(found) - wanted).abs();
        assert!(
            gap <= slack * largest,
            "{what} {i}: {found} and not {wanted}"
        );
    }
}

/// Slack of an activation: none where its arithmetic is exact on whole numbers.
fn slack(activation: Activation) -> f64 {
    match activation {
        Activation::Linear | Activation::Relu | Activation::Relu6 => 0.0,
        _ => 2e-6,
    }
}

fn check_conv(shape: Shape, activation: Activation, n: usize, seed: u64) {
    let plain = Plain { shape, activation };
    let mut state = seed;
    let x = whole(&mut state, n * shape.input_len(), 2);
    let w = whole(&mut state, shape.weights_len(), 2);
    let b = whole(&mut state, shape.filters, 3);
    let gy = whole(&mut state, n * shape.output_len(), 2);
    let y = plain.forward(n, &x, &w, &b);
    let slack = slack(activation);
    for tier in supported() {
        let conv = Conv::new(tier, shape, activation, 16);
        let mut scratch = vec![f32::NAN; conv.scratch_len()];
        let (sx, sw, sb, mut sgy) = (single(&x), single(&w), single(&b), single(&gy));
        let mut packed = vec![f32::NAN; conv.packed_len()];
        conv.pack(&sw, Some(&sb), &mut packed);
        let mut turned = vec![f32::NAN; conv.turned_len()];
        conv.turn(&sw, &mut turned, &mut scratch);
        let mut found = vec![f32::NAN; y.len()];
        conv.forward(&sx, &packed, &mut found, &mut scratch);
        close(&found, &y, slack, "y");
        // From the layer's own output, so that both know which side of a kink it is on.
        let own: Vec<f64> = found.iter().map(|&y| f64::from(y)).collect();
        let (gx, gw, gb) = plain.backward(n, &x, &w, &own, &gy);
        let mut found_gx = vec![f32::NAN; gx.len()];
        let (mut found_gw, mut found_gb) = (vec![1.0f32; gw.len()], vec![1.0f32; gb.len()]);
        conv.backward(
            &sx,
            &found,
            &mut sgy,
            &mut found_gw,
            Some(&mut found_gb),
            Some((&mut found_gx, &turned)),
            &mut scratch,
        );
        let more = |g: Vec<f64>| g.into_iter().map(|g| g + 1.0).collect::<Vec<f64>>();
        close(&found_gx, &gx, slack, "gx");
        close(&found_gw, &more(gw), slack, "gw");
        close(&found_gb, &more(gb), slack, "gb");
    }
}

fn check_pool(shape: Shape, activation: Activation, n: usize, seed: u64) {
    let plain = Plain { shape, activation };
    let mut state = seed;
    let x = whole(&mut state, n * shape.input_len(), 2);
    let w = whole(&mut state, shape.weights_len(), 2);
    let b = whole(&mut state, shape.filters, 3);
    let full = plain.forward(n, &x, &w, &b);
    let (y, which) = plain.pool(n, &full);
    let gy = whole(&mut state, y.len(), 1);
    let slack = slack(activation);
    for tier in supported() {
        let conv = ConvPool::new(tier, shape, activation, 16);
        let mut scratch = vec![f32::NAN; conv.scratch_len()];
        let (sx, sw, sb, mut sgy) = (single(&x), single(&w), single(&b), single(&gy));
        let mut packed = vec![f32::NAN; conv.packed_len()];
        conv.pack(&sw, Some(&sb), &mut packed);
        let mut turned = vec![f32::NAN; conv.turned_len()];
        conv.turn(&sw, &mut turned);
        let mut found = vec![f32::NAN; y.len()];
        let mut argmax = vec![9u8; y.len()];
        conv.forward(&sx, &packed, &mut found, &mut argmax, &mut scratch);
        close(&found, &y, slack, "y");
        if slack == 0.0 {
            assert_eq!(argmax, which);
        }
        let mut spread = vec![0.0; full.len()];
        let mut own = full.clone();
        let mut cell = 0;
        plain.each_cell(n, |four| {
            let at = four[argmax[cell] as usize];
            assert!((full[at] - y[cell]).abs() <= 1e-6);
            spread[at] = gy[cell];
            own[at] = f64::from(found[cell]);
            cell += 1;
        });
        let (gx, gw, gb) = plain.backward(n, &x, &w, &own, &spread);
        let mut found_gx = vec![f32::NAN; gx.len()];
        let (mut found_gw, mut found_gb) = (vec![1.0f32; gw.len()], vec![1.0f32; gb.len()]);
        conv.backward(
            &sx,
            &found,
            &argmax,
            &mut sgy,
            &mut found_gw,
            Some(&mut found_gb),
            Some((&mut found_gx, &turned)),
            &mut scratch,
        );
        let more = |g: Vec<f64>| g.into_iter().map(|g| g + 1.0).collect::<Vec<f64>>();
        close(&found_gx, &gx, slack, "gx");
        close(&found_gw, &more(gw), slack, "gw");
        close(&found_gb, &more(gb), slack, "gb");
    }
}

fn activations() -> impl Strategy<Value = Activation> {
    // Half of the cases exact.
    prop_oneof![
        Just(Activation::Relu),
        Just(Activation::Linear),
        prop::sample::select(Activation::ALL.to_vec()),
    ]
}

prop_compose! {
    fn shapes()(
        size in (1usize..15, 1usize..15),
        channels in prop_oneof![1usize..6, 6usize..36],
        filters in prop_oneof![1usize..8, 8usize..70],
        kernel in (1usize..6, 1usize..6),
        stride in (1usize..4, 1usize..4),
        dilation in (1usize..3, 1usize..3),
        padding in ((0usize..3, 0usize..3), (0usize..3, 0usize..3)),
    ) -> Shape {
        Shape {
            height: size.0,
            width: size.1,
            channels,
            filters,
            kernel: [kernel.0, kernel.1],
            stride: [stride.0, stride.1],
            dilation: [dilation.0, dilation.1],
            padding: [[padding.0.0, padding.0.1], [padding.1.0, padding.1.1]],
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_convolution(
        shape in shapes(), plain in any::<bool>(), activation in activations(),
        n in 1usize..5, seed in any::<u64>(),
    ) {
        let mut shape = shape;
        if plain {
            (shape.stride, shape.dilation) = ([1, 1], [1, 1]);
        }
        prop_assume!(shape.out_pixels() > 0);
        check_conv(shape, activation, n, seed);
    }

    #[test]
    fn pooled_convolution(
        shape in shapes(), framed in any::<bool>(), activation in activations(),
        n in 1usize..5, seed in any::<u64>(),
    ) {
        let mut shape = shape;
        (shape.stride, shape.dilation) = ([1, 1], [1, 1]);
        if !framed {
            shape.padding = [[0, 0], [0, 0]];
        }
        prop_assume!(ConvPool::covers(&shape));
        check_pool(shape, activation, n, seed);
    }
}

#[test]
fn layers_of_the_digits_network() {
    let relu = Activation::Relu;
    check_pool(Shape::valid([28, 28, 1], [3, 3], 32), relu, 5, 1);
    check_pool(Shape::valid([13, 13, 32], [3, 3], 64), relu, 11, 2);
    check_conv(Shape::valid([5, 5, 64], [3, 3], 64), relu, 16, 3);
}

#[test]
fn the_first_of_equal_pixels_wins() {
    let shape = Shape::valid([2, 2, 1], [1, 1], 17);
    for tier in supported() {
        let conv = ConvPool::new(tier, shape, Activation::Relu, 1);
        let mut packed = vec![0.0; conv.packed_len()];
        conv.pack(&[1.0; 17], None, &mut packed);
        let (mut y, mut argmax) = (vec![f32::NAN; 17], vec![9u8; 17]);
        let mut scratch = vec![f32::NAN; conv.scratch_len()];
        // All negative: four zeros behind the rectifier.
        for (x, first) in [([-3.0, -1.0, -2.0, -4.0], 0), ([0.0, 2.0, 2.0, 1.0], 1)] {
            conv.forward(&x, &packed, &mut y, &mut argmax, &mut scratch);
            assert_eq!(argmax, [first; 17], "{tier:?}");
        }
    }
}

#[test]
fn nan_is_not_hidden() {
    let shape = Shape::valid([4, 4, 3], [3, 3], 5);
    for tier in supported() {
        for activation in Activation::ALL {
            let x = vec![f32::NAN; shape.input_len()];
            let w = vec![1.0; shape.weights_len()];
            let pool = ConvPool::new(tier, shape, activation, 1);
            let mut scratch = Vec::new();
            let mut packed = vec![0.0; pool.packed_len()];
            pool.pack(&w, None, &mut packed);
            let (mut y, mut argmax) = (vec![0.0; 5], vec![0; 5]);
            scratch.resize(pool.scratch_len(), 0.0);
            pool.forward(&x, &packed, &mut y, &mut argmax, &mut scratch);
            assert!(y.iter().all(|y| y.is_nan()), "{tier:?} {activation:?}");
            let conv = Conv::new(tier, shape, activation, 1);
            scratch.resize(conv.scratch_len(), 0.0);
            let mut y = vec![0.0; shape.output_len()];
            conv.forward(&x, &packed, &mut y, &mut scratch);
            assert!(y.iter().all(|y| y.is_nan()), "{tier:?} {activation:?}");
        }
    }
}

/// The plain gradients against central differences, so that the yardstick is itself measured.
#[test]
fn plain_gradients_are_slopes() {
    let shape = Shape {
        padding: [[1, 0], [2, 1]],
        stride: [2, 1],
        dilation: [1, 2],
        ..Shape::valid([6, 5, 2], [3, 2], 3)
    };
    for activation in Activation::ALL {
        let plain = Plain { shape, activation };
        let mut state = 7;
        let mut draw = |n| -> Vec<f64> {
            let whole = whole(&mut state, n, 1000);
            whole.into_iter().map(|v| (v + 0.5) / 1000.0).collect()
        };
        let (x, w) = (draw(2 * shape.input_len()), draw(shape.weights_len()));
        let (b, gy) = (draw(shape.filters), draw(2 * shape.output_len()));
        let y = plain.forward(2, &x, &w, &b);
        let (gx, gw, gb) = plain.backward(2, &x, &w, &y, &gy);
        let loss = |x: &[f64], w: &[f64], b: &[f64]| -> f64 {
            let y = plain.forward(2, x, w, b);
            y.iter().zip(&gy).map(|(y, g)| y * g).sum()
        };
        let step = 1e-7;
        let moved = |v: &[f64], i: usize, by: f64| {
            let mut v = v.to_vec();
            v[i] += by;
            v
        };
        for i in 0..x.len() {
            let (up, down) = (moved(&x, i, step), moved(&x, i, -step));
            let slope = (loss(&up, &w, &b) - loss(&down, &w, &b)) / (2.0 * step);
            assert!((slope - gx[i]).abs() < 1e-5, "{activation:?} gx {i}");
        }
        for i in 0..w.len() {
            let (up, down) = (moved(&w, i, step), moved(&w, i, -step));
            let slope = (loss(&x, &up, &b) - loss(&x, &down, &b)) / (2.0 * step);
            assert!((slope - gw[i]).abs() < 1e-5, "{activation:?} gw {i}");
        }
        for i in 0..b.len() {
            let (up, down) = (moved(&b, i, step), moved(&b, i, -step));
            let slope = (loss(&x, &w, &up) - loss(&x, &w, &down)) / (2.0 * step);
            assert!((slope - gb[i]).abs() < 1e-5, "{activation:?} gb {i}");
        }
    }
}
