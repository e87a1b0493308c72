"""Pictures of a training: its scores, its rate, and the bars as the model sees them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from components.charts import BLUE, DPI, GREY, INK, ORANGE, plain, png
from components.panels import Array
from components.words import percent

N_DOTS = 3000


def distribution_png(seen: Array, unseen: Array) -> bytes:
    """Scores of training bars and of held-out ones, each (n,), as shares of their bars."""
    figure = Figure(figsize=(7.6, 2.6), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots()
    low, high = np.quantile(seen, (0.0, 0.999))
    edges = np.linspace(low, max(high, low + 1e-9), 60)
    for scores, colour, name in ((seen, GREY, "training"), (unseen, BLUE, "held out")):
        weights = np.full(len(scores), 1 / max(len(scores), 1))
        axes.hist(
            np.clip(scores, edges[0], edges[-1]),
            edges.tolist(),
            weights=weights,
            histtype="step",
            linewidth=1.6,
            color=colour,
            label=f"{name}, {len(scores):,} bars",
        )
    axes.set_yscale("log")
    axes.set_xlabel("score (the last bin holds all beyond)", fontsize=8, color=INK)
    axes.set_ylabel("share of bars", fontsize=8, color=INK)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    plain(axes)
    return png(figure)


def map_png(x: Array, score: Array, group: Array) -> bytes:
    """Bars (n, n_features) on their two main axes, by cluster where there are any.

    The oddest hundredth is marked.
    """
    from sklearn.decomposition import PCA

    place = np.linspace(0, len(x) - 1, min(len(x), N_DOTS)).astype(np.int64)
    x, score, group = x[place], score[place], group[place]
    if x.shape[1] == 1:
        x = np.column_stack([x, np.zeros(len(x))])
    axis = PCA(2, random_state=0).fit(x)
    at = axis.transform(x)
    figure = Figure(figsize=(7.6, 4.2), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots()
    names, sizes = np.unique(group, return_counts=True)
    colours = colormaps["tab20"](range(20))
    for place in np.argsort(-sizes):
        own = group == names[place]
        axes.scatter(
            at[own, 0],
            at[own, 1],
            s=7,
            linewidths=0,
            color=colours[place % len(colours)],
            label=f"group {int(names[place]) + 1}: {percent(float(own.mean()))}"
            if len(names) > 1
            else None,
        )
    odd = score >= np.quantile(score, 0.99)
    axes.scatter(
        at[odd, 0], at[odd, 1], s=26, facecolors="none", edgecolors=ORANGE, label="oddest 1 %"
    )
    shares = axis.explained_variance_ratio_
    axes.set_xlabel(f"first axis, {percent(shares[0])} of the variance", fontsize=8, color=INK)
    axes.set_ylabel(f"second axis, {percent(shares[1])}", fontsize=8, color=INK)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelcolor=INK)
    plain(axes)
    return png(figure)


def recall_png(by_kind: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Recall of each planted kind, one bar a method."""
    from components.charts import compared_png

    kinds = list(next(iter(by_kind.values())))
    return compared_png(
        [kind.replace("_", " ") for kind in kinds],
        {name: [float(found.get(kind, 0.0)) for kind in kinds] for name, found in by_kind.items()},
        "share of plants found",
    )
