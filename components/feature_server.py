"""The newest features of instruments, asked of Feast's feature server; no answer is believed."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import requests

from components.errors import FeatureStoreError
from components.feature_views import CLOSED, INSTANTS, KEY, OPENED, view_name
from components.words import clean

# What a value takes in an answer at most, its status and time included; and the frame around.
LONGEST_VALUE, FRAME = 200, 100_000

# Instants are whole seconds, from 1970 to 2200.
END_OF_TIME = 7_258_118_400

COMMAND = ".venv/feast/bin/python -m components.entrypoints.feature_store"


@dataclass(frozen=True)
class FeatureServer:
    """Feast's feature server, and the view of one interval that is asked of it.

    Parameters
    ----------
    url : str
        ``http://host:port``, without user and password.
    """

    url: str
    interval: str
    timeout_s: float = 30

    @property
    def view(self) -> str:
        """The view's name there."""
        return view_name(self.interval)

    def newest(self, symbols: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
        """The newest row of each instrument: symbol, ts, closes_at, known_at and the features.

        Instruments that the server knows nothing of have no row; features that are unknown are
        NaN.

        Raises
        ------
        FeatureStoreError
            The server does not answer, or not as Feast would.
        """
        wanted = [*INSTANTS, *names]
        body = self._asked(
            {
                "features": [f"{self.view}:{name}" for name in wanted],
                "entities": {KEY: list(symbols)},
            },
            FRAME + LONGEST_VALUE * len(symbols) * (len(wanted) + 1),
        )
        try:
            columns = _columns(json.loads(body), [KEY, *wanted], len(symbols))
            if columns[KEY] != list(symbols):
                raise ValueError("other instruments than were asked for")  # noqa: TRY301
            return _rows(columns, names)
        except (ValueError, RecursionError) as error:
            raise self._error(f"gave no features: {clean(str(error), 100)}", "") from None

    def _asked(self, question: dict[str, Any], longest: int) -> bytes:
        try:
            with requests.post(
                f"{self.url.rstrip('/')}/get-online-features",
                json=question,
                timeout=self.timeout_s,
                allow_redirects=False,
                stream=True,
            ) as reply:
                body = _read(reply, longest)
        except (requests.RequestException, ValueError) as error:
            is_late = isinstance(error, requests.Timeout)
            what = "did not answer in time" if is_late else "is not reached"
            raise self._error(what, f"Start it: `{COMMAND} serve`.") from None
        if reply.status_code != requests.codes.ok:
            said = clean(body[:400].decode("utf-8", "replace"), 120)
            remedy = f"Run `{COMMAND} apply`, and start it anew."
            raise self._error(f"answered {reply.status_code} for {self.view}: {said}", remedy)
        if len(body) > longest:
            raise self._error(f"gave no features: more than {longest:,} bytes", "")
        return body

    def _error(self, what: str, remedy: str) -> FeatureStoreError:
        remedy = remedy or "Look at what listens there, or unset TREMOR_FEAST_URL."
        return FeatureStoreError(f"feature server {self.url}: {what.rstrip('.')}. {remedy}")


def _read(reply: requests.Response, longest: int) -> bytes:
    """The answer, or a little more of it than may be."""
    body = b""
    for piece in reply.iter_content(1 << 16):
        body += piece
        if len(body) > longest:
            break
    return body


def _columns(said: Any, wanted: list[str], n_rows: int) -> dict[str, list[Any]]:
    """The values by name, when they are what was asked for."""
    try:
        names, results = said["metadata"]["feature_names"], said["results"]
        values = [result["values"] for result in results]
    except (KeyError, TypeError):
        raise ValueError("not in Feast's shape") from None
    if not isinstance(names, list) or sorted(map(str, names)) != sorted(wanted):
        raise ValueError("other features than were asked for")
    if len(values) != len(names) or any(
        not isinstance(column, list) or len(column) != n_rows for column in values
    ):
        raise ValueError("as many values as were asked for are not there")
    return dict(zip(names, values, strict=True))


def _rows(columns: dict[str, list[Any]], names: Sequence[str]) -> pd.DataFrame:
    rows = pd.DataFrame({KEY: pd.Series(columns[KEY], dtype="str")})
    for name in INSTANTS:
        seconds = pd.array([_second(value, name) for value in columns[name]], dtype="Int64")
        rows[name] = pd.to_datetime(seconds, unit="s", utc=True).astype("datetime64[us, UTC]")
    for name in names:
        rows[name] = [_number(value, name) for value in columns[name]]
    is_there = rows[list(INSTANTS)].notna()
    if (is_there.any(axis=1) != is_there.all(axis=1)).any():
        raise ValueError("a bar without all of its instants")
    rows = rows[is_there.all(axis=1)].reset_index(drop=True)
    if (rows[OPENED] >= rows[CLOSED]).any():
        raise ValueError("a bar that closed before it opened")
    return rows


def _second(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < END_OF_TIME:
        raise ValueError(f"{name} is {value!r:.40}, no second since 1970")
    return value


def _number(value: Any, name: str) -> float:
    """A feature's value; NaN when it is unknown."""
    # So Feast writes a NaN, for which JSON has no number.
    if value is None or value == "NaN":
        return math.nan
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r:.40}, no number")
    return float(value)
