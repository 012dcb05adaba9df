"""Tables with typed columns, read from files or taken from arrays and data frames."""

from ironlearn._table.reading import Dataset, read_dataset, read_table
from ironlearn._table.table import KINDS, Table
from ironlearn._table.target import TASKS, check_quantity, check_target, recognise_task

__all__ = [
    "KINDS",
    "TASKS",
    "Dataset",
    "Table",
    "check_quantity",
    "check_target",
    "read_dataset",
    "read_table",
    "recognise_task",
]
