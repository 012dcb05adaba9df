"""CSR matrices as native code takes them; SciPy is not needed for that."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core

#: A dense array, or (data, indices, indptr, n_features).
Rows = NDArray[Any] | tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]


def is_sparse(X: Any) -> bool:
    """Return whether X is a sparse matrix or array of any format."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def canonical(X: Any) -> Any:
    """Return the CSR matrix X without elements that are stored in parts.

    Its structure is checked first, because the search for such parts trusts it.
    """
    _, indices, indptr, width = rows(X)
    whole = _core.csr_is_whole(indices, indptr, width)
    if whole is None or len(X.data) != len(indices) or len(indptr) != X.shape[0] + 1:
        # SciPy says what is wrong, or is content with elements beyond the last row.
        X.check_format(full_check=True)
    # The order of a row's elements does not matter (vectorizers of texts leave them unsorted).
    if whole:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X


def rows(X: Any) -> Rows:
    """Return the parts of a CSR matrix, or a dense array as it is."""
    if isinstance(X, np.ndarray):
        return X
    data, indices, indptr = (np.ascontiguousarray(part) for part in (X.data, X.indices, X.indptr))
    if indices.dtype != indptr.dtype:
        indices, indptr = indices.astype(np.int64), indptr.astype(np.int64)
    return data, indices, indptr, int(X.shape[1])
