"""What is kept of a training: figures, parameters, pictures, tables, an example of the input."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from components import charts, model_charts
from components.documents import plain
from components.evaluation.contest import Contest
from components.evaluation.dated import dated_recall
from components.evaluation.realised import realised_rates
from components.model_files import to_files
from components.panels import Array, Flags
from components.promotion import CHALLENGER, Condition, distinct
from components.sessions import Calendars
from components.trained import Trained
from components.training import FeaturePanel, Recipe, Split, naive


@dataclass(frozen=True)
class Made:
    """A fitted model and what it was made of: recipe, features, candles, cut in time."""

    recipe: Recipe
    trained: Trained
    panel: FeaturePanel
    candles: pd.DataFrame
    cut: Split

    @cached_property
    def scores(self) -> Array:
        """Of all bars, those of the training too, (n_series, n_bars)."""
        return self.trained.score_any(self.panel.x, self.panel.symbols)

    @property
    def is_held_out(self) -> Flags:
        """Bars behind the embargo, (n_series, n_bars)."""
        with np.errstate(invalid="ignore"):
            held: Flags = self.panel.ts >= naive(self.cut.since)
        return held

    @property
    def unseen(self) -> Array:
        """The scores of the held-out bars, (n,)."""
        held = self.scores[self.is_held_out]
        return held[np.isfinite(held)]


def figures_of(
    made: Made, held: Contest, events: pd.DataFrame, calendars: Calendars
) -> dict[str, float]:
    """How the model did at the stated rate, and beside the others."""
    own = held.figures[CHALLENGER]
    later = events[pd.to_datetime(events["date"]) >= held.since.tz_convert(None)]
    dated = dated_recall(held.told[CHALLENGER], later, calendars)
    return {
        "recall_planted": own["recall"],
        **{f"recall_{kind}": value for kind, value in own["by_kind"].items()},
        "recall_events": dated["recall"],
        "n_events": float(dated["n"]),
        "alerts_per_year_stated": held.alerts_per_year,
        "alerts_per_year_realised": own["realised"],
        "delay_bars": own["delay_bars"],
        "n_plants": float(held.n_plants),
        **{f"recall_of_{_key(name)}": f["recall"] for name, f in held.figures.items()},
        **{f"lead_over_{_key(name)}": lead.mean for name, lead in held.leads.items()},
        **{f"lead_over_{_key(name)}_low": lead.low for name, lead in held.leads.items()},
        "distinct": distinct(made.unseen),
        "bytes": float(sum(map(len, to_files(made.trained).values()))),
    }


def _key(name: str) -> str:
    return name.replace(" ", "_")


def params_of(made: Made) -> dict[str, Any]:
    """What went in: hyper-parameters, versions, and the data by span and hash."""
    trained, cut, candles = made.trained, made.cut, made.candles
    return {
        "detector": trained.detector,
        **{f"hyper.{key}": value for key, value in trained.hyper.items()},
        "interval": trained.interval,
        "features": ",".join(trained.features),
        "features_version": trained.features_version,
        "code_version": trained.code_version,
        "is_pooled": made.recipe.is_pooled,
        "is_tuned": made.recipe.is_tuned,
        "n_instruments": int(candles["symbol"].nunique()),
        "n_bars": len(candles),
        "data_sha256": _digest(candles),
        "first": cut.first.isoformat(),
        "until": cut.until.isoformat(),
        "held_out_since": cut.since.isoformat(),
        "last": cut.last.isoformat(),
        "embargo_bars": cut.n_embargo,
    }


def _digest(candles: pd.DataFrame) -> str:
    """A hash over all that training read."""
    ordered = candles.sort_values(["symbol", "ts"], kind="stable")
    hashed = pd.util.hash_pandas_object(ordered, index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes()).hexdigest()


def pictures_of(made: Made, held: Contest) -> dict[str, bytes]:
    """PNG by name: scores, stated and realised rate, the bars on their main axes, recall."""
    scores, is_unseen = made.scores, made.is_held_out
    whole = np.isfinite(scores) & ~np.isnan(made.panel.x).any(axis=2)
    with np.errstate(invalid="ignore"):
        is_seen = made.panel.ts <= naive(made.cut.until)
    by_year = realised_rates(held.told[CHALLENGER])["by_year"]
    rows = made.trained.scaler(made.panel.x[whole & is_unseen])
    seen, unseen = scores[whole & is_seen], scores[whole & is_unseen]
    return {
        "scores.png": model_charts.distribution_png(seen, unseen),
        "stated_and_realised.png": charts.rate_png(
            [int(year) for year in by_year],
            [each["rate"] for each in by_year.values()],
            [held.alerts_per_year] * len(by_year),
        ),
        "map.png": model_charts.map_png(rows, unseen, made.trained.group(rows)),
        "recall.png": model_charts.recall_png(
            {name: each["by_kind"] for name, each in held.figures.items()}
        ),
    }


def tables_of(
    tried: Sequence[Mapping[str, Any]], held: Contest, asked: Sequence[Condition]
) -> dict[str, str]:
    """JSON by name: the grid, leads and recalls with their intervals, the conditions."""
    shares = {
        name: {kind or "all": asdict(share) for kind, share in each.items()}
        for name, each in held.shares.items()
    }
    tables = {
        "grid.json": list(tried),
        "leads.json": {name: asdict(lead) for name, lead in held.leads.items()},
        "by_kind.json": shares,
        "promotion.json": [asdict(each) for each in asked],
    }
    return {name: json.dumps(plain(table), indent=1) + "\n" for name, table in tables.items()}


def example_of(seen: FeaturePanel, names: tuple[str, ...]) -> pd.DataFrame:
    """Five bars of the training, spread over it, as the model takes them."""
    rows = seen.x.reshape(-1, len(names))
    whole = rows[~np.isnan(rows).any(axis=1)]
    return pd.DataFrame(whole[:: max(1, len(whole) // 5)][:5], columns=list(names))
