"""The one door of the judgement: candles and carried state in, verdicts and state out.

candles -> features -> volatility units -> detectors -> p-values -> agreed p -> kept rate

The daily run, a rebuild from history and a replay all pass here.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.calibration import Calibration, KeptRate, RankCalibration, calibration_of, two_sided
from components.carried import State, named, scoped
from components.consensus import agreed, quorum_of
from components.detectors import DETECTORS
from components.detectors.base import Detector, Model
from components.errors import SettingsError, UnknownName
from components.features import FEATURES
from components.features.scale import VolatilityUnits
from components.panels import FIELDS, Array, CandlePanel, Flags, Ints

# Counted up whenever the judgement's arithmetic changes: older snapshots are then rebuilt.
ARITHMETIC = 1

# Carried features, and the local one that each of them scales.
SCALED: Mapping[str, str] = {"body_z": "body", "return_z": "return"}

NEVER = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class Judged:
    """What was found for each bar of a panel; arrays (n_series, n_bars) unless said.

    ``score``, ``p`` (n_detectors, n_series, n_bars); ``agreed_p`` the quorum's p-value;
    ``rate`` the share of bars that may alert, in force at the bar; ``scale`` the volatility
    of returns known before it, a fraction per bar.
    """

    panel: CandlePanel
    score: Array
    p: Array
    n_reference: Ints
    agreed_p: Array
    votes: Ints
    voters: Ints
    rate: Array
    is_anomaly: Flags
    bars_lacking: Ints
    body: Array
    move: Array
    scale: Array


@dataclass(frozen=True)
class Ensemble:
    """The detectors that judge together, and the rate that they are held to.

    Parameters
    ----------
    detectors : tuple of str
        Names from the registry.
    alerts_per_year : float
        Alerts accepted per instrument and year, true or false.
    """

    detectors: tuple[str, ...]
    alerts_per_year: float

    def __post_init__(self) -> None:
        unknown = [name for name in self.detectors if name not in DETECTORS]
        if unknown:
            raise UnknownName("detector", unknown[0], list(DETECTORS))
        if not self.detectors or len(set(self.detectors)) < len(self.detectors):
            raise SettingsError("TREMOR_DETECTORS names no detector, or one of them twice.")

    @property
    def name(self) -> str:
        """The detectors' names, joined: the ``judge`` of a verdict."""
        return "+".join(self.detectors)

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever a setting does that would change a verdict."""
        parts = [
            ARITHMETIC,
            self.alerts_per_year,
            VolatilityUnits(),
            KeptRate(),
            [(name, DETECTORS[name], calibration_of(name)) for name in self.detectors],
        ]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def is_carried(self) -> bool:
        """False when a detector reads all history: every run then starts from the first bar."""
        return all(model.context == 0 for model in self._models)

    @property
    def bars_before_verdict(self) -> int:
        """Bars of an instrument that pass before its first verdict."""
        return max(self._needed)

    @property
    def keeps_budget(self) -> bool:
        """False when a single baseline alerts by a rule of its own."""
        return self._own_rule is None

    def require_resolvable(self, bars_per_year: float) -> None:
        """Refuse a budget finer than the reference can resolve, with both numbers."""
        rate = self.alerts_per_year / bars_per_year
        finest = 1 / (RankCalibration().window + 1)
        if self.keeps_budget and not finest <= rate <= 1:
            raise SettingsError(
                f"TREMOR_ALERTS_PER_YEAR={self.alerts_per_year:g} asks for p-values of "
                f"{rate:.2g}; ranks among {RankCalibration().window} past bars give "
                f"{finest:.2g} to 1. Ask for {finest * bars_per_year:.2g} to "
                f"{bars_per_year:.0f} alerts a year."
            )

    def start(self, n_series: int) -> State:
        """The state before the first bar of ``n_series`` instruments."""
        state: dict[str, npt.NDArray[np.generic]] = {
            "last_ts": np.full(n_series, NEVER),
            "close": np.full(n_series, np.nan),
            "n_bars": np.zeros(n_series, dtype=np.int64),
        }
        for feature in self._scaled:
            state.update(named(VolatilityUnits().start(n_series), feature))
        for name, calibration in zip(self.detectors, self._calibrations, strict=True):
            state.update(named(calibration.start(n_series), name))
        state.update(named(KeptRate().start(n_series), "rate"))
        return state

    def run(self, state: State, panel: CandlePanel, rates: Array) -> tuple[State, Judged]:
        """Judge the bars of a panel, all of them newer than the state.

        Parameters
        ----------
        state : State
            Arrays whose first axis runs over the panel's series.
        panel : CandlePanel
            New bars.
        rates : Array
            Stated share of bars that may alert, shape (n_series,).
        """
        after = dict(state)
        close = state["close"].astype(float)
        columns = {name: feature(panel, close) for name, feature in FEATURES.items()}
        scale = np.full_like(panel.field("close"), np.nan)
        for name in self._scaled:
            units, z, s = VolatilityUnits().run(scoped(state, name), columns[SCALED[name]])
            columns[name] = z
            after.update(named(units, name))
            if name == "return_z":
                scale = s

        scores, ps, references = [], [], []
        for name, model, calibration in zip(
            self.detectors, self._models, self._calibrations, strict=True
        ):
            detector = DETECTORS[name]
            score = model.score(np.stack([columns[f] for f in detector.features], axis=2))
            memory, p, n_reference = calibration.run(scoped(state, name), score)
            after.update(named(memory, name))
            scores.append(score)
            ps.append(p)
            references.append(n_reference)

        score_array, p_array = np.stack(scores), np.stack(ps)
        kth, voters = agreed(p_array, quorum_of(len(self.detectors)))
        kept, alert, in_force = KeptRate().run(scoped(state, "rate"), kth, rates)
        after.update(named(kept, "rate"))
        if self._own_rule:
            alert = score_array[0] > self._own_rule
            in_force = np.where(np.isnan(kth), np.nan, two_sided(self._own_rule))
        with np.errstate(invalid="ignore"):
            votes = (p_array <= in_force).sum(axis=0)

        before = state["n_bars"].astype(np.int64)[:, None] + np.cumsum(panel.is_bar, axis=1) - 1
        after.update(_last_bar(state, panel))
        return after, Judged(
            panel=panel,
            score=score_array,
            p=p_array,
            n_reference=np.stack(references),
            agreed_p=kth,
            votes=votes,
            voters=voters,
            rate=in_force,
            is_anomaly=alert,
            bars_lacking=np.maximum(self.bars_before_verdict - before, 0),
            body=columns["body"],
            move=columns["return"],
            scale=scale,
        )

    @cached_property
    def _models(self) -> tuple[Model, ...]:
        # The registered detectors learn nothing in advance, so any bar will do to fit them.
        return tuple(_fit(DETECTORS[name]) for name in self.detectors)

    @cached_property
    def _calibrations(self) -> tuple[Calibration, ...]:
        return tuple(calibration_of(name) for name in self.detectors)

    @property
    def _scaled(self) -> tuple[str, ...]:
        # Returns are always scaled: reasons are told in units of them.
        used = {f for name in self.detectors for f in DETECTORS[name].features}
        return tuple(f for f in SCALED if f in used or f == "return_z")

    @property
    def _own_rule(self) -> float | None:
        return self._calibrations[0].threshold if len(self.detectors) == 1 else None

    @property
    def _needed(self) -> list[int]:
        needed = []
        for name, calibration in zip(self.detectors, self._calibrations, strict=True):
            detector = DETECTORS[name]
            scaled = any(f in SCALED for f in detector.features)
            # A return needs the close before it; then the scale warms up.
            warm_up = 1 + VolatilityUnits().warm_up if scaled else 0
            needed.append(detector.min_bars - 1 + warm_up + calibration.min_reference)
        return needed


def warm() -> None:
    """Compile every scan, so that an image holds them ready."""
    ensemble = Ensemble(tuple(DETECTORS), 4)
    panel = CandlePanel(("A",), np.full((1, 1), NEVER), np.full((1, 1, len(FIELDS)), np.nan))
    ensemble.run(ensemble.start(1), panel, np.full(1, 0.01))


def _fit(detector: Detector) -> Model:
    return detector.fit(np.zeros((1, detector.min_bars, len(detector.features))))


def _last_bar(state: State, panel: CandlePanel) -> dict[str, npt.NDArray[np.generic]]:
    has_bars = panel.is_bar.any(axis=1)
    n_bars = state["n_bars"] + panel.is_bar.sum(axis=1)
    if not panel.ts.shape[1]:
        return {"n_bars": n_bars}
    return {
        "n_bars": n_bars,
        "last_ts": np.where(has_bars, panel.ts[:, -1], state["last_ts"]),
        "close": np.where(has_bars, panel.field("close")[:, -1], state["close"]),
    }


def verdict_rows(judged: Judged, judge: str, interval: str, known_at: pd.Timestamp) -> pd.DataFrame:
    """The verdicts of a panel as rows of the ``verdicts`` table."""
    series, bars = np.nonzero(judged.panel.is_bar)
    undecided = np.isnan(judged.agreed_p[series, bars])
    anomaly = judged.is_anomaly[series, bars]
    return pd.DataFrame(
        {
            **_bar_columns(judged.panel, series, bars, interval, known_at),
            "judge": judge,
            "verdict": np.where(undecided, "undecided", np.where(anomaly, "anomaly", "normal")),
            "votes": judged.votes[series, bars],
            "voters": judged.voters[series, bars],
            "p": judged.agreed_p[series, bars],
            "rate": judged.rate[series, bars],
            "bars_lacking": np.where(undecided, judged.bars_lacking[series, bars], 0),
            "body": judged.body[series, bars],
            "return": judged.move[series, bars],
            "scale": judged.scale[series, bars],
        }
    )


def score_rows(
    judged: Judged, detectors: tuple[str, ...], interval: str, known_at: pd.Timestamp
) -> pd.DataFrame:
    """The scores of a panel as rows of the ``scores`` table; bars without a score are absent."""
    tables = []
    for name, score, p, n in zip(
        detectors, judged.score, judged.p, judged.n_reference, strict=True
    ):
        series, bars = np.nonzero(~np.isnan(score))
        tables.append(
            pd.DataFrame(
                {
                    **_bar_columns(judged.panel, series, bars, interval, known_at),
                    "detector": name,
                    "score": score[series, bars],
                    "p": p[series, bars],
                    "n_reference": n[series, bars],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _bar_columns(
    panel: CandlePanel,
    series: npt.NDArray[np.intp],
    bars: npt.NDArray[np.intp],
    interval: str,
    known_at: pd.Timestamp,
) -> dict[str, object]:
    return {
        "symbol": np.array(panel.symbols, dtype=object)[series],
        "interval": interval,
        "ts": pd.DatetimeIndex(panel.ts[series, bars], tz="UTC"),
        "known_at": known_at,
    }
