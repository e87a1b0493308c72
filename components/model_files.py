"""Trained models as files: numbers in ``.npz`` without pickle, the rest in JSON, and back."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.detectors import DETECTORS
from components.detectors.base import TrainableDetector
from components.drift import N_BINS, Usual
from components.errors import ModelError
from components.trained import Scaler, Trained

DESCRIPTION, NUMBERS = "model.json", "model.npz"

# Counted up whenever the files' structure changes.
FORMAT = 1

# A model of each of ten thousand instruments is far below; what is packed may be a bomb.
MOST_BYTES = 2**30
MOST_CONTEXT = 10_000

UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, MemoryError, NotImplementedError)


def to_files(trained: Trained) -> dict[str, bytes]:
    """The model as named files; the same model gives the same bytes."""
    symbols = sorted(trained.models)
    arrays: dict[str, npt.NDArray[Any]] = {
        "scaler.center": trained.scaler.center,
        "scaler.spread": trained.scaler.spread,
        "usual.edges": trained.usual.edges,
        "usual.shares": trained.usual.shares,
    }
    for place, symbol in enumerate(symbols):
        own = trained.models[symbol].arrays()
        arrays.update({f"model.{place}.{name}": a for name, a in own.items()})
    sink = io.BytesIO()
    # A plain dict of arrays: nothing here is pickled, and reading refuses what is.
    np.savez(sink, allow_pickle=False, **arrays)  # type: ignore[arg-type, unused-ignore]
    numbers = sink.getvalue()
    said = {
        "format": FORMAT,
        "detector": trained.detector,
        "hyper": dict(trained.hyper),
        "interval": trained.interval,
        "features": list(trained.features),
        "features_version": trained.features_version,
        "until": trained.until.isoformat(),
        "symbols": symbols,
        "code_version": trained.code_version,
        "sha256": hashlib.sha256(numbers).hexdigest(),
    }
    return {
        DESCRIPTION: (json.dumps(said, indent=1, sort_keys=True) + "\n").encode(),
        NUMBERS: numbers,
    }


def from_files(files: Mapping[str, bytes], version: str = "") -> Trained:
    """Read ``to_files`` back.

    Raises
    ------
    ModelError
        When the files are not such a model's, or were changed since.
    """
    try:
        said, numbers = json.loads(files[DESCRIPTION]), files[NUMBERS]
        if said["format"] != FORMAT:
            raise ModelError(f"its files have format {said['format']}, known is {FORMAT}")
        if hashlib.sha256(numbers).hexdigest() != said["sha256"]:
            raise ModelError(f"{NUMBERS} does not have the checksum that {DESCRIPTION} names")
        arrays = _unpacked(numbers)
        detector = _detector(str(said["detector"]), said["hyper"])
        models = {
            str(symbol): detector.restore_arrays(_of(arrays, f"model.{place}."))
            for place, symbol in enumerate(said["symbols"])
        }
        if not models:
            raise ModelError("its files hold no model")
        trained = Trained(
            detector=str(said["detector"]),
            hyper=said["hyper"],
            interval=str(said["interval"]),
            features=tuple(map(str, said["features"])),
            features_version=str(said["features_version"]),
            until=pd.Timestamp(said["until"]),
            scaler=Scaler(arrays["scaler.center"], arrays["scaler.spread"]),
            models=models,
            usual=Usual(arrays["usual.edges"], arrays["usual.shares"]),
            version=version,
            code_version=str(said.get("code_version", "")),
        )
        _require_usable(trained)
    except (LookupError, TypeError, ValueError, AttributeError, *UNREADABLE) as error:
        raise ModelError(
            f"its files cannot be read ({' '.join(str(error).split())[:120]})"
        ) from None
    return trained


def digest_of(files: Mapping[str, bytes]) -> str:
    """The checksum that the registry keeps apart from the files."""
    # The description names the checksum of the numbers.
    return hashlib.sha256(files[DESCRIPTION]).hexdigest()


def hyper_of(detector: TrainableDetector) -> dict[str, Any]:
    """The hyper-parameters of a detector as plain values."""
    names = [each.name for each in fields(detector)]  # type: ignore[arg-type]
    return {name: getattr(detector, name) for name in names}


def _unpacked(numbers: bytes) -> dict[str, npt.NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(numbers)) as packed:
        if sum(part.file_size for part in packed.infolist()) > MOST_BYTES:
            raise ModelError(f"{NUMBERS} holds more than {MOST_BYTES >> 20} MiB")
    with np.load(io.BytesIO(numbers), allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def _require_usable(trained: Trained) -> None:
    """Refuse numbers that do not fit each other, over which a run would stumble."""
    d = len(trained.features)
    shapes = (
        (trained.scaler.center, (d,)),
        (trained.scaler.spread, (d,)),
        (trained.usual.edges, (d + 1, N_BINS - 1)),
        (trained.usual.shares, (d + 1, N_BINS)),
    )
    if any(a.shape != shape or not np.isfinite(a).all() for a, shape in shapes):
        raise ValueError("numbers that do not fit the features")
    if not (trained.scaler.spread > 0).all() or trained.until.tzinfo is None:
        raise ValueError("a spread or a time that is none")
    for model in trained.models.values():
        if not all(np.isfinite(a).all() for a in model.arrays().values()):
            raise ValueError("numbers that are none")
        if not 0 <= model.context <= MOST_CONTEXT:
            raise ValueError("a context beyond all bounds")
        score = model.score(np.zeros((1, model.context + 1, d)))
        if score.shape != (1, model.context + 1) or not np.isfinite(score[0, -1]):
            raise ValueError("a model that gives no score")


def _detector(name: str, hyper: Mapping[str, Any]) -> TrainableDetector:
    """The detector of a name that the registry knows, with these hyper-parameters."""
    known = DETECTORS.get(name)
    if not isinstance(known, TrainableDetector):
        raise ModelError(f"no trainable detector is called {name[:60]!r}")
    usual = hyper_of(known)
    odd = [key for key, value in hyper.items() if not _is_like(usual.get(key), value)]
    if odd:
        raise ModelError(f"{name} has no hyper-parameter {str(odd[0])[:60]!r} of that kind")
    found: TrainableDetector = replace(known, **hyper)  # type: ignore[type-var]
    return found


def _is_like(usual: Any, value: Any) -> bool:
    """Whether a value read from a file is of the kind that the detector has."""
    if isinstance(usual, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return usual is not None and type(value) is type(usual)


def _of(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name[len(prefix) :]: a for name, a in arrays.items() if name.startswith(prefix)}
