"""Train parameters: from the warehouse's candles to where the views' features usually lie."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from components.errors import NotEnoughBars, ParametersError
from components.features import FEATURES
from components.parameters import (
    PLACED_FEATURES,
    EstimatedOn,
    OfClass,
    ParameterFile,
    Place,
    to_text,
    utc,
    written,
)
from components.steps.parameters import read_file
from components.steps.parts import Parts
from components.steps.train import Wanted, candles_of
from components.training import FeaturePanel, feature_panel, split

log = logging.getLogger("tremor")

# Fewer values say nothing of where a feature usually lies.
LEAST_VALUES = 250

# Between the quartiles of a normal law lie so many deviations.
QUARTILES = 1.349


@dataclass(frozen=True)
class Estimated:
    """What was written: the file, where, and which interval and classes are new."""

    path: Path
    file: ParameterFile
    interval: str
    classes: tuple[str, ...]


def train_parameters(parts: Parts, wanted: Wanted, path: Path) -> Estimated:
    """Estimate the parameters of the interval on the bars before the cut, and write them.

    The centre is the median and the spread that of the quartiles, over all training bars of the
    instruments of a class. Other intervals and classes of the file stay.

    Raises
    ------
    SettingsError, NotEnoughBars
        There are no candles, or too few.
    ParametersError
        The file cannot be written, or is of a newer program.
    """
    candles = candles_of(parts, wanted.chosen)
    panel = feature_panel(candles, parts.calendars, PLACED_FEATURES, parts.progress)
    seen = panel.until(split(panel.ts, wanted.share, 0).until)
    by_class: dict[str, list[int]] = {}
    for series, symbol in enumerate(seen.symbols):
        by_class.setdefault(parts.calendars.of(symbol), []).append(series)
    known_at = parts.run.as_of
    found = {name: _of_class(seen, rows, known_at) for name, rows in sorted(by_class.items())}
    classes = {name: own for name, own in found.items() if own is not None}
    if not classes:
        longest = int((~np.isnat(seen.ts)).sum(axis=1).max(initial=0))
        raise NotEnoughBars("train parameters", LEAST_VALUES, longest)
    interval = parts.watch.interval
    with _alone(path):
        before = _before(path)
        file = written(before, interval, classes, parts.clock().date())
        _write(path, to_text(file).encode())
    return Estimated(path, file, interval, tuple(classes))


def _of_class(panel: FeaturePanel, rows: list[int], known_at: pd.Timestamp) -> OfClass | None:
    ts, x = panel.ts[rows], panel.x[rows]
    places = {}
    for at, name in enumerate(PLACED_FEATURES):
        values = x[:, :, at][np.isfinite(x[:, :, at])]
        if len(values) < LEAST_VALUES:
            continue
        low, center, high = np.quantile(values, [0.25, 0.5, 0.75])
        if high > low:
            spread = float((high - low) / QUARTILES)
            places[name] = Place(unit=FEATURES[name].unit, center=float(center), spread=spread)
    if not places:
        return None
    stamps = ts[~np.isnat(ts)]
    first, last = (pd.Timestamp(t, tz="UTC") for t in (stamps.min(), stamps.max()))
    has_bars = (~np.isnat(ts)).any(axis=1)
    made_of = EstimatedOn(
        symbols=tuple(panel.symbols[row] for row in np.array(rows)[has_bars]),
        first=utc(first),
        last=utc(last),
        n_bars=len(stamps),
        known_as_of=utc(known_at),
    )
    return OfClass(estimated_on=made_of, features=places)


def _before(path: Path) -> ParameterFile | None:
    """What the file holds; a broken one is set aside, for this is how it is mended."""
    try:
        return read_file(path)
    except ParametersError as error:
        aside = path.with_name(f"{path.name}.refused")
        with contextlib.suppress(OSError):
            path.replace(aside)
        log.warning("%s Set aside as %s.", error, aside)
        return None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two intervals may be trained at once: each keeps what the other wrote."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise ParametersError(
            f"{path}: cannot be written: {error.strerror}. Set TREMOR_PARAMS_FILE to another place."
        ) from None


def _write(path: Path, body: bytes) -> None:
    """All of it or nothing, also when the machine stops meanwhile."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with new.open("wb") as stream:
        stream.write(body)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
