"""Pictures that several estimators draw with matplotlib, which the extra ``plot`` installs."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import MissingExtraError


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure that no window shows.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    try:
        figure = importlib.import_module("matplotlib.figure")
        agg = importlib.import_module("matplotlib.backends.backend_agg")
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib: pip install 'ironlearn[plot]'") from error
    made = figure.Figure(figsize=(width, height), layout="constrained")
    agg.FigureCanvasAgg(made)
    return made


def image_grid(images: NDArray[Any], titles: list[str], wrong: list[bool]) -> Any:
    """Return a figure of images with titles, those of wrong ones in red.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, 3)
        Pixels.
    titles : list of str
        What stands above each image.
    wrong : list of bool
        Which titles are red.
    """
    columns = min(8, max(1, round(len(images) ** 0.5)))
    rows = -(-len(images) // columns)
    figure = new_figure(1.3 * columns, 1.5 * rows)
    for i, (image, title, bad) in enumerate(zip(images, titles, wrong, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(image, cmap="gray" if image.ndim == 2 else None)
        axes.set_title(title, fontsize=8, color="tab:red" if bad else "black")
        axes.set_axis_off()
    return figure


def confusion(counts: NDArray[Any], labels: list[str], *, ax: Any = None) -> Any:
    """Return axes with a confusion matrix, shaded by the share of each true class.

    Parameters
    ----------
    counts : ndarray of shape (n_classes, n_classes)
        Samples by true and predicted class.
    labels : list of str
        Names of the classes.
    ax : matplotlib Axes, default=None
        Where to draw; ``None`` makes a figure.
    """
    if ax is None:
        side = min(12.0, 2.5 + 0.4 * len(labels))
        ax = new_figure(side, side).add_subplot()
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    places = range(len(labels))
    ax.set_xticks(places, labels, rotation=90)
    ax.set_yticks(places, labels)
    ax.set(xlabel="predicted", ylabel="true")
    if len(labels) <= 20:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                colour = "white" if share[i, j] > 0.5 else "black"
                ax.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=8)
    return ax
