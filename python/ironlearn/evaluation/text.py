"""A comparison as tables of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from ironlearn.evaluation.metrics import SCORES
from ironlearn.evaluation.results import LEVEL, Comparison, Row, Side

#: Scores of regressors, and of clusterers, with their titles.
REGRESSION = {"r2": "R²", "mae": "MAE", "rmse": "RMSE", "pinball": "pinball"}
CLUSTER = {"adjusted_rand": "adj. Rand", "inertia": "inertia"}
#: Scores in units of the data: their size says nothing, so digits count and not places.
_FREE = ("inertia", "mae", "rmse", "pinball")
#: Titles where a terminal has 80 columns; spreads then have a line of their own.
_SHORT = dict(zip(SCORES, ("accur.", "precis.", "recall", "F1", "AUC"), strict=True))
_WIDE = 115


def seconds(value: float) -> str:
    """Return a duration with three digits and a unit."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if value * factor < 999.5:
            return f"{value * factor:.3g} {unit}"
    return f"{value:.3g} s" if value < 999.5 else f"{value:.0f} s"


def size(value: int | None) -> str:
    """Return a number of bytes with a unit."""
    if value is None:
        return "-"
    if value < 0.05 * 2**20:
        return "<0.1 MB"
    return f"{value / 2**20:.1f} MB" if value < 2**30 else f"{value / 2**30:.2f} GB"


def ratio(value: float) -> str:
    """Return a factor with three digits."""
    return f"{value:.3g}x" if value < 999.5 else f"{value:.0f}x"


def difference(row: Row, score: str) -> str:
    """Return the difference of a score with its sign."""
    value = row.ours.mean(score) - row.theirs.mean(score)
    if score in _FREE:
        return f"{value:+.3g}"
    return f"{value:+.4f}".replace("-0.0000", "+0.0000")


def renderables(result: Comparison, width: int) -> Iterator[Any]:
    """Yield the parts of a comparison for a console of rich with `width` columns."""
    narrow = width < _WIDE
    classify = [row for row in result.rows if row.task == "classify"]
    regress = [row for row in result.rows if row.task == "regress"]
    cluster = [row for row in result.rows if row.task == "cluster"]
    if classify:
        yield _table(classify, _SHORT if narrow else SCORES, narrow)
    if regress:
        yield _table(regress, REGRESSION, narrow)
    if cluster:
        yield _table(cluster, CLUSTER, narrow)
    if not result.rows:
        yield Text("no model was finished")
        return
    settings = result.settings
    repeats = f" x {settings['repeats']} repeats" if settings["repeats"] > 1 else ""
    if regress:
        yield Text(
            f"pinball loss of the quantile {settings['quantile']:g}; of R² more is better, of the "
            "others less",
            style="dim",
        )
    yield Text(
        f"mean ± standard deviation over {settings['cv']} folds{repeats}, median seconds, "
        f"{settings['threads']} thread{'s' if settings['threads'] > 1 else ''}; "
        f"* real at {LEVEL:.0%} (corrected paired t-test, Holm)",
        style="dim",
    )
    for line in notes(result):
        yield Text(line, style="dim")


def notes(result: Comparison) -> list[str]:
    """Return the notes of a comparison and of its sides."""
    lines = [f"note: {note}" for note in result.notes]
    for row in result.rows:
        for side in row.sides:
            lines += [f"note: {row.model}, {side.library}: {note[:160]}" for note in side.notes]
    if result.interrupted:
        lines.append("interrupted: only the finished models are shown")
    return lines


def _table(rows: list[Row], scores: Mapping[str, str], narrow: bool) -> Table:
    gap = (0, 1 if narrow else 2, 0, 0)
    table = Table(box=None, header_style="bold", padding=gap, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for title in scores.values():
        table.add_column(title, justify="right", min_width=7)
    for title in ("fit", "predict", "memory"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(row.model, style="bold"))
        for side in row.sides:
            table.add_row(f"  {side.library}", *cells(side, scores))
        marks = [
            _marked(_bare(difference(row, s)), row, s) if s in row.differences else ""
            for s in scores
        ]
        table.add_row(
            Text("  difference", style="cyan"),
            *marks,
            _marked(ratio(row.fit_ratio), row, "fit_seconds"),
            _marked(ratio(row.predict_ratio), row, "predict_seconds"),
            "",
        )
    return table


def cells(side: Side, scores: Mapping[str, str]) -> list[str]:
    """Return the scores, times and memory of one library as texts."""
    cells = []
    for score in scores:
        if score not in side.scores:
            cells.append("-")
        elif score in _FREE:
            mean, spread = f"{side.mean(score):#.5g}", f"{side.spread(score):#.2g}"
            cells.append(f"{mean.rstrip('.')} ±{spread.rstrip('.')}")
        else:
            cells.append(f"{side.mean(score):.4f} ±{side.spread(score):.3f}".replace("±0.", "±."))
    times = [seconds(side.fit_time), seconds(side.predict_time)]
    return [*cells, *times, size(side.memory_bytes)]


def _bare(text: str) -> str:
    """Return a number without the zero before its point."""
    return text.replace("0.", ".", 1) if text[1:3] == "0." else text


def _marked(text: str, row: Row, name: str) -> Text:
    real = row.differences[name].real
    return Text(text + ("*" if real else " "), style="bold cyan" if real else "cyan")
