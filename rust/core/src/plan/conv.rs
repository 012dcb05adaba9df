//! Convolutions of a plan, alone or with a maximum over 2 x 2 pixels behind them.

use crate::error::Result;
use crate::plan::layer::{
    Activation, CHUNK, Layer, Parameter, Pass, Sizes, Weights, Workspace, bad_input, invalid,
};
use ironlearn_kernels::convpool::{Conv, ConvPool, Shape};
use ironlearn_kernels::tier;

/// Rows and columns of a pooled cell.
const POOL: (usize, usize) = (2, 2);

/// What a convolution layer is made of.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Channels of the output.
    pub filters: usize,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Rows and columns from one patch to the next.
    pub stride: (usize, usize),
    /// Rows and columns from one weight to the next.
    pub dilation: (usize, usize),
    /// Zeros above, below, left and right.
    pub padding: [usize; 4],
    /// Whether each output channel has a number added.
    pub bias: bool,
    /// Applied last, but before pooling.
    pub activation: Activation,
}

impl Spec {
    fn shape(&self, layer: usize, kind: &'static str, input: &[usize]) -> Result<Shape> {
        let &[height, width, channels] = input else {
            return Err(bad_input(layer, kind, input, "(height, width, channels)"));
        };
        if height == 0 || width == 0 || channels == 0 {
            return Err(bad_input(layer, kind, input, "at least one element"));
        }
        let pair = |name, (rows, columns): (usize, usize)| match rows.min(columns) {
            0 => {
                let given = format!("{rows} x {columns}");
                Err(invalid(layer, kind, name, &given, "at least 1"))
            }
            _ => Ok([rows, columns]),
        };
        if self.filters == 0 {
            return Err(invalid(layer, kind, "filters", "0", "at least 1"));
        }
        let [top, bottom, left, right] = self.padding;
        let shape = Shape {
            height,
            width,
            channels,
            filters: self.filters,
            kernel: pair("kernel", self.kernel)?,
            stride: pair("stride", self.stride)?,
            dilation: pair("dilation", self.dilation)?,
            padding: [[top, bottom], [left, right]],
        };
        if !shape.fits() {
            let given = format!("{:?}, kernel {:?}", self.filters, self.kernel);
            let expected = "fewer than 2^31 numbers in an image, an output and the weights";
            return Err(invalid(layer, kind, "filters", &given, expected));
        }
        if shape.out_pixels() == 0 {
            let reach = |axis: usize| shape.dilation[axis] * (shape.kernel[axis] - 1) + 1;
            let expected = format!(
                "at least {} x {} pixels with their padding",
                reach(0),
                reach(1)
            );
            return Err(bad_input(layer, kind, input, &expected));
        }
        Ok(shape)
    }

    fn parameters(&self, shape: &Shape) -> Vec<Parameter> {
        let [rows, columns] = shape.kernel;
        let mut parameters = vec![Parameter {
            name: "kernel",
            shape: vec![rows, columns, shape.channels, shape.filters],
        }];
        if self.bias {
            parameters.push(Parameter {
                name: "bias",
                shape: vec![shape.filters],
            });
        }
        parameters
    }
}

/// Room for `len` numbers such that what follows begins on a cache line again.
fn room(len: usize) -> usize {
    len.next_multiple_of(16)
}

/// The gradients of kernel and bias, made zero unless they are added to.
fn gradients<'a>(
    pass: &Pass,
    grads: &'a mut [f32],
    weights: usize,
) -> (&'a mut [f32], Option<&'a mut [f32]>) {
    if !pass.accumulate {
        grads.fill(0.0);
    }
    let (kernel, bias) = grads.split_at_mut(weights);
    (kernel, (!bias.is_empty()).then_some(bias))
}

/// `act(x * kernel + bias)` over images (height, width, channels).
#[derive(Clone, Debug)]
pub struct Conv2d {
    conv: Conv,
    output: Vec<usize>,
    parameters: Vec<Parameter>,
}

impl Conv2d {
    /// A convolution for samples of shape `input`.
    pub fn new(layer: usize, input: &[usize], spec: Spec) -> Result<Self> {
        let shape = spec.shape(layer, "conv2d", input)?;
        Ok(Conv2d {
            conv: Conv::new(tier::active(), shape, spec.activation, CHUNK),
            output: vec![shape.out_height(), shape.out_width(), shape.filters],
            parameters: spec.parameters(&shape),
        })
    }
}

impl Layer for Conv2d {
    fn kind(&self) -> &'static str {
        "conv2d"
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            packed: room(self.conv.packed_len())
                + room(self.conv.turned_len())
                + self.conv.shape().weights_len(),
            scratch: self.conv.scratch_len(),
            ..Sizes::default()
        }
    }

    fn pack(&self, params: &[&[f32]], packed: &mut [f32]) {
        let (forward, rest) = packed.split_at_mut(room(self.conv.packed_len()));
        let (turned, between) = rest.split_at_mut(room(self.conv.turned_len()));
        let forward = &mut forward[..self.conv.packed_len()];
        self.conv.pack(params[0], params.get(1).copied(), forward);
        let turned = &mut turned[..self.conv.turned_len()];
        self.conv.turn(params[0], turned, between);
    }

    fn forward(
        &self,
        _: &Pass,
        weights: &Weights,
        input: &[f32],
        output: &mut [f32],
        work: &mut Workspace,
    ) {
        let packed = &weights.packed[..self.conv.packed_len()];
        self.conv.forward(input, packed, output, work.scratch);
    }

    fn backward(
        &self,
        pass: &Pass,
        weights: &Weights,
        input: &[f32],
        output: &[f32],
        gout: &mut [f32],
        gin: Option<&mut [f32]>,
        grads: &mut [f32],
        work: &mut Workspace,
    ) {
        let (gw, gb) = gradients(pass, grads, self.conv.shape().weights_len());
        let turned = &weights.packed[room(self.conv.packed_len())..][..self.conv.turned_len()];
        let gin = gin.map(|gin| (gin, turned));
        self.conv
            .backward(input, output, gout, gw, gb, gin, work.scratch);
    }
}

/// `max over 2 x 2 of act(x * kernel + bias)` over images (height, width, channels), with
/// stride 1.
#[derive(Clone, Debug)]
pub struct Conv2dMaxPool {
    conv: ConvPool,
    output: Vec<usize>,
    parameters: Vec<Parameter>,
}

impl Conv2dMaxPool {
    /// A convolution for samples of shape `input`, with maxima over cells of `pool` pixels.
    pub fn new(layer: usize, input: &[usize], spec: Spec, pool: (usize, usize)) -> Result<Self> {
        let kind = "conv2d_max_pool";
        let shape = spec.shape(layer, kind, input)?;
        let only = [
            ("pool", pool, POOL),
            ("stride", spec.stride, (1, 1)),
            ("dilation", spec.dilation, (1, 1)),
        ];
        for (name, given, taken) in only {
            if given != taken {
                let (given, taken) = (format!("{given:?}"), format!("{taken:?}"));
                return Err(invalid(layer, kind, name, &given, &taken));
            }
        }
        if !ConvPool::covers(&shape) {
            let [rows, columns] = shape.kernel;
            let expected = format!(
                "at least {} x {} pixels with their padding",
                rows + 1,
                columns + 1
            );
            return Err(bad_input(layer, kind, input, &expected));
        }
        let conv = ConvPool::new(tier::active(), shape, spec.activation, CHUNK);
        let [rows, columns] = conv.pooled();
        Ok(Conv2dMaxPool {
            conv,
            output: vec![rows, columns, shape.filters],
            parameters: spec.parameters(&shape),
        })
    }
}

impl Layer for Conv2dMaxPool {
    fn kind(&self) -> &'static str {
        "conv2d_max_pool"
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            packed: room(self.conv.packed_len()) + self.conv.turned_len(),
            saved_bytes: CHUNK * self.conv.pooled_len(),
            scratch: self.conv.scratch_len(),
            ..Sizes::default()
        }
    }

    fn pack(&self, params: &[&[f32]], packed: &mut [f32]) {
        let (forward, turned) = packed.split_at_mut(room(self.conv.packed_len()));
        let forward = &mut forward[..self.conv.packed_len()];
        self.conv.pack(params[0], params.get(1).copied(), forward);
        self.conv.turn(params[0], turned);
    }

    fn forward(
        &self,
        _: &Pass,
        weights: &Weights,
        input: &[f32],
        output: &mut [f32],
        work: &mut Workspace,
    ) {
        let packed = &weights.packed[..self.conv.packed_len()];
        let argmax = &mut work.bytes[..output.len()];
        self.conv
            .forward(input, packed, output, argmax, work.scratch);
    }

    fn backward(
        &self,
        pass: &Pass,
        weights: &Weights,
        input: &[f32],
        output: &[f32],
        gout: &mut [f32],
        gin: Option<&mut [f32]>,
        grads: &mut [f32],
        work: &mut Workspace,
    ) {
        let (gw, gb) = gradients(pass, grads, self.conv.shape().weights_len());
        let turned = &weights.packed[room(self.conv.packed_len())..][..self.conv.turned_len()];
        let gin = gin.map(|gin| (gin, turned));
        let argmax = &work.bytes[..output.len()];
        self.conv
            .backward(input, output, argmax, gout, gw, gb, gin, work.scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::layers::check::{Case, check};

    fn spec(activation: Activation) -> Spec {
        Spec {
            filters: 5,
            kernel: (3, 2),
            stride: (1, 1),
            dilation: (1, 1),
            padding: [0; 4],
            bias: true,
            activation,
        }
    }

    fn activate(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Linear => x,
            Activation::Relu => x.max(0.0),
            Activation::LeakyRelu => x.max(0.01 * x),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Elu => x.max(0.0) + x.min(0.0).exp_m1(),
            Activation::Relu6 => x.clamp(0.0, 6.0),
        }
    }

    /// Outputs of images of shape `input`, (rows, columns, filters) each.
    fn naive(spec: &Spec, input: [usize; 3], p: &[Vec<f64>], x: &[f64]) -> (Vec<f64>, [usize; 2]) {
        let [height, width, channels] = input;
        let [top, bottom, left, right] = spec.padding;
        let size = |n, pad, k, stride, dilation| (n + pad - dilation * (k - 1) - 1) / stride + 1;
        let (k, stride, dilation) = (spec.kernel, spec.stride, spec.dilation);
        let rows = size(height, top + bottom, k.0, stride.0, dilation.0);
        let columns = size(width, left + right, k.1, stride.1, dilation.1);
        let mut out = Vec::new();
        for image in x.chunks_exact(height * width * channels) {
            for i in 0..rows {
                for j in 0..columns {
                    for o in 0..spec.filters {
                        let mut sum = p.get(1).map_or(0.0, |b| b[o]);
                        for a in 0..k.0 {
                            for b in 0..k.1 {
                                let y = (i * stride.0 + a * dilation.0).wrapping_sub(top);
                                let z = (j * stride.1 + b * dilation.1).wrapping_sub(left);
                                if y >= height || z >= width {
                                    continue;
                                }
                                for c in 0..channels {
                                    sum += image[(y * width + z) * channels + c]
                                        * p[0][((a * k.1 + b) * channels + c) * spec.filters + o];
                                }
                            }
                        }
                        out.push(activate(spec.activation, sum));
                    }
                }
            }
        }
        (out, [rows, columns])
    }

    #[test]
    fn convolutions_agree_with_naive_code() {
        let input = [6, 5, 2];
        let specs = [
            spec(Activation::Tanh),
            Spec {
                padding: [1, 1, 0, 1],
                ..spec(Activation::Linear)
            },
            Spec {
                stride: (2, 1),
                padding: [2, 0, 1, 1],
                bias: false,
                ..spec(Activation::Elu)
            },
            Spec {
                dilation: (1, 2),
                filters: 1,
                ..spec(Activation::Sigmoid)
            },
        ];
        for spec in specs {
            let layer = Conv2d::new(0, &input, spec).unwrap();
            check(&Case::new(&layer, &input), |p, x| {
                let (y, size) = naive(&spec, input, p, x);
                assert_eq!(layer.output_shape()[..2], size);
                y
            });
        }
    }

    #[test]
    fn pooled_convolutions_agree_with_naive_code() {
        let input = [6, 7, 2];
        for (activation, padding) in [
            (Activation::Tanh, [0; 4]),
            (Activation::Linear, [1, 1, 0, 1]),
            (Activation::Relu, [0, 1, 1, 0]),
        ] {
            let spec = Spec {
                padding,
                ..spec(activation)
            };
            let layer = Conv2dMaxPool::new(0, &input, spec, (2, 2)).unwrap();
            check(&Case::new(&layer, &input), |p, x| {
                let (y, [rows, columns]) = naive(&spec, input, p, x);
                let f = spec.filters;
                let mut out = Vec::new();
                for y in y.chunks_exact(rows * columns * f) {
                    for i in 0..rows / 2 {
                        for j in 0..columns / 2 {
                            for o in 0..f {
                                let at = |a, b| y[((2 * i + a) * columns + 2 * j + b) * f + o];
                                let top = at(0, 0).max(at(0, 1));
                                out.push(top.max(at(1, 0)).max(at(1, 1)));
                            }
                        }
                    }
                }
                out
            });
        }
    }

    #[test]
    fn bad_sizes_are_refused() {
        let new = |input: &[usize], spec| Conv2d::new(3, input, spec).map(|_| ());
        let good = spec(Activation::Relu);
        assert!(new(&[4, 4, 1], good).is_ok());
        let zero = Spec { filters: 0, ..good };
        let far = Spec {
            stride: (0, 1),
            ..good
        };
        let huge = Spec {
            kernel: (1 << 20, 1 << 20),
            padding: [1 << 20; 4],
            ..good
        };
        for (input, spec) in [
            (&[4, 4][..], good),
            (&[4, 0, 1], good),
            (&[2, 4, 1], good),
            (&[4, 4, 1], zero),
            (&[4, 4, 1], far),
            (&[4, 4, 1], huge),
        ] {
            let error = new(input, spec).unwrap_err().to_string();
            assert!(error.contains("layer 3"), "{error}");
        }
        let pooled = |spec, pool| Conv2dMaxPool::new(3, &[4, 4, 1], spec, pool).map(|_| ());
        assert!(pooled(good, (2, 2)).is_ok());
        assert!(pooled(good, (3, 3)).is_err());
        let strided = Spec {
            stride: (2, 2),
            ..good
        };
        assert!(pooled(strided, (2, 2)).is_err());
        let tall = Spec {
            kernel: (4, 1),
            ..good
        };
        assert!(pooled(tall, (2, 2)).is_err());
    }
}
