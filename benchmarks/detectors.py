"""Every detector alone, and the ensemble, on the same held-out bars at the same alarm rate.

python -m benchmarks.detectors FOLDER ... [--rounds 3] [--share 0.6]

Detectors that are trained once (pooled over the instruments, scaled and tuned on the bars before
the cut) stand beside those that learn from each instrument's own past, the rules of the peers,
and random alerts. Prints, for each folder of daily candles, recall of planted anomalies by kind
and of dated events, with 95 % intervals: by bootstrap over months, and Wilson's.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from benchmarks.detection import CALENDARS, read
from components.detectors import DETECTORS
from components.detectors.base import TrainableDetector
from components.ensemble import Ensemble
from components.evaluation import Trials
from components.evaluation.contest import Contest, Estimate, at_the_rate, contest
from components.evaluation.dated import dated_recall
from components.evaluation.intake import admit
from components.evaluation.told import at_random, with_market
from components.settings import ENSEMBLE, Settings
from components.steps.evaluate import shipped_events
from components.steps.train import embargo
from components.trained import Trained
from components.training import Recipe, feature_panel, fit, scaler_of, split, trainable, tune

BUDGET = Settings(_env_file=None).alerts_per_year


def unseen(items, _total, _what):
    """Progress that nobody watches."""
    yield from items


def trained(name: str, panel, cut, *, is_pooled: bool = True) -> Trained:
    """A detector, tuned and fitted on the bars before the cut."""
    detector = trainable(name)
    recipe = Recipe(detector, name, "1d", detector.features, is_pooled)
    seen = panel.until(cut.until)
    scaler = scaler_of(seen)
    best, _ = tune(recipe, seen, scaler, unseen)
    return fit(recipe, best, seen, scaler, unseen)


def judges_of(candles: pd.DataFrame, share: float) -> tuple[dict[str, Ensemble], pd.Timestamp]:
    """Who is compared, by the name that is printed, and where held-out time begins."""
    panel = feature_panel(with_market(candles, CALENDARS), CALENDARS, ENSEMBLE_FEATURES, unseen)
    widest = Recipe(trainable("lstm_autoencoder"), "lstm_autoencoder", "1d", ENSEMBLE_FEATURES)
    cut = split(panel.ts, share, embargo(widest))
    judges = {"the ensemble": Ensemble(ENSEMBLE, BUDGET)}
    for name, detector in DETECTORS.items():
        if isinstance(detector, TrainableDetector):
            model = trained(name, panel, cut)
            judges[f"{name}, trained"] = Ensemble((), BUDGET, 1, model)
            if name == "gmm":
                judges["gmm, trained one each"] = Ensemble(
                    (), BUDGET, 1, trained(name, panel, cut, is_pooled=False)
                )
                judges["the ensemble and gmm, trained"] = Ensemble(ENSEMBLE, BUDGET, 2, model)
        if name != "lstm_autoencoder":
            judges[name] = Ensemble((name,), BUDGET, 1)
    return judges, cut.since


ENSEMBLE_FEATURES = trainable("gmm").features


def shown(share: Estimate | None) -> str:
    """A share and its interval, in per cent."""
    if share is None:
        return ""
    return f"{100 * share.mean:.0f} [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def table(held: Contest, events: pd.DataFrame) -> str:
    """The comparison as a table of Markdown, the best first."""
    kinds = sorted(kind for kind in held.shares["the ensemble"] if kind)
    head = ["judge", "planted", *(kind.replace("_", " ") for kind in kinds), "dated events"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name in sorted(held.shares, key=lambda name: -held.shares[name][""].mean):
        shares: Mapping[str, Estimate] = held.shares[name]
        found = dated_recall(at_the_rate(held.told[name]), events, CALENDARS)
        low, high = found["interval"]
        dated = shown(Estimate(found["recall"], low, high)) if found["n"] else "none"
        cells = [name, shown(shares[""]), *(shown(shares.get(kind)) for kind in kinds), dated]
        lines.append(f"| {' | '.join(cells)} |")
    some = next(iter(held.told.values()))
    chance = dated_recall(at_random(some, BUDGET, 0), events, CALENDARS)
    lines.append(f"\nrandom alerts: {100 * chance['recall']:.0f} % of {chance['n']} dated events")
    return "\n".join(lines)


def main() -> None:
    """Compare on each folder named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of CSV files of candles")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.6, help="of all bars, before the cut")
    options = parser.parse_args()
    events = shipped_events()
    for folder in options.folders:
        candles = read(folder)
        clean = admit(candles, CALENDARS).candles
        judges, since = judges_of(clean, options.share)
        trials = Trials(CALENDARS, rounds=options.rounds)
        held = contest(judges, candles, trials, since)
        own = events[pd.to_datetime(events["date"]) >= held.since.tz_convert(None)]
        n = candles["symbol"].nunique()
        print(
            f"\n{folder.name}: {n} instruments, {held.n_bars:,} bars from {held.since:%Y-%m-%d} to "
            f"{held.last:%Y-%m-%d}, {held.n_plants:,} planted, each judge at {BUDGET:g} alerts an "
            "instrument and year; per cent found\n"
        )
        print(table(held, own), flush=True)


if __name__ == "__main__":
    main()
