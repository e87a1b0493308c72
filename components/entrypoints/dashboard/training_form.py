"""What to train, as a form: the detector's own numbers, features, bars, and a search."""

from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pandas as pd
import streamlit as st

from components.detectors import DETECTORS
from components.detectors.base import TrainableDetector
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.searching import MOST_TRIED, PARAMETERS, searched
from components.entrypoints.dashboard.working import note
from components.features import FEATURES
from components.sources.base import check_symbol
from components.training import trainable
from components.words import counted

NAMES = {
    "gmm": "Gaussian mixture",
    "isolation_forest": "Isolation forest",
    "kmeans": "K-Means",
    "lstm_autoencoder": "LSTM autoencoder",
    "mahalanobis": "Mahalanobis distance",
    "pca": "PCA residual",
    PARAMETERS: "Parameters of the micro and macro views (no model)",
}

TUNED, SET, SEARCH = "Tune it over its own grid", "Set its numbers", "Search over a few values"

EARLIEST = pd.Timestamp("1970-01-01").date()


def asked(held: Held) -> dict[str, Any]:
    """What the form asks for, as a piece of work takes it.

    Raises
    ------
    SettingsError, InvalidSymbol
        A value is not of its number's kind, or no market uses such a name.
    """
    names = [name for name, each in DETECTORS.items() if isinstance(each, TrainableDetector)]
    detector = st.selectbox(
        "Detector",
        [*names, PARAMETERS],
        index=names.index("gmm"),
        format_func=lambda name: NAMES.get(name, name),
    )
    found: dict[str, Any] = {"detector": detector}
    if detector != PARAMETERS:
        found |= _numbers(detector) | _features(detector)
    found |= _bars(held, is_model=detector != PARAMETERS)
    return found


def _numbers(name: str) -> dict[str, Any]:
    detector = trainable(name)
    n_grid = len(detector.grid())
    ways = [SET, SEARCH] if n_grid == 1 else [TUNED, SET, SEARCH]
    says = {TUNED: f"{TUNED} ({n_grid} settings)"}
    way = st.radio(
        "Hyper-parameters",
        ways,
        format_func=lambda one: says.get(one, one),
        horizontal=True,
        key=f"way_{name}",
        help="Settings are chosen by the detector's own criterion on the training bars alone.",
    )
    if way == TUNED:
        return {}
    if way == SET:
        return {"hyper": _set(name, detector), "fixed": True}
    return {"search": _searched(name, detector)}


def _set(name: str, detector: TrainableDetector) -> list[str]:
    """A field a number, made from the detector's own fields; those that were changed."""
    kinds, said = get_type_hints(type(detector)), []
    columns = st.columns(2)
    for place, each in enumerate(fields(detector)):  # type: ignore[arg-type]
        usual, key = getattr(detector, each.name), f"set_{name}_{each.name}"
        label = each.name.replace("_", " ")
        with columns[place % 2]:
            value: Any
            if choices := get_args(kinds[each.name]):
                value = st.selectbox(label, choices, choices.index(usual), key=key)
            else:
                value = st.text_input(
                    f"{label} ({_kind(kinds[each.name])})",
                    f"{usual:g}" if isinstance(usual, float) else str(usual),
                    key=key,
                    max_chars=20,
                )
        if str(value) != str(usual):
            said.append(f"{each.name}={value}")
    if said:
        from components.entrypoints.training import hyper_from

        hyper_from(detector, name, said)
    return said


def _searched(name: str, detector: TrainableDetector) -> dict[str, list[str]]:
    """Values of one or two numbers, as they were written."""
    every = [each.name for each in fields(detector)]  # type: ignore[arg-type]
    chosen = st.multiselect(
        "Search over",
        every,
        default=every[:1],
        max_selections=2,
        format_func=lambda one: one.replace("_", " "),
        key=f"over_{name}",
    )
    found = {}
    for key in chosen:
        usual = getattr(detector, key)
        text = st.text_input(
            f"Values of {key.replace('_', ' ')}, separated by commas",
            _some(detector, key),
            key=f"values_{name}_{key}",
            max_chars=120,
            help=f"Now {usual}.",
        )
        found[key] = [part.strip() for part in text.split(",") if part.strip()]
    search = searched(detector, name, found)
    note(
        f"{counted(len(search.candidates), 'setting')} will be tried (at most {MOST_TRIED}), each "
        "fitted on the training bars; the one with the least criterion there is held against the "
        "others on later time, once."
    )
    return found


def _some(detector: TrainableDetector, key: str) -> str:
    """Values to begin with: those of the detector's own grid, or half, as is, and twice."""
    usual = getattr(detector, key)
    own = sorted({getattr(each, key) for each in detector.grid()})
    if len(own) == 1 and isinstance(usual, int | float):
        own = [max(usual // 2, 1), usual, 2 * usual] if isinstance(usual, int) else [
            usual / 2, usual, 2 * usual,
        ]  # fmt: skip
    return ", ".join(str(each) for each in own)


def _features(name: str) -> dict[str, Any]:
    usual = list(trainable(name).features)
    known = [each for each, feature in FEATURES.items() if feature.is_scale_free]
    chosen = st.multiselect(
        "Features",
        known,
        default=usual,
        key=f"features_{name}",
        help="The channels of a bar, unless you choose others. None: the channels.",
    )
    return {"features": [] if chosen == usual else chosen}


def _bars(held: Held, *, is_model: bool) -> dict[str, Any]:
    columns = st.columns(2)
    with columns[0]:
        since = st.date_input(
            "Bars since (UTC)",
            value=None,
            min_value=EARLIEST,
            max_value=held.now.date(),
            format="YYYY-MM-DD",
            help="Empty: all that is held.",
        )
    with columns[1]:
        text = st.text_input(
            "Instruments, separated by commas",
            max_chars=2000,
            help="Empty: all that are watched.",
        )
    symbols = [part.strip() for part in text.split(",") if part.strip()]
    for symbol in symbols:
        check_symbol(symbol)
    found: dict[str, Any] = {"since": str(since) if since else "", "symbols": symbols}
    with st.expander("How it is tried"):
        share = st.slider(
            "Share of all bars before the cut in time, %",
            10,
            95,
            70,
            5,
        )
        found["share"] = share / 100
        if is_model:
            found["rounds"] = st.number_input("Panels planted with anomalies", 1, 100, 3)
            found["seed"] = st.number_input("Seed of plants and draws", 0, 2**31, 0)
            found["per_symbol"] = st.toggle("A model for each instrument, not one for all")
    return found


def _kind(kind: Any) -> str:
    return "whole number" if kind is int else "number"
