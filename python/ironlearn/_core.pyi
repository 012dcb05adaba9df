"""Stubs of the native module."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Moments = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

def build_info() -> dict[str, Any]:
    """How this binary was built and which vector instructions it uses."""

def _gate_probe(what: str, seconds: float, n_threads: int) -> int: ...
def gaussian_nb_moments(
    x: NDArray[Any],
    y: NDArray[np.uint32],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int,
    n_threads: int,
) -> tuple[_Moments, float]:
    """Class counts, means and sums of squared deviations, and the largest feature variance."""

def gaussian_nb_merge(a: _Moments, b: _Moments) -> _Moments:
    """The moments of two disjoint sets of rows together."""

class GaussianModel:
    """A fitted Gaussian naive Bayes classifier."""

    @staticmethod
    def from_arrays(
        theta: NDArray[np.float64], var: NDArray[np.float64], log_prior: NDArray[np.float64]
    ) -> GaussianModel: ...
    def arrays(self) -> _Moments: ...
    def joint_log_likelihood(self, x: NDArray[Any], *, n_threads: int) -> NDArray[np.float64]: ...
    def predict_codes(self, x: NDArray[Any], *, n_threads: int) -> NDArray[np.int64]: ...
