"""Reports as one self-contained page: no script, no network, every text escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ironlearn.evaluation import svg
from ironlearn.evaluation.metrics import SCORES, Report
from ironlearn.evaluation.regression import RegressionReport
from ironlearn.evaluation.results import LEVEL, Comparison, Row
from ironlearn.evaluation.text import CLUSTER, REGRESSION, cells, difference, notes, ratio

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #dde2e9;
  --page: #f7f8fa; --card: #ffffff; --ours: #0f7b6c; --theirs: #d9730d; --on: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa5b4; --line: #313946;
  --page: #14181f; --card: #1c222b; --ours: #3fc1ab; --theirs: #f0a35e; --on: #10141a; } }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 34px 0 10px; }
h3 { font-size: 16px; margin: 0 0 10px; } p, li { color: var(--soft); margin: 4px 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px 18px; margin: 12px 0; overflow-x: auto; }
.row { display: flex; flex-wrap: wrap; gap: 18px; align-items: flex-start; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
tr.model td { font-weight: 600; padding-top: 14px; } tr.difference td { color: var(--soft);
  border-bottom: 1px solid var(--line); }
td.real { color: var(--ink); font-weight: 700; }
.ours { stroke: var(--ours); fill: var(--ours); } .theirs { stroke: var(--theirs);
  fill: var(--theirs); } td.ours { color: var(--ours); } td.theirs { color: var(--theirs); }
.line { fill: none; stroke-width: 2; } .line.theirs { stroke-dasharray: 5 3; }
.bar { stroke: none; } .grid { stroke: var(--line); stroke-width: 1; fill: none; }
.chance { stroke: var(--soft); stroke-dasharray: 2 3; fill: none; }
.ideal { stroke: var(--ink); stroke-dasharray: 5 3; fill: none; }
.point { fill-opacity: 0.5; stroke: none; }
.right { fill: var(--ours); } .wrong { fill: var(--theirs); }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); stroke: none; }
svg text.title { font-size: 13px; font-weight: 600; fill: var(--ink); }
svg text.count { fill: var(--ink); } svg text.count.light { fill: var(--on); }
svg text.remark { font-size: 13px; font-weight: 600; fill: var(--ink); }
"""
_STYLES = ("ours", "theirs")


# What XML, and with it a strict reader, does not allow in a text.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def comparison_page(result: Comparison) -> str:
    """Return the report of a comparison."""
    data = result.dataset
    target = (
        f"{data['target']}: mean {data['mean']:.6g}, deviation {data['deviation']:.6g}"
        if data["task"] == "regression"
        else f"{data['classes']} classes of {data['target']}"
    )
    facts = f"{data['rows']} rows, {data['columns']} columns, {target}"
    parts = [f"<h1>{escape(str(data['name']))}</h1>", f"<p>{escape(facts)}</p>"]
    if result.interrupted:
        parts.append("<p><strong>Interrupted: only the finished models are shown.</strong></p>")
    classify = [row for row in result.rows if row.task == "classify"]
    regress = [row for row in result.rows if row.task == "regress"]
    cluster = [row for row in result.rows if row.task == "cluster"]
    if classify:
        parts += ["<h2>Scores</h2>", _table(classify, SCORES)]
    if regress:
        parts += ["<h2>Scores</h2>", _table(regress, REGRESSION)]
        parts.append(
            f"<p>Pinball loss of the quantile {result.settings['quantile']:g}. Of R² more is "
            "better, of the others less.</p>"
        )
    if cluster:
        parts += ["<h2>Clusters</h2>", _table(cluster, CLUSTER)]
    settings = result.settings
    parts.append(
        f"<p>Mean ± standard deviation over {settings['cv']} folds, {settings['repeats']} "
        f"repeat(s); median seconds with {settings['threads']} thread(s), preprocessing not "
        f"included. Bold with * : real at {LEVEL:.0%} by the corrected resampled paired t-test "
        "(Nadeau and Bengio 2003) with Holm's correction.</p>"
    )
    if result.rows:
        charts = [_times(result.rows, "fit"), _times(result.rows, "predict")]
        parts += ["<h2>Times</h2>", _card(f'<div class="row">{"".join(charts)}</div>')]
    if classify:
        parts.append("<h2>Curves and confusion matrices</h2>")
        parts.append(
            "<p>Of the test rows of all folds together; for more than two classes, curves are "
            "means of one class against the rest.</p>"
        )
        parts += [_card(_model(row)) for row in classify]
    if regress:
        parts.append("<h2>Predictions and residuals</h2>")
        parts.append("<p>Of up to 400 test rows of all folds, evenly spaced.</p>")
        parts += [_card(_model(row)) for row in regress]
    task = f"task: {data['task']} ({data['reason']})"
    parts += ["<h2>Data</h2>", _card(_list([task, *result.preprocessing]))]
    remarks = notes(result)
    if remarks:
        parts += ["<h2>Notes</h2>", _card(_list(remarks))]
    parts += ["<h2>Run</h2>", _card(_list(_pairs({**settings, **result.machine})))]
    return page(f"ironlearn compare: {data['name']}", parts)


def report_page(report: Report | RegressionReport, title: str, facts: Sequence[str] = ()) -> str:
    """Return the report of one model as a page."""
    if isinstance(report, RegressionReport):
        body = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
            for name, value in report.facts()
        )
        charts = _points([("model", "ours", report)])
        parts = [
            f"<h1>{escape(title)}</h1>",
            _card(f"<table><tbody>{body}</tbody></table>"),
            _card(f'<div class="row">{"".join(charts)}</div>'),
        ]
    else:
        parts = _class_report(report, title)
    if facts:
        parts += ["<h2>Data</h2>", _card(_list(facts))]
    return page(title, parts)


def _class_report(report: Report, title: str) -> list[str]:
    header = ["class", "precision", "recall", "F1", "rows"]
    rows = [
        [name, f"{p:.4f}", f"{r:.4f}", f"{f:.4f}", str(n)]
        for name, p, r, f, n in zip(
            report.classes, report.precision, report.recall, report.f1, report.support, strict=True
        )
    ]
    for name, mean in (("macro mean", report.macro), ("weighted mean", report.weighted)):
        values = [f"{mean[key]:.4f}" for key in ("precision", "recall", "f1")]
        rows.append([name, *values, str(report.n_rows)])
    auc = "" if report.roc_auc is None else f", ROC AUC {report.roc_auc:.4f}"
    body = "".join(f"<tr>{''.join(f'<td>{escape(v)}</td>' for v in row)}</tr>" for row in rows)
    head = "".join(f"<th>{title}</th>" for title in header)
    charts = _charts([("model", "ours", report)])
    return [
        f"<h1>{escape(title)}</h1>",
        f"<p>accuracy {report.accuracy:.4f}{auc}, {report.n_rows} rows</p>",
        _card(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"),
        _card(f'<div class="row">{"".join(charts)}</div>'),
    ]


def page(title: str, parts: Iterable[str]) -> str:
    """Return a page with the style sheet."""
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main>{''.join(part + chr(10) for part in parts)}</main></body></html>\n"
    )
    return _FORBIDDEN.sub("�", text)


def _card(content: str) -> str:
    return f'<div class="card">{content}</div>'


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {value}" for name, value in values.items()]


def _table(rows: Sequence[Row], scores: Mapping[str, str]) -> str:
    titles = ["", *scores.values(), "fit", "predict", "memory"]
    out = ["<table><thead><tr>", *(f"<th>{title}</th>" for title in titles), "</tr></thead><tbody>"]
    for row in rows:
        out.append(f'<tr class="model"><td colspan="{len(titles)}">{escape(row.model)}</td></tr>')
        for style, side in zip(_STYLES, row.sides, strict=True):
            values = "".join(f"<td>{escape(cell)}</td>" for cell in cells(side, scores))
            out.append(f'<tr><td class="{style}">{side.library}</td>{values}</tr>')
        shown = [(score, difference(row, score)) for score in scores if score in row.differences]
        shown.append(("fit_seconds", ratio(row.fit_ratio)))
        shown.append(("predict_seconds", ratio(row.predict_ratio)))
        out.append('<tr class="difference"><td>difference</td>')
        for name, text in shown:
            known = row.differences[name]
            hint = f"p = {known.test.p_value:.3g}, adjusted {known.adjusted:.3g}"
            mark = ' class="real"' if known.real else ""
            star = "*" if known.real else ""
            out.append(f'<td{mark} title="{hint}">{escape(text)}{star}</td>')
        out.append("<td></td></tr>")
    return _card("".join([*out, "</tbody></table>"]))


def _times(rows: Sequence[Row], what: str) -> str:
    groups = []
    for row in rows:
        times = [getattr(side, f"{what}_time") for side in row.sides]
        labels = [cells(side, {})[0 if what == "fit" else 1] for side in row.sides]
        factor = row.fit_ratio if what == "fit" else row.predict_ratio
        members = list(zip(_STYLES, times, labels, strict=True))
        groups.append((row.model, members, ratio(factor)))
    return svg.bars(f"{what}: ironlearn above, scikit-learn below", groups)


def _model(row: Row) -> str:
    charts: list[str] = []
    known = [
        (side.library, style, side.report) for style, side in zip(_STYLES, row.sides, strict=True)
    ]
    if row.task == "classify":
        charts = _charts([(n, s, r) for n, s, r in known if isinstance(r, Report)])
    elif row.task == "regress":
        charts = _points([(n, s, r) for n, s, r in known if isinstance(r, RegressionReport)])
    return f'<h3>{escape(row.model)}</h3><div class="row">{"".join(charts)}</div>'


def _points(known: Sequence[tuple[str, str, RegressionReport]]) -> list[str]:
    """Return predicted over true values, and residuals, on the same axes for all reports."""
    true = [value for _, _, report in known for value in report.true]
    predicted = [value for _, _, report in known for value in report.predicted]
    residuals = [
        [t - p for t, p in zip(report.true, report.predicted, strict=True)]
        for _, _, report in known
    ]
    if not true:
        return []
    every = [value for values in residuals for value in values]
    ranges = [(min(values), max(values)) for values in (true, predicted, [*every, 0.0])]
    charts = []
    for (name, style, report), rest in zip(known, residuals, strict=True):
        charts.append(
            svg.scatter(
                f"{name}: predicted and true", "true", "predicted",
                (style, report.true, report.predicted), "diagonal", ranges[0], ranges[1],
            )
        )  # fmt: skip
        charts.append(
            svg.scatter(
                f"{name}: residuals", "predicted", "true minus predicted",
                (style, report.predicted, rest), "zero", ranges[1], ranges[2],
            )
        )  # fmt: skip
    return charts


def _charts(known: Sequence[tuple[str, str, Report]]) -> list[str]:
    """Return ROC and precision-recall curves of some reports, and confusion matrices."""
    charts = []
    for title, axes, name, diagonal in (
        ("ROC", ("false positive rate", "true positive rate"), "roc", True),
        ("Precision and recall", ("recall", "precision"), "precision_recall", False),
    ):
        lines: list[svg.Line] = []
        for library, style, report in known:
            curve = getattr(report, name)
            if curve is not None:
                lines.append((f"{library}, area {curve.area:.4f}", style, curve.x, curve.y))
        if lines:
            charts.append(svg.curves(title, *axes, lines, diagonal))
    for library, _, report in known:
        charts.append(svg.confusion(library, report.confusion, report.classes))
    return charts
