"""How the families of the GPU's operations stand beside one another."""

from __future__ import annotations

from ironlearn.nn.backend.cuda.operations import CudaOps


def test_families_keep_their_helpers_apart() -> None:
    """A helper of one family would take the place of another's of the same name."""
    owner: dict[str, type] = {}
    for family in CudaOps.__mro__:
        if not family.__module__.startswith("ironlearn.nn.backend.cuda."):
            continue
        for name in vars(family):
            if name.startswith("_") and not name.startswith("__"):
                assert name not in owner, f"{family.__name__} and {owner[name].__name__}: {name}"
                owner[name] = family
