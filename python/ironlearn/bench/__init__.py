"""Timing beside scikit-learn and other libraries, at equal threads.

Every library runs in a process of its own and takes its turn on the same data.

Examples
--------
>>> from ironlearn import bench
>>> results = bench.run(bench.select("quick", cases=["GaussianNB/iris"]), threads=1, repeats=1)
>>> sorted(results.cells[0]["libraries"])[:2]
['ironlearn', 'scikit-learn']
"""

from ironlearn.bench.cases import CASES, SUITES, Case, select
from ironlearn.bench.report import markdown, table
from ironlearn.bench.results import Results
from ironlearn.bench.runner import run

__all__ = ["CASES", "SUITES", "Case", "Results", "markdown", "run", "select", "table"]
