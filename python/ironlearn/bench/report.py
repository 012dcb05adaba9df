"""Results as a table for the terminal and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ironlearn.bench.results import Results, ratio

if TYPE_CHECKING:
    from rich.table import Table


def seconds(value: float) -> str:
    """Return a time with three digits and its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size or unit == "µs":
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value:.0f} s"
    raise AssertionError


def times(value: float | None) -> str:
    """Return a ratio."""
    if value is None:
        return ""
    return f"{value:.1f}×" if value < 100 else f"{value:.0f}×"


def score(entry: dict[str, Any]) -> str:
    """Return a score as text."""
    found = entry.get("score", {})
    parts = []
    if "accuracy" in found:
        parts.append(f"{found['accuracy']:.4f}")
    if "r2" in found:
        parts.append(f"R² {found['r2']:.4f}")
    if "objective" in found:
        parts.append(f"obj {found['objective']:.6g}")
    if "inertia" in found:
        steps = f" ({found['steps']} steps)" if "steps" in found else ""
        parts.append(f"inertia {found['inertia']:.6g}{steps}")
    return ", ".join(parts)


def table(results: Results) -> Table:
    """Return a table of all cells: one row a library.

    Parameters
    ----------
    results : Results
        What `run` measured or `Results.read` read.

    Returns
    -------
    rich.table.Table
        For printing by a ``rich.console.Console``.
    """
    from rich.table import Table

    out = Table(
        title=_title(results.stamp),
        caption="times: best (median); ratio: how many times faster ironlearn is",
    )
    out.add_column("case", no_wrap=True)
    out.add_column("library", no_wrap=True)
    for name in ("fit", "ratio", "predict", "ratio"):
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("score")
    for cell in results.cells:
        first = True
        for library, entry in cell["libraries"].items():
            row = [cell["case"] if first else "", library]
            first = False
            if "error" in entry:
                out.add_row(*row, "", "", "", "", f"failed: {entry['error']}", style="red")
                continue
            for what in ("fit", "predict"):
                found = entry.get(what)
                row.append(
                    f"{seconds(found['best'])} ({seconds(found['median'])})" if found else ""
                )
                row.append("" if library == "ironlearn" else times(ratio(cell, library, what)))
            out.add_row(*row, score(entry))
        out.add_section()
    return out


def _title(stamp: dict[str, Any]) -> str:
    return (
        f"ironlearn {stamp['ironlearn']} ({stamp['simd']}), {stamp['threads']} threads, "
        f"{stamp['cpu']}"
    )


def markdown(results: Results) -> str:
    """Return the table of a README: one row a case, scikit-learn beside ironlearn.

    Parameters
    ----------
    results : Results
        What was measured.

    Returns
    -------
    str
        Markdown: a table, further libraries in a column of their own, and a line that says
        where and with what it was measured.
    """
    lines = [
        "| case | scikit-learn fit / predict | ironlearn fit / predict | faster | scikit-learn "
        "score | ironlearn score | others |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for cell in results.cells:
        libraries = cell["libraries"]
        theirs, ours = libraries.get("scikit-learn", {}), libraries.get("ironlearn", {})
        gains = [
            times(gain)
            for gain in (ratio(cell, "scikit-learn", what) for what in ("fit", "predict"))
            if gain is not None
        ]
        others = [
            f"{name} {_pair(entry)} ({score(entry)})"
            for name, entry in libraries.items()
            if name not in ("ironlearn", "scikit-learn") and "error" not in entry
        ]
        row = [
            cell["case"],
            _pair(theirs),
            _pair(ours),
            " / ".join(gains),
            score(theirs),
            score(ours),
            "; ".join(others),
        ]
        lines.append("| " + " | ".join(row) + " |")
    stamp = results.stamp
    versions = ", ".join(f"{name} {number}" for name, number in stamp["libraries"].items())
    commit = f", commit {stamp['commit'][:10]}" if stamp.get("commit") else ""
    changed = " with changes" if stamp.get("changed") else ""
    lines += [
        "",
        f"Best times, {stamp['threads']} threads each, on {stamp['cpu']} ({stamp['simd']}); "
        f"ironlearn {stamp['ironlearn']}{commit}{changed}; {versions}; Python {stamp['python']}; "
        f"{stamp['date'][:10]}.",
    ]
    return "\n".join(lines) + "\n"


def _pair(entry: dict[str, Any]) -> str:
    if "error" in entry:
        return "failed"
    found = [entry[what]["best"] for what in ("fit", "predict") if what in entry]
    return " / ".join(map(seconds, found))
