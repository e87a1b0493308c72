"""Verdicts as rows: what was judged, in the columns of the tables that keep it."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.ensemble import Judged
from components.features.channels import VECTOR
from components.panels import CandlePanel, Flags

Places = npt.NDArray[np.intp]


def verdict_rows(judged: Judged, judge: str, interval: str, known_at: pd.Timestamp) -> pd.DataFrame:
    """The verdicts of a panel as rows of the ``verdicts`` table."""
    series, bars = np.nonzero(judged.panel.is_bar)
    return pd.DataFrame(
        {
            **_bar_columns(judged.panel, series, bars, interval, known_at),
            "judge": judge,
            **verdict_columns(judged, series, bars),
        }
    )


def verdict_columns(
    judged: Judged, series: Places, bars: Places
) -> dict[str, npt.NDArray[np.generic]]:
    """What was found at some places of a panel, in the columns of the ``verdicts`` table."""
    undecided = np.isnan(judged.agreed_p[series, bars])
    anomaly = judged.is_anomaly[series, bars]
    return {
        "verdict": np.where(undecided, "undecided", np.where(anomaly, "anomaly", "normal")),
        "votes": judged.votes[series, bars],
        "voters": judged.voters[series, bars],
        "vote_p": judged.vote_p[series, bars],
        "level": judged.level[series, bars],
        "state": np.where(
            judged.is_stale[series, bars], "stale", np.where(undecided, "warm-up", "live")
        ),
        "p": judged.agreed_p[series, bars],
        "rate": judged.rate[series, bars],
        "bars_lacking": judged.bars_lacking[series, bars],
        "body": judged.body[series, bars],
        "return": judged.move[series, bars],
        "scale": judged.scale[series, bars],
        "market_part": judged.market_part[series, bars],
        "residual_p": judged.residual_p[series, bars],
        "parameters": np.array(judged.parameters, dtype=object)[series],
    }


def score_rows(
    judged: Judged,
    detectors: tuple[str, ...],
    interval: str,
    known_at: pd.Timestamp,
    chosen: Flags | None = None,
) -> pd.DataFrame:
    """The scores of a panel as rows of the ``scores`` table; bars without a score are absent.

    Of all bars, or of those in ``chosen`` (n_series, n_bars).
    """
    tables = []
    # A detector entered twice is one: its scores are kept once.
    for name in dict.fromkeys(detectors):
        seat = detectors.index(name)
        score, p, n = judged.score[seat], judged.p[seat], judged.n_reference[seat]
        is_told = ~np.isnan(score) if chosen is None else ~np.isnan(score) & chosen
        series, bars = np.nonzero(is_told)
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


def channel_rows(judged: Judged, interval: str, known_at: pd.Timestamp) -> pd.DataFrame:
    """The channels of a panel as rows of the ``channels`` table; bars without any are absent."""
    series, bars = np.nonzero(~np.isnan(judged.channels).all(axis=0))
    found = dict(zip(VECTOR, judged.channels[:, series, bars], strict=True))
    return pd.DataFrame({**_bar_columns(judged.panel, series, bars, interval, known_at), **found})


def contribution_rows(judged: Judged, interval: str, known_at: pd.Timestamp) -> pd.DataFrame:
    """What each feature added to a trained model's score of the anomalies, as rows.

    One row a bar and feature, and one with the feature "" for what belongs to none.
    """
    if judged.seen is None or (found := judged.seen.contributions(judged.is_anomaly)) is None:
        return pd.DataFrame()
    series, bars, x, made = found
    names = (*judged.seen.trained.features, "")
    n = len(names)
    parts = np.concatenate([made.by_feature[:, 0], made.rest], axis=1)
    values = np.concatenate([x, np.full((len(x), 1), np.nan)], axis=1)
    where = np.repeat(np.arange(len(series)), n)
    return pd.DataFrame(
        {
            **_bar_columns(judged.panel, series[where], bars[where], interval, known_at),
            "detector": judged.seen.trained.name,
            "feature": np.tile(np.array(names, dtype=object), len(series)),
            "value": values.ravel(),
            "part": parts.ravel(),
            "total": np.repeat(made.total[:, 0], n),
            "what": np.where(
                np.tile(np.array(names, dtype=object), len(series)) == "",
                made.rest_what,
                made.what,
            ),
        }
    )


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
