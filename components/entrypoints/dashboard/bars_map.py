"""The map of an instrument's bars: alike ones near each other, clusters by colour and shape."""

import threading

import numpy as np
import pandas as pd
import streamlit as st

from components.detectors import DETECTORS
from components.detectors.base import VECTOR_FEATURES
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.entrypoints.dashboard.versions import stamp
from components.entrypoints.dashboard.working import note
from components.errors import NotEnoughBars
from components.features.channels import VECTOR, vectors
from components.panels import Array
from components.promotion import CHALLENGER, CHAMPION
from components.reading import instruments
from components.reading.vectors import placed
from components.trained import Trained
from components.training import trainable
from components.wiring import registry_of
from components.words import clean, level_word, moment

# So many bars a picture still shows apart, and a phone still draws at once.
MOST_BARS, MOST_NAMES = 1500, 50

OWN = {
    "kmeans": "K-Means of these bars",
    "gmm": "Gaussian mixture of these",
}

# MLflow's addresses are global while a model is read.
_reading = threading.Lock()


def show(held: Held) -> None:
    """Choose an instrument and who groups its bars; show the map."""
    columns = st.columns(3)
    text = columns[0].text_input("Search an instrument", max_chars=60, key="map_search")
    found = _names(held, held.version, held.settings.interval, text)
    if not found:
        st.info(
            f"No judged instrument's name holds {escaped(text)}."
            if text
            else "Nothing is judged yet. Run `python main.py` first."
        )
        return
    symbol = columns[1].selectbox("Instrument", found, key="map_symbol")
    trained = _with_clusters(held, stamp(held))
    names = {**OWN, **{alias: _named(alias, each) for alias, each in trained.items()}}
    by = columns[2].selectbox("Grouped by", list(names), format_func=names.__getitem__)
    model = trained.get(by)
    asked = (symbol, held.settings.interval, f"{by} {model.name}" if model else by)
    points, explained = _map(held, held.version, *asked, model)
    _draw(held, symbol, points, explained)


def _draw(held: Held, symbol: str, points: pd.DataFrame, explained: tuple[float, float]) -> None:
    from components.plots.evaluation import bars_map

    first, last = (moment(points["ts"].iloc[n], held.settings.interval) for n in (0, -1))
    st.plotly_chart(bars_map(points, explained), config={"displayModeBar": False}, key="map")
    note(
        f"{escaped(symbol)}, {len(points):,} bars, {first} to {last} (UTC), each by its six "
        "channels: return, gap, body, rest beside the market, range and volume, in units of what "
        "was usual before the bar, bent beyond four of them. Ringed bars were judged an anomaly."
    )


@st.cache_data(ttl=600, max_entries=64, show_spinner=False)
def _names(_held: Held, version: str, interval: str, text: str) -> list[str]:  # noqa: ARG001
    return _held.ask(instruments.names, interval, text, MOST_NAMES)


@st.cache_data(ttl=600, max_entries=4, show_spinner="Reading the registry")
def _with_clusters(_held: Held, kept: str) -> dict[str, Trained]:  # noqa: ARG001 - the key
    """Champion and challenger, where they group bars by their channels, one model for all."""
    models = registry_of(_held.settings)
    with _reading:
        found = {alias: models.load(alias) for alias in (CHAMPION, CHALLENGER)}
    return {
        alias: each
        for alias, each in found.items()
        if each is not None
        and each.is_pooled
        and each.features == VECTOR_FEATURES
        and each.detector in OWN
    }


def _named(alias: str, trained: Trained) -> str:
    return clean(f"{alias}: {trained.name}", 60)


@st.cache_data(ttl=600, max_entries=16, show_spinner="Placing the bars")
def _map(
    _held: Held,
    version: str,  # noqa: ARG001 - the cache's key
    symbol: str,
    interval: str,
    by: str,
    _model: Trained | None,
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Points (x, y, cluster, level, told, ts), and the share of the variance along each axis."""
    rows = _held.ask(placed, symbol, interval, MOST_BARS)
    columns = {name: rows[name].to_numpy(dtype=float)[None] for name in VECTOR}
    x = vectors(columns, np.zeros((1, len(rows)), dtype=np.bool_))[0]
    is_known = ~np.isnan(x).any(axis=1)
    least = max(trainable(name).min_bars for name in OWN)
    if is_known.sum() < least:
        raise NotEnoughBars(f"the map of {symbol}", least, int(is_known.sum()))
    rows, x = rows[is_known].reset_index(drop=True), x[is_known]
    at, explained = _axes(x)
    words = [
        f"{moment(ts, interval)}, {level_word(int(level)) or 'normal'}"
        for ts, level in zip(rows["ts"], rows["level"], strict=True)
    ]
    points = pd.DataFrame(
        {
            "x": at[:, 0],
            "y": at[:, 1],
            "cluster": _clusters(x, by, _model) + 1,
            "level": np.where(rows["verdict"] == "anomaly", np.maximum(rows["level"], 2), 0),
            "told": words,
            "ts": rows["ts"],
        }
    )
    return points, explained


def _axes(x: Array) -> tuple[Array, tuple[float, float]]:
    from sklearn.decomposition import PCA

    axes = PCA(2, random_state=0).fit(x)
    shares = axes.explained_variance_ratio_
    return axes.transform(x), (float(shares[0]), float(shares[1]))


def _clusters(
    x: Array, by: str, model: Trained | None
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """The kind of bar that each is next to, from 0."""
    if model is not None:
        return model.group(model.scaler(x)).astype(np.int64)
    from sklearn.metrics import pairwise_distances_argmin

    fitted = DETECTORS[by].fit(x[None])
    centers = getattr(fitted, "centroids", getattr(fitted, "means", None))
    return np.asarray(pairwise_distances_argmin(x, centers), dtype=np.int64)
