"""Tables from files, and checks of targets.

Examples
--------
>>> import os, tempfile
>>> import numpy as np
>>> from ironlearn.io import read_dataset
>>> path = os.path.join(tempfile.mkdtemp(), "small.npz")
>>> np.savez(path, height=np.array([1.5, 1.6, 1.8]), adult=np.array([0, 1, 1]))
>>> data = read_dataset(path, "adult")
>>> data.table.names, data.y
(('height',), array([0, 1, 1]))
"""

from ironlearn._table import (
    Dataset,
    Table,
    check_quantity,
    check_target,
    read_dataset,
    read_table,
    recognise_task,
)

__all__ = [
    "Dataset",
    "Table",
    "check_quantity",
    "check_target",
    "read_dataset",
    "read_table",
    "recognise_task",
]
