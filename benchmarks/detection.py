"""Planted anomalies found by the judge and by PyOD's detectors, on the same bars, in one run.

VUS-PR (mean over instruments) and event average precision (all plants together), of the bars
that the data checks let through and the judge decided: what the checks keep aside counts for
nobody. PyOD's models get what its users mostly give them, returns, and are fitted on the whole
series that they score: they may look ahead, the judge may not. Without a folder of candles a
simulated market is planted.
"""

import argparse
import gzip
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from pyod.models.ecod import ECOD
from pyod.models.gmm import GMM
from pyod.models.iforest import IForest
from pyod.models.knn import KNN

from components.ensemble import Ensemble
from components.evaluation.finding import average_precision, windows
from components.evaluation.intake import admit
from components.evaluation.null import quiet_market
from components.evaluation.plants import planted
from components.evaluation.told import tell
from components.evaluation.vus import vus_pr
from components.sessions import Calendars
from components.settings import Settings
from components.sources.sheets import parse_sheet

OTHERS = {
    "KNN": lambda: KNN(n_neighbors=10, method="largest"),
    "GMM": lambda: GMM(n_components=3, random_state=0),
    "IForest": lambda: IForest(random_state=0),
    "ECOD": ECOD,
}
CALENDARS = Calendars()


def read(folder: Path) -> pd.DataFrame:
    """The candles of a folder of CSV files, one an instrument (``AAPL.csv.gz``)."""
    parts = []
    for path in sorted(folder.glob("*.csv*")):
        symbol = path.name.split(".")[0].removesuffix("_1d")
        body = path.read_bytes()
        body = gzip.decompress(body) if path.suffix == ".gz" else body
        rows = parse_sheet(body, str(path), symbol, "1d").candles.dropna(subset=["ts", "close"])
        parts.append(rows.drop_duplicates("ts", keep="last").assign(symbol=symbol, split=1.0))
    if not parts:
        sys.exit(f"{folder} holds no CSV file of candles.")
    return pd.concat(parts, ignore_index=True)


def returns(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """What PyOD is given: the return alone, and with body, range and change of volume."""
    close, volume = rows["close"].to_numpy(), rows["volume"].to_numpy()
    move = np.append(0.0, np.diff(np.log(close)))
    body = np.log(close / rows["open"].to_numpy())
    reach = np.log(rows["high"].to_numpy() / rows["low"].to_numpy())
    trade = np.append(0.0, np.diff(np.log(np.maximum(np.nan_to_num(volume), 1.0))))
    return {
        "return": move[:, None],
        "return, body, range, volume": np.column_stack([move, body, reach, trade]),
    }


def compare(candles: pd.DataFrame, judge: Ensemble, seed: int) -> pd.DataFrame:
    """VUS-PR and average precision of each method."""
    clean = tell(judge, admit(candles, CALENDARS).candles, CALENDARS)
    live = {
        symbol: pd.DatetimeIndex(clean.ts[series][clean.is_decided[series]], tz="UTC")
        for series, symbol in enumerate(clean.symbols)
    }
    changed, plants = planted(candles, live, seed)
    admitted = admit(changed, CALENDARS).candles
    told = tell(judge, admitted, CALENDARS)
    spans, within = windows(told, plants)
    rows = dict(tuple(admitted.groupby("symbol")))
    scores = {"judge": told.surprise}
    for series, symbol in enumerate(told.symbols):
        print(f"\rPyOD: {symbol}          ", end="", file=sys.stderr)
        place = np.flatnonzero(~np.isnat(told.ts[series]))
        for features, x in returns(rows[symbol]).items():
            for name, make in OTHERS.items():
                key = f"PyOD {name} on {features}"
                score = scores.setdefault(key, np.full(told.surprise.shape, np.nan))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    # In its own standard deviations, so that instruments can be ranked together.
                    found = make().fit((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-12))
                score[series, place] = found.decision_scores_
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)
    measured = []
    for name, score in scores.items():
        decided = told.is_decided & np.isfinite(score)
        series_with_plants = [s for s in range(len(score)) if within[s, decided[s]].any()]
        each = [vus_pr(within[s, decided[s]], score[s, decided[s]]) for s in series_with_plants]
        best = np.array([score[s, a:b][decided[s, a:b]].max(initial=-np.inf) for s, a, b in spans])
        measured.append(
            {
                "method": name,
                "vus_pr": float(np.mean(each)),
                "average_precision": average_precision(best, score[decided & ~within]),
                "n_instruments": len(each),
                "n_plants": len(plants),
            }
        )
    return pd.DataFrame(measured)


def main() -> None:
    """Compare on the folders named, or on a simulated market."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="folders of CSV files of candles")
    parser.add_argument("--instruments", type=int, default=12, help="drawn by the seed; 0: all")
    parser.add_argument("--detectors", help="of the judge, comma-separated; default: as shipped")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    shipped = Settings(_env_file=None)
    names = tuple(options.detectors.split(",")) if options.detectors else shipped.detectors
    judge = Ensemble(names, shipped.alerts_per_year)
    results = {}
    for folder in options.folders or [None]:
        candles = quiet_market(12, 3000, options.seed) if folder is None else read(folder)
        symbols = sorted(candles["symbol"].unique())
        if 0 < options.instruments < len(symbols):
            random = np.random.default_rng([options.seed, 0])
            symbols = sorted(random.choice(symbols, options.instruments, replace=False))
        chosen = candles[candles["symbol"].isin(symbols)]
        table = compare(chosen, judge, options.seed)
        results[folder.name if folder else "simulated"] = table.to_dict("records")
        if not options.json:
            print(f"{folder or 'simulated market'}: {', '.join(symbols)}")
            print(table.round(3).to_string(index=False), "\n")
    if options.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
