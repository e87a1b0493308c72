"""What was found of some bars as records, for who asked over HTTP. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from components.documents import plain
from components.ensemble import Judged
from components.features.channels import VECTOR
from components.records import Finding
from components.verdicts import verdict_columns
from components.words import level_word

# Of a finding, what a verdict has already, or what only a picture needs.
NOT_SAID = ("chart", "symbol", "ts", "verdict", "level", "market_part", "residual_p", "p", "body")


def records(
    judged: Judged,
    seats: Sequence[str],
    judge: str,
    findings: Mapping[tuple[str, str], Finding],
) -> list[dict[str, Any]]:
    """One record a bar, in the order of instruments and bars; what is not known is None.

    Parameters
    ----------
    seats : sequence of str
        The views' names, in the order of ``judged.score``.
    findings : Mapping
        The reasons of some bars, by symbol and ts.
    """
    series, bars = np.nonzero(judged.panel.is_bar)
    symbols = np.array(judged.panel.symbols, dtype=object)[series].tolist()
    instants = judged.panel.ts[series, bars].astype("M8[s]").tolist()
    ts = [f"{each.isoformat()}+00:00" for each in instants]
    columns = {k: a.tolist() for k, a in verdict_columns(judged, series, bars).items()}
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    scores = judged.score[:, series, bars].T.tolist()
    ps = judged.p[:, series, bars].T.tolist()
    references = judged.n_reference[:, series, bars].T.tolist()
    channels = judged.channels[:, series, bars].T.tolist()
    found = []
    for i, row in enumerate(rows):
        views = zip(seats, scores[i], ps[i], references[i], strict=True)
        finding = findings.get((symbols[i], ts[i]))
        found.append(
            {
                "symbol": symbols[i],
                "ts": ts[i],
                "judge": judge,
                **{name: plain(value) for name, value in row.items()},
                "level_word": level_word(row["level"]),
                "views": [_view(*view, row["vote_p"]) for view in views],
                "channels": dict(zip(VECTOR, map(plain, channels[i]), strict=True)),
                "finding": None if finding is None else _said(finding),
            }
        )
    return found


def _view(name: str, score: float, p: float, n_reference: int, vote_p: float) -> dict[str, Any]:
    return {
        "name": name,
        "score": plain(score),
        "p": plain(p),
        "n_reference": n_reference,
        "voted": bool(p <= vote_p),
    }


def _said(finding: Finding) -> dict[str, Any]:
    return {name: value for name, value in plain(asdict(finding)).items() if name not in NOT_SAID}
