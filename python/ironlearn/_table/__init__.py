"""Tables with typed columns, read from files or taken from arrays and data frames."""

from ironlearn._table.reading import Dataset, read_dataset, read_table
from ironlearn._table.table import KINDS, Table
from ironlearn._table.target import check_target

__all__ = ["KINDS", "Dataset", "Table", "check_target", "read_dataset", "read_table"]
