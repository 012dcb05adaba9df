//! Python bindings of ironlearn: conversions only, one file a subject.

mod arrays;
mod bisecting;
mod categorical_nb;
mod discrete_nb;
mod errors;
mod gate;
mod gaussian_nb;
mod kernel_svm;
mod kmeans;
mod kmeans_model;
mod linear_svm;
mod nn_attention;
mod nn_conv;
mod nn_convpool;
mod nn_dense;
mod nn_embedding;
mod nn_norm;
mod nn_optimizer;
mod nn_plan;
mod nn_pointwise;
mod nn_pool;
mod nn_recurrent;
mod nn_softmax;
mod rows;
mod trees;

use ironlearn_kernels::tier;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// How this binary was built and which vector instructions it uses.
#[pyfunction]
fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("release", !cfg!(debug_assertions))?;
    info.set_item("simd", tier::active().name())?;
    info.set_item("simd_detected", tier::detected().name())?;
    Ok(info)
}

/// The native module `ironlearn._core`.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::build_info;
    #[pymodule_export]
    use crate::bisecting::BisectingTree;
    #[pymodule_export]
    use crate::categorical_nb::{CategoricalModel, categorical_nb_counts, categorical_nb_merge};
    #[pymodule_export]
    use crate::discrete_nb::{DiscreteModel, discrete_nb_counts};
    #[pymodule_export]
    use crate::gate::_gate_probe;
    #[pymodule_export]
    use crate::gaussian_nb::{GaussianModel, gaussian_nb_merge, gaussian_nb_moments};
    #[pymodule_export]
    use crate::kernel_svm::{KernelModel, kernel_svc_fit, kernel_svr_fit};
    #[pymodule_export]
    use crate::kmeans::{kmeans_init, kmeans_moments, kmeans_run, mini_batch_run, mini_batch_step};
    #[pymodule_export]
    use crate::kmeans_model::KMeansModel;
    #[pymodule_export]
    use crate::linear_svm::{LinearModel, linear_svm_fit, linear_svr_fit};
    #[pymodule_export]
    use crate::nn_attention::{
        nn_attention, nn_attention_backward, nn_attention_packed, nn_attention_packed_backward,
    };
    #[pymodule_export]
    use crate::nn_conv::{
        activation_backward_sums, conv2d, conv2d_grad_input, conv2d_grad_weight,
        nn_inverted_residuals,
    };
    #[pymodule_export]
    use crate::nn_convpool::{conv2d_max_pool, conv2d_max_pool_backward};
    #[pymodule_export]
    use crate::nn_dense::{nn_affine, nn_encoder_blocks};
    #[pymodule_export]
    use crate::nn_embedding::{nn_embedding, nn_embedding_backward};
    #[pymodule_export]
    use crate::nn_norm::{
        nn_batch_norm, nn_batch_norm_backward, nn_batch_norm_inference, nn_group_norm,
        nn_group_norm_backward, nn_layer_norm, nn_layer_norm_backward,
    };
    #[pymodule_export]
    use crate::nn_optimizer::nn_optimizer_step;
    #[pymodule_export]
    use crate::nn_plan::Plan;
    #[pymodule_export]
    use crate::nn_pointwise::{
        nn_activation, nn_activation_backward, nn_bias_activation, nn_bias_activation_backward,
        nn_dropout,
    };
    #[pymodule_export]
    use crate::nn_pool::{avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward};
    #[pymodule_export]
    use crate::nn_recurrent::{RecurrentTape, nn_recurrent, nn_recurrent_backward};
    #[pymodule_export]
    use crate::nn_softmax::{
        nn_sigmoid_cross_entropy, nn_sigmoid_cross_entropy_backward, nn_softmax,
        nn_softmax_backward, nn_softmax_cross_entropy, nn_softmax_cross_entropy_backward,
    };
    #[pymodule_export]
    use crate::rows::csr_is_whole;
    #[pymodule_export]
    use crate::trees::{ForestModel, forest_fit, tree_fit};
}
