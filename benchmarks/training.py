"""Training over the largest panels that are promised: time, memory, and scikit-learn beside it.

python -m benchmarks.training [--panel days|minutes] [--detectors kmeans,gmm,...]

Days: 500 instruments of ten years; minutes: 20 coins of three months. Candles are made by a
seeded generator and lie in a warehouse; each detector is trained by ``train`` in a process of
its own: reading, features, tuning, fit, the contest on held-out time, registration. Beside each
stands scikit-learn's estimator (of the LSTM: nobody's), fitted on all training rows with the
numbers that tuning chose: the ratio says what reading, tuning and proving cost.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from components.detectors import DETECTORS
from components.detectors.base import TrainableDetector
from components.embedded import close_embedded, open_embedded
from components.settings import Settings
from components.steps.evaluate import Chosen, shipped_events
from components.steps.train import Wanted, train
from components.tables import CANDLES
from components.training import Recipe, feature_panel, trainable
from components.wiring import open_parts, registry_of

ROOT = Path(__file__).parents[1]
LAST = pd.Timestamp("2024-03-11", tz="UTC")

# Instruments, bars, length of a bar.
PANELS = {"days": (500, 2520, "1d"), "minutes": (20, 129_600, "1m")}


def settings_of(folder: Path, url: str, panel: str) -> Settings:
    """The settings of a training in ``folder``."""
    n, _, interval = PANELS[panel]
    return Settings(
        _env_file=None,
        source="sample",
        symbols=",".join(f"S{i:03d}-USD" for i in range(n)),
        interval=interval,
        state_dir=folder,
        warehouse_url=url,
    )


def fill(folder: Path, url: str, panel: str) -> None:
    """Put the panel's candles into the warehouse: fat tails, clusters, a common move."""
    n, n_bars, interval = PANELS[panel]
    ts = pd.date_range(end=LAST, periods=n_bars, freq=pd.Timedelta(interval), unit="us")
    common = np.random.default_rng(0)
    calm = np.exp(np.cumsum(0.03 * common.standard_normal(n_bars)) * 0.2)
    market = 0.4 * calm * common.standard_t(5, n_bars)
    unit = 0.01 if interval == "1d" else 0.0006
    with open_parts(settings_of(folder, url, panel), LAST, command="train", reads_only=True) as p:
        for i, symbol in enumerate(p.watch.symbols):
            random = np.random.default_rng([1, i])
            moves = unit * (market + calm * random.standard_t(5, n_bars))
            close = 100 * np.exp(np.cumsum(moves))
            opened = np.r_[100.0, close[:-1]]
            reach = np.exp(np.abs(0.4 * unit * calm * random.standard_t(5, n_bars)))
            size = np.abs(moves) / unit / calm
            rows = {
                "symbol": symbol,
                "interval": interval,
                "ts": ts,
                "open": opened,
                "high": np.maximum(opened, close) * reach,
                "low": np.minimum(opened, close) / reach,
                "close": close,
                "volume": np.round(1e6 * np.exp(0.3 * size + 0.4 * random.standard_normal(n_bars))),
                "vwap": np.nan,
                "trades": np.nan,
                "hours": None,
                "source": "made",
                "known_at": LAST,
            }
            p.warehouse.upsert(CANDLES, pd.DataFrame(rows))
            print(f"\rfilling {i / n:.0%}", end="", file=sys.stderr)
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)


def measured(folder: Path, url: str, panel: str, name: str) -> None:
    """Train one detector and print what it took, as JSON; runs in a process of its own."""
    settings = settings_of(folder, url, panel)
    started = time.perf_counter()
    with open_parts(settings, LAST, command="train", reads_only=True) as parts:
        detector = trainable(name)
        recipe = Recipe(detector, name, settings.interval, detector.features)
        outcome = train(
            parts, registry_of(settings), recipe, Wanted(Chosen(), rounds=1), shipped_events()
        )
    found = {
        "seconds": time.perf_counter() - started,
        "fit_seconds": outcome.figures["fit_seconds"],
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "hyper": dict(outcome.trained.hyper),
        "until": outcome.split.until.isoformat(),
    }
    print(json.dumps(found))


def alternative(name: str, hyper: dict[str, object], rows: np.ndarray) -> float:
    """Seconds that scikit-learn's own estimator takes on all training rows; NaN for none."""
    from sklearn.cluster import KMeans
    from sklearn.covariance import MinCovDet
    from sklearn.decomposition import PCA
    from sklearn.ensemble import IsolationForest
    from sklearn.mixture import GaussianMixture

    made = {
        "kmeans": lambda: KMeans(hyper["n_clusters"], n_init=10, random_state=0),
        "gmm": lambda: GaussianMixture(
            hyper["n_components"], covariance_type=hyper["covariance_type"], random_state=0
        ),
        "isolation_forest": lambda: IsolationForest(n_estimators=hyper["n_trees"], random_state=0),
        "mahalanobis": lambda: MinCovDet(random_state=0),
        "pca": lambda: PCA(min(hyper["n_components"], rows.shape[1] - 1)),
    }
    if name not in made:
        return float("nan")
    started = time.perf_counter()
    made[name]().fit(rows)
    return time.perf_counter() - started


def training_rows(folder: Path, url: str, panel: str, until: str) -> np.ndarray:
    """The whole bars of the training as the detectors see them, (n, 6)."""
    from components.steps.train import candles_of

    with open_parts(
        settings_of(folder, url, panel), LAST, command="train", reads_only=True
    ) as parts:
        names = DETECTORS["gmm"].features
        found = feature_panel(candles_of(parts, Chosen()), parts.calendars, names, parts.progress)
    x = found.until(pd.Timestamp(until)).x.reshape(-1, len(names))
    return x[~np.isnan(x).any(axis=1)]


def main() -> None:
    """Fill a warehouse, train each detector apart, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--panel", choices=PANELS, default="days")
    known = [name for name, d in DETECTORS.items() if isinstance(d, TrainableDetector)]
    parser.add_argument("--detectors", default=",".join(known))
    parser.add_argument("--of", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.of:
        folder, url, name = asked.of
        measured(Path(folder), url, asked.panel, name)
        return
    n, n_bars, interval = PANELS[asked.panel]
    print(f"{n} instruments, {n_bars:,} bars of {interval} each\n")
    print("| detector | features, tuning, fit (s) | whole command (s) | peak (GiB) | chosen |"
          " scikit-learn's fit (s) | ours / its |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        url = open_embedded(folder)
        try:
            fill(folder, url, asked.panel)
            rows = None
            for detector in asked.detectors.split(","):
                command = [sys.executable, "-m", "benchmarks.training", "--panel", asked.panel]
                done = subprocess.run(
                    [*command, "--of", name, url, detector],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                found = json.loads(done.stdout)
                if rows is None:
                    rows = training_rows(folder, url, asked.panel, found["until"])
                other = alternative(detector, found["hyper"], rows)
                chosen = ", ".join(f"{k} {v}" for k, v in found["hyper"].items())
                print(
                    f"| {detector} | {found['fit_seconds']:.1f} | {found['seconds']:.1f} | "
                    f"{found['peak']:.2f} | {chosen} | {other:.1f} | "
                    f"{found['fit_seconds'] / other:.1f} |",
                    flush=True,
                )
        finally:
            close_embedded(folder)


if __name__ == "__main__":
    main()
