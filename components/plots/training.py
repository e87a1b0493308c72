"""Pictures of a training: what each method found on held-out time, by kind of anomaly."""

from collections.abc import Mapping

import plotly.graph_objects as go

from components.plots.evaluation import MARKS, framed


def recall_of_methods(shares: Mapping[str, Mapping[str, Mapping[str, float]]]) -> go.Figure:
    """Recall on held-out time with its 95 % interval: all kinds first, then kind by kind.

    Parameters
    ----------
    shares : Mapping
        By method, by kind ("" for all): mean, low, high; shares of plants.
    """
    figure = go.Figure()
    for place, (name, by_kind) in enumerate(shares.items()):
        kinds = list(by_kind)
        mean = [by_kind[kind]["mean"] for kind in kinds]
        figure.add_scatter(
            x=mean,
            y=[_named(kind) for kind in kinds],
            name=name,
            mode="markers",
            orientation="h",
            offsetgroup=str(place),
            error_x={
                "type": "data",
                "array": [by_kind[kind]["high"] - by_kind[kind]["mean"] for kind in kinds],
                "arrayminus": [by_kind[kind]["mean"] - by_kind[kind]["low"] for kind in kinds],
                "thickness": 1,
            },
            cliponaxis=False,
            marker=MARKS[place % len(MARKS)],
            hovertemplate="%{y}: %{x:.1%}<extra>" + name + "</extra>",
        )
    figure.update_layout(scattermode="group", scattergap=0.3)
    figure.update_xaxes(
        title="share of planted anomalies found", tickformat=".0%", range=[-0.02, 1.03]
    )
    figure.update_yaxes(autorange="reversed")
    n_rows = max((len(each) for each in shares.values()), default=1)
    return framed(figure, 120 + 14 * n_rows * max(1, len(shares)))


def _named(kind: str) -> str:
    return kind.replace("_", " ") or "all kinds"
