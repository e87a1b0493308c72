"""The commands ``forecast`` and ``train forecasters``: bands of payment volumes."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from components.band_export import csv_bytes
from components.errors import SettingsError, SourceFormatError, TremorError
from components.forecast_trials import Trial
from components.rate_tests import RateTest, counts_of
from components.records import RunSummary
from components.settings import Settings
from components.sources.base import Source
from components.steps.band_pages import rows_of
from components.steps.bands import recall_bands
from components.steps.champions import FIRST
from components.steps.forecast import forecast
from components.steps.parts import Parts, Progress
from components.steps.runner import Runner
from components.steps.trials import try_forecasters
from components.wiring import open_parts, source_of
from components.words import clean, counted, level_word, moment, percent, price, share

# Series that the command shows on a terminal.
MOST_SHOWN = 20

NOT_PAYMENTS = (
    "forecast needs payments, and the source {!r} has candles. Set TREMOR_SOURCE to athena or sql "
    "(TREMOR_MEASURES_QUERY), or to files with TREMOR_MEASURES_FILE; see the README, Payments."
)


def require_payments(settings: Settings) -> Source:
    """The source, if it gives payments.

    Raises
    ------
    SettingsError
        When it gives candles.
    """
    source = source_of(settings)
    if source.traits.kind != "measures":
        raise SettingsError(NOT_PAYMENTS.format(settings.source))
    return source


def forecasted(
    settings: Settings, as_of: pd.Timestamp, run: Runner, *, dry: bool
) -> tuple[RunSummary, pd.DataFrame]:
    """Run over payments once; the summary, and the last and the coming bins of the first series."""
    require_payments(settings)
    with open_parts(
        settings, as_of, command="forecast", is_dry=dry, progress=run.progress
    ) as parts:
        summary = forecast(parts, run)
        shown = pd.concat(
            [shown_of(parts, data_set) for data_set in parts.watch.symbols], ignore_index=True
        )
    return summary, shown


def shown_of(parts: Parts, data_set: str) -> pd.DataFrame:
    """The last closed bin of each series and the next one: alarms first, then the largest."""
    rows = rows_of(parts, data_set)
    closed = rows[rows["actual"].notna()]
    last = closed.drop_duplicates("series", keep="last").set_index("series")
    coming = rows[rows["actual"].isna()].drop_duplicates("series").set_index("series")
    last = last.assign(size=closed.groupby("series")["actual"].mean())
    last = last.sort_values(["level", "size"], ascending=[False, False], kind="stable")
    both = last.join(coming, rsuffix="_next", how="left")
    return both.reset_index().assign(data_set=data_set)


def in_words(shown: pd.DataFrame, zone: str, unit: str) -> str:
    """A table for a terminal."""
    if shown.empty:
        return "no bin is held yet: fetch some with `python main.py backfill --since 2024-01-01`"
    rows = [
        {
            "data set": row["data_set"],
            "series": clean(str(row["series"]), 30),
            "bin": moment(row["ts"], "2h", zone).removesuffix(f" {zone}"),
            "actual": _amount(row["actual"]),
            "expected": _amount(row["expected"]),
            "band": _band(row["lower"], row["upper"]),
            "alarm": level_word(int(row["level"])),
            "so far": _amount(row["so_far_next"]),
            "points to": _amount(row["nowcast_next"]),
            "next": _amount(row["expected_next"]),
            "next band": _band(row["lower_next"], row["upper_next"]),
        }
        for row in shown.head(MOST_SHOWN).to_dict("records")
    ]
    table = pd.DataFrame(rows)
    # Columns that say nothing are left out: no bin is under way in a table of the past.
    table = table.loc[:, (table != "").any(axis=0)]
    more = len(shown) - MOST_SHOWN
    lines = [f"bins of {zone}{f', {unit}' if unit else ''}", table.to_string(index=False)]
    return "\n".join([*lines, *([f"and {more:,} more series"] if more > 0 else [])])


def _amount(value: Any) -> str:
    return "" if pd.isna(value) else price(float(value))


def _band(lower: Any, upper: Any) -> str:
    return "" if pd.isna(lower) or pd.isna(upper) else f"{_amount(lower)} to {_amount(upper)}"


def as_json(shown: pd.DataFrame) -> str:
    """The same for a program."""
    return json.dumps(
        {"series": json.loads(shown.to_json(orient="records", date_format="iso"))}, indent=1
    )


def exported(settings: Settings, as_of: pd.Timestamp, since: pd.Timestamp | None, out: Path) -> str:
    """Write the stored bands as CSV; give a sentence about it."""
    require_payments(settings)
    with open_parts(settings, as_of, command="forecast", reads_only=True) as parts:
        tables = []
        for data_set in parts.watch.symbols:
            rows = rows_of(parts, data_set, since)
            # Series of several data sets may share a name.
            several = len(parts.watch.symbols) > 1
            tables.append(rows.assign(series=f"{data_set}:" + rows["series"]) if several else rows)
    rows = pd.concat(tables, ignore_index=True)
    try:
        out.write_bytes(csv_bytes(rows, zone=settings.time_zone))
    except OSError as error:
        raise SettingsError(f"--csv {out}: cannot be written ({error.strerror}).") from None
    return f"{counted(len(rows), 'bin')} of {rows['series'].nunique():,} series in {out}"


def day_tested(path: Path, coverage: float) -> tuple[pd.DataFrame, str]:
    """A day's counts against the references beside them; the table, and what it says.

    Raises
    ------
    SettingsError
        The file cannot be read.
    SourceFormatError
        It is not such a table.
    """
    try:
        table = pd.read_csv(path)
    except OSError as error:
        raise SettingsError(f"--day {path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise SourceFormatError(f"{path}: no table ({clean(str(error), 120)}).") from None
    found = RateTest(round(1 - coverage, 12)).run(counts_of(table, str(path)))
    odd = found[found["is_outside"]]
    lines = [
        f"{row['time']}: {row['actual']:.0f}, {row['expected']:.1f} expected "
        f"({row['lower']:.0f} to {row['upper']:.0f}), p = {share(row['p'])}"
        for row in odd.to_dict("records")
    ]
    said = f"{len(odd):,} of {len(found):,} bins are unusual at {percent(coverage)} coverage"
    return found, "\n".join([said, *lines])


def tried(settings: Settings, as_of: pd.Timestamp, progress: Progress) -> dict[str, list[Trial]]:
    """Hold the forecasters against each other on each data set's history; crown the best.

    Raises
    ------
    TremorError
        No data set has enough bins.
    """
    require_payments(settings)
    found: dict[str, list[Trial]] = {}
    crowned: dict[str, str] = {}
    # The champion that there is, which may be the one that cannot be read, is not asked; and all
    # that is held is tried on, however much of it a run looks back on.
    settings = settings.model_copy(update={"forecaster": FIRST, "history_years": 100.0})
    with open_parts(settings, as_of, command="train", reads_only=True, progress=progress) as parts:
        for data_set in parts.watch.symbols:
            recalled = recall_bands(parts, data_set)
            if recalled is None:
                continue
            found[data_set], crowned[data_set] = try_forecasters(parts, recalled)
    if not found:
        raise TremorError("no data set has a bin. Run `python main.py backfill --since ...` first.")
    return {
        f"{name}: {crowned[name] or 'nobody'} is champion": trials for name, trials in found.items()
    }


def trials_in_words(found: dict[str, list[Trial]], coverage: float) -> str:
    """The trials as tables, one a data set."""
    lines = []
    for said, trials in found.items():
        lines += [said]
        rows = [
            {
                "forecaster": trial.forecaster,
                "score": f"{trial.winkler:.2f}",
                "covered": percent(trial.covered),
                "alarms a week": f"{trial.alarms_a_week:.2f}",
                "series": trial.n_series,
                "bins": f"{trial.n_bins:,}",
                "seconds": f"{trial.seconds:.1f}",
            }
            for trial in trials
        ]
        lines += [pd.DataFrame(rows).to_string(index=False), ""]
    lines.append(
        f"score: mean interval score of the {percent(coverage)} band, the seasonal naive's is 1; "
        "less is better. Alarms: a series and week."
    )
    return "\n".join(lines)


def trials_as_json(found: dict[str, list[Trial]]) -> str:
    """The same for a program."""
    return json.dumps({k: [t.__dict__ for t in v] for k, v in found.items()}, indent=1)
