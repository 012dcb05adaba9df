"""Run scikit-learn's own tests of the covered families, plain and under the patch.

    python tests/patch/run_sklearn_tests.py [--family svm ...] [--json result.json] [pytest options]

Both runs use the same selection. A test counts as *native* if it passes, trains at least one
patched estimator, and no fallback to scikit-learn happened in it. Tests that pass without training
a covered estimator (they test scikit-learn's private functions, or refuse bad parameters before
training) say nothing about ironlearn and are counted apart. `deselected.toml` lists the tests that
are known to fail under the patch, each with its reason; the exit code is 1 if another one fails,
or if a listed one passes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

#: scikit-learn's test modules, by family.
MODULES = {
    "naive_bayes": ["sklearn.tests.test_naive_bayes"],
    "tree": [
        "sklearn.tree.tests.test_tree",
        "sklearn.tree.tests.test_export",
        "sklearn.tree.tests.test_monotonic_tree",
        "sklearn.tree.tests.test_reingold_tilford",
    ],
    "ensemble": ["sklearn.ensemble.tests.test_forest"],
    "svm": [
        "sklearn.svm.tests.test_svm",
        "sklearn.svm.tests.test_sparse",
        "sklearn.svm.tests.test_bounds",
    ],
    "cluster": [
        "sklearn.cluster.tests.test_k_means",
        "sklearn.cluster.tests.test_bisect_k_means",
    ],
}


def deselected() -> dict[str, str]:
    """Return the tests that are known to fail under the patch, and why."""
    groups = tomllib.loads((HERE / "deselected.toml").read_text())["group"]
    return {test: group["reason"] for group in groups for test in group["tests"]}


def run(modules: list[str], patched: bool, options: list[str]) -> dict[str, dict[str, Any]]:
    """Run the modules in a process of their own; return what the recorder wrote."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record.json")
        # scikit-learn's own settings: its warnings are not errors, its plots need no display.
        Path(folder, "pytest.ini").write_text("[pytest]\naddopts =\n")
        environment = {
            **os.environ,
            "PATCH_RECORD": str(record),
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            "IRONLEARN_PATCH_FALLBACK": "log",
            "MPLBACKEND": "agg",
        }
        command = [sys.executable, *(["-m", "ironlearn.patch"] if patched else []), "-m", "pytest"]
        command += ["-c", "pytest.ini", "--rootdir", folder, "-p", "recorder"]
        command += ["-p", "no:cacheprovider", "-q", "--tb=no", "-r", "N", *options]
        subprocess.run([*command, "--pyargs", *modules], cwd=folder, env=environment, check=False)
        rows: dict[str, dict[str, Any]] = json.loads(record.read_text())
    return rows


def classify(patched: dict[str, Any]) -> str:
    """Return what a test that passes for scikit-learn does under the patch."""
    if patched.get("outcome") not in ("passed", "xpassed"):
        return "fails"
    events = patched["events"]
    if events.get("fallback"):
        return "fallback"
    if events.get("native"):
        return "native"
    return "refused" if events.get("error") else "untouched"


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=MODULES, action="append")
    parser.add_argument("--json", type=Path, help="write each test's class here")
    arguments, options = parser.parse_known_args()
    known = deselected()
    total: Counter[str] = Counter()
    unexpected: list[str] = []
    details: dict[str, Any] = {}
    failing: set[str] = set()
    seen: set[str] = set()
    for family in arguments.family or MODULES:
        plain = run(MODULES[family], False, options)
        patched = run(MODULES[family], True, options)
        count: Counter[str] = Counter()
        for test, row in plain.items():
            if row["outcome"] != "passed":
                continue
            now = patched.get(test, {})
            kind = classify(now)
            count[kind] += 1
            details[test] = {
                "class": kind,
                **{k: now[k] for k in ("failure", "reasons", "estimators") if now.get(k)},
            }
            names = {test, test.partition("[")[0]}
            seen |= names
            if kind == "fails":
                failing |= names
                if not names & set(known):
                    unexpected.append(f"fails: {test}: {now.get('failure', 'did not run')}")
        total += count
        print(f"{family}: {_summary(count)}")
    unexpected += [f"is listed, but passes: {t}" for t in known if t in seen - failing]
    print(f"all: {_summary(total)}")
    print(*unexpected, sep="\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(details, indent=1))
    return 1 if unexpected else 0


def _summary(count: Counter[str]) -> str:
    touching = sum(count[kind] for kind in ("native", "fallback", "fails"))
    share = 100 * count["native"] / touching if touching else 100.0
    return (
        f"{sum(count.values())} pass for scikit-learn; {count['native']} native, "
        f"{count['fallback']} by fallback, {count['fails']} fail ({share:.1f} % of the "
        f"{touching} that train covered estimators are native); besides, {count['refused']} "
        f"refuse bad input in both, {count['untouched']} train none"
    )


if __name__ == "__main__":
    sys.exit(main())
