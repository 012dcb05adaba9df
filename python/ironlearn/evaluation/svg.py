"""Small charts as inline SVG; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

#: Classes that show all their counts; larger matrices show colours only.
_MAX_NUMBERS = 12
_MAX_NAMES = 40

Line = tuple[str, str, Sequence[float], Sequence[float]]


def curves(title: str, x_label: str, y_label: str, lines: Sequence[Line], diagonal: bool) -> str:
    """Draw curves in the unit square.

    Parameters
    ----------
    title, x_label, y_label : str
        Texts of the chart.
    lines : sequence of (legend, class, x, y)
        The curves; the class chooses the colour.
    diagonal : bool
        Draw the line of chance.
    """
    left, top, side = 46, 26, 210
    right, bottom = left + side, top + side
    out = [_open(right + 12, bottom + 44 + 15 * len(lines), title)]
    out.append(_text(left, 16, title, "title"))
    for i in range(6):
        value = i / 5
        x, y = left + value * side, bottom - value * side
        out.append(f'<path class="grid" d="M{x:.1f} {top}V{bottom}M{left} {y:.1f}H{right}"/>')
        out.append(_text(x, bottom + 14, f"{value:.1f}", anchor="middle"))
        out.append(_text(left - 6, y + 4, f"{value:.1f}", anchor="end"))
    out.append(_text(left + side / 2, bottom + 29, x_label, anchor="middle"))
    out.append(_text(12, top + side / 2, y_label, anchor="middle", turned=True))
    if diagonal:
        out.append(f'<path class="chance" d="M{left} {bottom}L{right} {top}"/>')
    for k, (legend, style, xs, ys) in enumerate(lines):
        points = " ".join(
            f"{left + x * side:.1f},{bottom - y * side:.1f}" for x, y in zip(xs, ys, strict=True)
        )
        out.append(f'<polyline class="line {style}" points="{points}"/>')
        y = bottom + 46 + 15 * k
        out.append(f'<path class="line {style}" d="M{left} {y - 4}h18"/>')
        out.append(_text(left + 24, y, legend))
    return "".join([*out, "</svg>"])


def scatter(
    title: str,
    x_label: str,
    y_label: str,
    points: tuple[str, Sequence[float], Sequence[float]],
    line: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> str:
    """Draw points over a line that they would lie on if predictions were perfect.

    Parameters
    ----------
    title, x_label, y_label : str
        Texts of the chart.
    points : (class, x, y)
        The points; the class chooses the colour.
    line : {"diagonal", "zero"}
        The line: where both coordinates are equal, or where y is 0.
    x_range, y_range : (float, float)
        Least and greatest coordinates that the axes hold.
    """
    left, top, side = 64, 26, 210
    right, bottom = left + side, top + side
    x_ticks, y_ticks = ticks(*x_range), ticks(*y_range)
    low_x, high_x = min(x_ticks[0], x_range[0]), max(x_ticks[-1], x_range[1])
    low_y, high_y = min(y_ticks[0], y_range[0]), max(y_ticks[-1], y_range[1])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - low_x) / (high_x - low_x) * side,
            bottom - (y - low_y) / (high_y - low_y) * side,
        )

    out = [_open(right + 20, bottom + 36, title), _text(left, 16, title, "title")]
    for value in x_ticks:
        x = place(value, low_y)[0]
        out.append(f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>')
        out.append(_text(x, bottom + 14, f"{value:.6g}", anchor="middle"))
    for value in y_ticks:
        y = place(low_x, value)[1]
        out.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        out.append(_text(left - 6, y + 4, f"{value:.6g}", anchor="end"))
    out.append(_text(left + side / 2, bottom + 29, x_label, anchor="middle"))
    out.append(_text(12, top + side / 2, y_label, anchor="middle", turned=True))
    style, xs, ys = points
    for x, y in (place(x, y) for x, y in zip(xs, ys, strict=True)):
        out.append(f'<circle class="point {style}" cx="{x:.1f}" cy="{y:.1f}" r="2"/>')
    low, high = max(low_x, low_y), min(high_x, high_y)
    ends = [place(low, low), place(high, high)]
    if line == "zero":
        ends = [place(low_x, 0.0), place(high_x, 0.0)]
    if line == "zero" or low < high:
        (x0, y0), (x1, y1) = ends
        out.append(f'<path class="ideal" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"/>')
    return "".join([*out, "</svg>"])


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return up to `most` + 1 round numbers that lie within a range or enclose it."""
    if not high > low:
        low, high = low - max(1.0, abs(low)) / 2, high + max(1.0, abs(high)) / 2
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * k for k in range(first, last + 1)]


def confusion(title: str, matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Draw a confusion matrix; rows are true classes, shaded by their share of the row."""
    n = len(matrix)
    digits = len(str(max((count for row in matrix for count in row), default=0)))
    # Wide enough for the largest count where counts are written, else as large as fits.
    cell = max(4.0, min(34.0, 320 / n))
    if n <= _MAX_NUMBERS:
        cell = max(cell, 7.0 * digits + 6)
    shown = [_shorten(name) for name in names] if n <= _MAX_NAMES else [""] * n
    margin = 14 + 6.2 * max(len(name) for name in shown)
    top = 40.0
    width, height = margin + n * cell + 8, top + n * cell + margin + 6
    out = [_open(max(width, 200), height, title)]
    out.append(_text(4, 16, title, "title"))
    out.append(_text(4, 32, "rows: true, columns: predicted"))
    for i, row in enumerate(matrix):
        total = max(1, sum(row))
        y = top + i * cell
        out.append(_text(margin - 6, y + cell / 2 + 4, shown[i], anchor="end"))
        for j, count in enumerate(row):
            x = margin + j * cell
            share = count / total
            style = "right" if i == j else "wrong"
            out.append(
                f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" '
                f'height="{cell - 1:.1f}" fill-opacity="{0.06 + 0.94 * share:.3f}">'
                f"<title>{escape(names[i])} as {escape(names[j])}: {count}</title></rect>"
            )
            if n <= _MAX_NUMBERS and count:
                style = "count light" if share > 0.55 else "count"
                middle, base = x + cell / 2, y + cell / 2 + 4
                out.append(_text(middle, base, str(count), style, "middle"))
    for j in range(n):
        x = margin + (j + 0.5) * cell + 4
        out.append(_text(x, top + n * cell + 6, shown[j], anchor="end", turned=True))
    return "".join([*out, "</svg>"])


def bars(title: str, groups: Sequence[tuple[str, Sequence[tuple[str, float, str]], str]]) -> str:
    """Draw groups of horizontal bars, each group to its own scale.

    Parameters
    ----------
    title : str
        Title of the chart.
    groups : sequence of (name, bars, remark)
        The bars of a group are (class, value, label).
    """
    left, width, bar = 118, 230, 13
    step = 2 * bar + 14
    out = [_open(left + width + 170, 30 + step * len(groups), title)]
    out.append(_text(4, 16, title, "title"))
    for i, (name, members, remark) in enumerate(groups):
        top = 28 + i * step
        out.append(_text(left - 8, top + bar + 3, name, anchor="end"))
        longest = max((value for _, value, _ in members), default=0.0) or 1.0
        for k, (style, value, label) in enumerate(members):
            length = max(1.0, value / longest * width)
            y = top + k * bar
            out.append(
                f'<rect class="bar {style}" x="{left}" y="{y}" width="{length:.1f}" '
                f'height="{bar - 2}" rx="2"/>'
            )
            out.append(_text(left + length + 6, y + 10, label))
        out.append(_text(left + width + 85, top + bar + 3, remark, "remark"))
    return "".join([*out, "</svg>"])


def _text(
    x: float,
    y: float,
    content: str,
    style: str = "tick",
    anchor: str = "start",
    turned: bool = False,
) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>'
        f"{escape(content)}</text>"
    )


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">'
    )


def _shorten(name: str, limit: int = 14) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
