"""Parameters of the micro and macro views: where a feature usually lies, by interval and class.

The file ``params.json`` holds them. What comes from it is not believed before all of it was
checked: an unknown key, a number that is none, a unit, interval or instrument class that is not
what it should be refuse the whole file, in one line.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from typing import Annotated, Any, Final

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from pydantic import model_validator as model_check

from components.detectors import PLACED
from components.errors import ParametersError, TremorError
from components.features import FEATURES
from components.panels import Array
from components.sessions import Calendars, require_calendars

# Counted up when the file's shape changes: another one is refused.
SCHEMA: Final = 1

# Hundreds of classes and intervals need a tenth of it.
MOST_BYTES: Final = 1_000_000

REMEDY: Final = "Make it anew with `python main.py train parameters`"

# Nobody's centre or spread, in units of a z or of a logarithm.
MOST: Final = 1e6

# What the views that are placed ask for.
PLACED_FEATURES: Final = tuple(dict.fromkeys(d.feature for d in PLACED.values()))

Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[!-~]+$")]

Interval = Annotated[str, Field(pattern="^[1-9][0-9]{0,3}[mhd]$")]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Place(_Checked):
    """Where a feature usually lies, in its ``unit``: the median, and the spread of quartiles."""

    unit: Name
    center: Annotated[FiniteFloat, Field(ge=-MOST, le=MOST)]
    spread: Annotated[FiniteFloat, Field(gt=0, le=MOST)]


class EstimatedOn(_Checked):
    """The data that parameters come from: bars ``first`` to ``last``, as known at an instant."""

    symbols: Annotated[tuple[Name, ...], Field(min_length=1, max_length=10_000)]
    first: AwareDatetime
    last: AwareDatetime
    n_bars: Annotated[int, Field(ge=1)]
    known_as_of: AwareDatetime

    @model_check(mode="after")
    def _in_order(self) -> "EstimatedOn":
        if not self.first <= self.last <= self.known_as_of:
            raise ValueError("first, last and known_as_of are not in this order")
        return self


class OfClass(_Checked):
    """The parameters of one instrument class at one interval, by feature."""

    estimated_on: EstimatedOn
    features: Annotated[dict[str, Place], Field(min_length=1)]

    @model_check(mode="after")
    def _in_their_units(self) -> "OfClass":
        for name, place in self.features.items():
            if name not in PLACED_FEATURES:
                raise ValueError(f"no view asks for {name[:40]!r}")
            if place.unit != FEATURES[name].unit:
                raise ValueError(f"{name} is in {FEATURES[name].unit}, not in {place.unit}")
        return self


class ParameterFile(_Checked):
    """All that one file holds: by interval and, in it, by instrument class (the calendar)."""

    number: Annotated[int, Field(alias="schema")]
    version: Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
    made_at: date
    intervals: dict[Interval, dict[Name, OfClass]]

    @model_check(mode="after")
    def _known(self) -> "ParameterFile":
        if self.number != SCHEMA:
            raise ValueError(f"schema {self.number} is not {SCHEMA}, the one that is known")
        for classes in self.intervals.values():
            require_calendars(classes)
        if self.version != version_of(self.intervals):
            raise ValueError("version is not that of the content: it was changed by hand")
        return self

    def of(self, interval: str, calendars: Calendars) -> "Parameters | None":
        """The parameters of one interval; None where the file has none of it."""
        classes = self.intervals.get(interval)
        if classes is None:
            return None
        places = {
            name: {f: (place.center, place.spread) for f, place in own.features.items()}
            for name, own in classes.items()
        }
        return Parameters(self.version, interval, places, calendars)


@dataclass(frozen=True)
class Parameters:
    """The parameters of one interval: (centre, spread) by instrument class and feature.

    An instrument whose class is not in them is judged as if there were none: centre 0, spread 1,
    version "".
    """

    version: str
    interval: str
    places: Mapping[str, Mapping[str, tuple[float, float]]]
    calendars: Calendars

    def version_for(self, symbol: str) -> str:
        """The version where the instrument's class has parameters, else ""."""
        return self.version if self.calendars.of(symbol) in self.places else ""

    def placed(self, panel: Array, features: Sequence[str], symbols: Sequence[str]) -> Array:
        """A panel (n_series, n_bars, n_features) less the centres, over the spreads."""
        of_class = [self.places.get(self.calendars.of(symbol), {}) for symbol in symbols]
        usual = [[own.get(name, (0.0, 1.0)) for name in features] for own in of_class]
        places = np.array(usual).reshape(len(symbols), 1, len(features), 2)
        found: Array = (panel - places[..., 0]) / places[..., 1]
        return found

    def lacking(self, symbols: Sequence[str]) -> str:
        """One sentence on the instruments without parameters; "" where there are none."""
        without = sorted(symbol for symbol in symbols if not self.version_for(symbol))
        if not without:
            return ""
        classes = ", ".join(sorted({self.calendars.of(symbol) for symbol in without}))
        more = f" and {len(without) - 5} more" if len(without) > 5 else ""
        return (
            f"parameters {self.version} hold nothing of {self.interval} bars of {classes}: "
            f"{', '.join(without[:5])}{more} are judged with neutral ones. {REMEDY}."
        )

    def as_said(self) -> dict[str, Any]:
        """All but the calendars, for a manifest."""
        places = {
            name: {feature: list(place) for feature, place in sorted(own.items())}
            for name, own in sorted(self.places.items())
        }
        return {"version": self.version, "interval": self.interval, "places": places}


def from_said(said: Mapping[str, Any] | None, calendars: Calendars) -> Parameters | None:
    """Read ``as_said`` back; None of nothing."""
    if not said:
        return None
    places = {
        name: {feature: (center, spread) for feature, (center, spread) in own.items()}
        for name, own in said["places"].items()
    }
    return Parameters(said["version"], said["interval"], places, calendars)


def version_of(intervals: Mapping[str, Mapping[str, OfClass]]) -> str:
    """A short hash of the content: the same parameters have the same version, whenever made."""
    content = {
        interval: {name: own.model_dump(mode="json") for name, own in classes.items()}
        for interval, classes in intervals.items()
    }
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def written(
    before: ParameterFile | None,
    interval: str,
    classes: Mapping[str, OfClass],
    made_at: date,
) -> ParameterFile:
    """A file with these classes of an interval; other intervals and classes stay as they were."""
    intervals = dict(before.intervals) if before else {}
    intervals[interval] = {**intervals.get(interval, {}), **classes}
    version = version_of(intervals)
    said = {"schema": SCHEMA, "version": version, "made_at": made_at, "intervals": intervals}
    return ParameterFile.model_validate(said)


def to_text(file: ParameterFile) -> str:
    """The file as it is written: the same content gives the same bytes."""
    said = file.model_dump(mode="json", by_alias=True)
    return json.dumps(said, indent=1, sort_keys=True) + "\n"


def parse(body: bytes, where: str) -> ParameterFile:
    """Read and check a whole file.

    Raises
    ------
    ParametersError
        It is too large, no such file, or something in it is not as it should be.
    """
    if len(body) > MOST_BYTES:
        raise refusal(where, f"more than {MOST_BYTES:,} bytes")
    try:
        json.loads(body.decode(), object_pairs_hook=_once)
        return ParameterFile.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(_plain(str(part)) for part in first["loc"])
        words = _plain(str(first["msg"]).removeprefix("Value error, "), 160)
        raise refusal(where, f"{place}: {words}" if place else words) from None
    except TremorError as error:
        raise refusal(where, _plain(str(error), 160)) from None
    except (ValueError, RecursionError) as error:
        raise refusal(where, f"no JSON ({_plain(str(error), 80)})") from None


def refusal(where: str, why: str) -> ParametersError:
    """The error that refuses a file, in one line."""
    return ParametersError(f"{where}: {why.rstrip('.')}. {REMEDY}.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a key stands twice")
    return names


def _plain(text: str, most: int = 60) -> str:
    """What came from outside, on one line and short."""
    return re.sub(r"[^ -~]+", " ", text)[:most].strip()


def utc(instant: Any) -> Any:
    """A pandas instant as pydantic keeps it."""
    return instant.to_pydatetime().astimezone(UTC)
