"""A backtest as one HTML page, as JSON, and as a table for the console; pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from components.backtest import Outcome, tally, told_by_day, would_have_fired
from components.calendar_chart import calendar_svg
from components.templates import fill
from components.words import UNKNOWN, counted, level_word, number, percent, share, times

# A page of ten years opens in a blink.
MAX_ROWS = 500
MAX_INSTRUMENTS = 40


@dataclass(frozen=True)
class Replayed:
    """What was replayed: the span, the source, and one outcome a setting, the one in force first.

    ``delay`` is how long after its close a bar that came later is assumed to have been known.
    """

    since: pd.Timestamp
    until: pd.Timestamp
    source: str
    n_instruments: int
    outcomes: tuple[Outcome, ...]
    delay: pd.Timedelta


def as_json(replayed: Replayed) -> dict[str, Any]:
    """Every number and everything told; keys are kept stable."""
    since, until = replayed.since, replayed.until
    tallies = [tally(outcome, since, until) for outcome in replayed.outcomes]
    found: dict[str, Any] = {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "source": replayed.source,
        "instruments": replayed.n_instruments,
        "delay_assumed_minutes": replayed.delay / pd.Timedelta(minutes=1),
        "now": tallies[0],
        "told": _records(replayed.outcomes[0].told),
    }
    if len(tallies) > 1:
        table = would_have_fired(*(outcome.told for outcome in replayed.outcomes[:2]))
        found["then"] = tallies[1]
        found["would_have_fired"] = _records(table)
        found["fired"] = fired(table)
    return found


def fired(table: pd.DataFrame) -> dict[str, int]:
    """How many bars fired in both, only now, only then."""
    return {name: int((table["fired"] == name).sum()) for name in ("both", "only now", "only then")}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.to_dict("records")
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return None if isinstance(value, float) and math.isnan(value) else value


def figures(tallies: Sequence[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The numbers in words, a row each, a column a setting."""
    rows = [_column(each) for each in tallies]
    return [(name, [row[name] for row in rows]) for name in rows[0]]


def _column(found: dict[str, Any]) -> dict[str, str]:
    rate, right, late = found["rate"], found["precision"], found["delay_bars"]
    labelled = right["right"] + right["wrong"]
    precise = UNKNOWN if right["precision"] is None else percent(right["precision"])
    known = found["bars"]["known"]
    assumed = found["bars"]["assumed"] / known if known else 0.0
    return {
        "Alerts stated, per instrument and year": f"{rate['stated']:g}",
        "Alerts realised, per instrument and year": times(number(rate["realised"])),
        "counted over instrument years": times(rate["instrument_years"]),
        "Incidents told": f"{found['incidents']:,}",
        "Incidents a week": times(found["incidents_a_week"]),
        "Alerts (what is told of one day)": f"{found['alerts']:,}",
        "Messages": f"{found['messages']:,}",
        "Messages a week": times(found["messages_a_week"]),
        "Told twice": f"{found['repeats']:,}",
        "Told again, clearly worse": f"{found['told_again_as_clearly_worse']:,}",
        "Kept quiet on request": f"{found['silenced']:,}",
        "Delay in bars, median": _bars(late["median"]),
        "Delay in bars, largest": _bars(late["largest"]),
        "Found right by people": f"{precise} of {labelled} labelled" if labelled else "no labels",
        "Labelled an error of the data": f"{right['data_error']:,}",
        "Bars judged": f"{known:,}",
        "of which assumed in time": f"{found['bars']['assumed']:,} ({percent(assumed)})",
    }


def _bars(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:g}"


def judge_in_words(judge: dict[str, Any]) -> str:
    """Budget, quorum and views of a setting."""
    quorum = f", quorum {judge['quorum']}" if "quorum" in judge else ""
    views = ", ".join(judge["detectors"])
    return f"{judge['alerts_per_year']:g} alerts a year{quorum}; {views}"


def text_table(found: dict[str, Any]) -> str:
    """The numbers as plain text."""
    tallies = [found[name] for name in ("now", "then") if name in found]
    rows = figures(tallies)
    width = max(len(name) for name, _ in rows)
    lines = [f"Replayed {found['since'][:10]} to {found['until'][:10]}, {found['source']}, "]
    lines[0] += counted(found["instruments"], "instrument")
    lines += [f"{n}: {judge_in_words(t['judge'])}" for n, t in zip(NAMES, tallies, strict=False)]
    if len(tallies) > 1:
        lines.append(f"{'':{width}}  {NAMES[0]:>22}  {NAMES[1]:>22}")
    lines += [
        f"{name:{width}}  " + "  ".join(f"{value:>22}" for value in values) for name, values in rows
    ]
    if "fired" in found:
        counts = found["fired"]
        lines.append(
            f"Fired in both {counts['both']:,}, only now {counts['only now']:,}, "
            f"only then {counts['only then']:,}."
        )
    return "\n".join(lines)


NAMES = ("Now", "Then")


def page(replayed: Replayed) -> str:
    """The page: numbers, calendar, would-have-fired table, instruments, how it was made."""
    outcomes, since, until = replayed.outcomes, replayed.since, replayed.until
    tallies = [tally(outcome, since, until) for outcome in outcomes]
    is_pair = len(outcomes) > 1
    table = _fired_table(outcomes)
    return fill(
        "backtest.html.j2",
        title=f"Backtest {since:%Y-%m-%d} to {until:%Y-%m-%d}",
        replayed=replayed,
        now=tallies[0],
        settings=[(n, judge_in_words(t["judge"])) for n, t in zip(NAMES, tallies, strict=False)],
        figures=figures(tallies),
        calendars=[
            (name if is_pair else "", _calendar(outcome, since, until))
            for name, outcome in zip(NAMES, outcomes, strict=False)
        ],
        is_pair=is_pair,
        fired=fired(table) if is_pair else {},
        rows=[_fired_row(row) for row in table.head(MAX_ROWS).to_dict("records")],
        n_rows=len(table),
        instruments=_instruments(tallies),
        delay=f"{replayed.delay / pd.Timedelta(minutes=1):.0f}",
    )


def _fired_table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    table = would_have_fired(outcomes[0].told, outcomes[-1].told)
    # What differs is what the reader came for.
    is_both = (table["fired"] == "both") & (len(outcomes) > 1)
    return table.assign(is_both=is_both).sort_values(["is_both", "ts", "symbol"], kind="stable")


def _calendar(outcome: Outcome, since: pd.Timestamp, until: pd.Timestamp) -> list[Markup]:
    pictures = calendar_svg(told_by_day(outcome.told), since - pd.Timedelta(days=1), until)
    # Numbers and dates made here hold nothing that needs escaping.
    return [Markup(picture) for picture in pictures]  # noqa: S704


def _fired_row(row: dict[Any, Any]) -> dict[str, Any]:
    levels = [number(row["level"]), number(row["level_then"])]
    return {
        "symbol": row["symbol"],
        "day": f"{row['ts']:%Y-%m-%d}",
        "fired": row["fired"],
        "move": number(row["return"]),
        "p": share(number(row["p"])),
        "p_then": share(number(row["p_then"])),
        "levels": [level_word(int(n)) if math.isfinite(n) else "" for n in levels],
    }


def _instruments(tallies: Sequence[dict[str, Any]]) -> list[tuple[str, list[int]]]:
    counts = [found["by_instrument"] for found in tallies]
    names = sorted(
        {name for each in counts for name in each},
        key=lambda name: (-max(each.get(name, 0) for each in counts), name),
    )
    return [(name, [each.get(name, 0) for each in counts]) for name in names[:MAX_INSTRUMENTS]]
