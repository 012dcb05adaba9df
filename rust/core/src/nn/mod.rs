//! Operations of neural networks: kernels over whole batches, in parallel, one file a family.

pub mod affine;
pub mod attention;
pub mod conv;
pub mod convpool;
pub mod embedding;
pub mod encoder;
pub mod gemm;
pub mod inverted;
pub mod norm;
pub mod optimizer;
pub mod pointwise;
pub mod pool;
pub mod recurrent;
mod scratch;
pub mod softmax;

/// Elements that a chunk of elementwise work has at most: they and their like fit into the
/// second-level cache.
const ELEMENTS: usize = 16_384;

/// The sums of vectors of `width` numbers, in their order, in double precision.
fn sum_parts_f64(parts: &[Vec<f32>], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0f64; width];
    for part in parts {
        for (sum, &value) in sums.iter_mut().zip(part) {
            *sum += f64::from(value);
        }
    }
    sums
}

/// [`sum_parts_f64`], rounded.
fn sum_parts(parts: &[Vec<f32>], width: usize) -> Vec<f32> {
    sum_parts_f64(parts, width)
        .into_iter()
        .map(|sum| sum as f32)
        .collect()
}
