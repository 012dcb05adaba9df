"""Sums of rows that go to the same place, the same bits in every run."""

from __future__ import annotations

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import THREADS, blocks_of, lanes_of
from ironlearn.nn.backend.cuda.sort import sorted_by_place
from ironlearn.nn.backend.device import Array

#: Groups of threads that share a place's entries, at least.
_PARTS = 8
#: Blocks side by side over the columns; those of wider rows go on to further columns.
_MOST_ACROSS = 64


def segment_sums(
    ops: CudaBase,
    places: Array,
    n_places: int,
    values: Array,
    *,
    weights: Array | None = None,
    sources: Array | None = None,
    names: Array | None = None,
) -> Array:
    """Return sums over entries: out[places[e]] += weights[e] values[sources[e]].

    Parameters
    ----------
    ops : CudaBase
    places : (E,) of int
        Below 0 counts from the end; an entry whose place is not there is left out.
    n_places : int
    values : (S, W)
    weights : (E,), optional
        Of the dtype of `values`; ones by default.
    sources : (E,) of int, optional
        The entries themselves by default. One that is not there makes the sum a NaN.
    names : (n_places,) of int, optional
        Sorted distinct numbers: what the places are called in `places`; 0, 1, ... by default.

    Returns
    -------
    (n_places, W)
    """
    xp = ops.xp
    n, width = places.size, values.shape[1]
    if not n:
        return xp.zeros((n_places, width), values.dtype)
    keys = xp.empty((n,), "int64")
    limit = n_places if names is None else -1
    ops.kernels.launch(
        "segment_keys", values.dtype, blocks_of(n), THREADS, _wide(places), keys, n, limit
    )
    if names is None:
        keys = sorted_by_place(ops, keys, n_places, values.dtype)
    else:
        # The places' numbers are not bounded; who has them has waited for the device already.
        keys.sort()
    # Where most places have no entry, those are not visited.
    by_entry = names is None and n_places > n
    out = (xp.zeros if by_entry else xp.empty)((n_places, width), values.dtype)
    lanes = lanes_of(width)
    parts = _PARTS
    while parts * lanes < THREADS and parts * 4 < n // max(n_places, 1):
        parts *= 2
    across = min(-(-width // lanes), _MOST_ACROSS)
    blocks = -(-(n if by_entry else n_places) * lanes * parts // THREADS)
    ops.kernels.launch(
        "segment_sum",
        values.dtype,
        (blocks, across),
        THREADS,
        keys,
        n,
        None if names is None else _wide(names),
        values,
        weights,
        None if sources is None else _wide(sources),
        values.shape[0],
        out,
        n_places,
        width,
        lanes,
        parts,
        by_entry,
    )
    return out


def gathered_rows(ops: CudaBase, ids: Array, table: Array) -> Array:
    """Return the rows `ids` of `table` (V, W) in the shape (*ids.shape, W).

    A number below 0 counts from the last row. One that has no row gives NaN: to say so at once
    would have to wait for the device.
    """
    n_rows, width = table.shape
    out = ops.xp.empty((*ids.shape, width), table.dtype)
    lanes = lanes_of(width)
    ops.kernels.launch(
        "gather_rows",
        table.dtype,
        blocks_of(ids.size * lanes),
        THREADS,
        _wide(ids),
        table,
        out,
        ids.size,
        n_rows,
        width,
        lanes,
    )
    return out


def _wide(numbers: Array) -> Array:
    return numbers.astype("int64", copy=False)
