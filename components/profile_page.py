"""An exploration of instruments as one HTML page that needs nothing beside itself; pure."""

import base64
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from markupsafe import Markup

from components import profile_tables as tables
from components.explored import Profile
from components.profile.figures import PLAIN_TIMES, PLAIN_WINDOW
from components.profile.history import History
from components.profile.pairs import LEAST_COMMON
from components.profile.unusual import LARGE, N_VOLUMES
from components.quality_page import Quality, section
from components.templates import fill
from components.words import counted, number, percent, price, times

# Instruments in the tables; rows of those of unusual bars and pairs; instruments in the pictures
# of volatilities and of coverage.
MAX_ROWS, MAX_LISTED, MAX_BARS = 100, 25, 40


def page(profile: Profile) -> str:
    """The page: tables, pictures, and the rules by which they were made."""
    symbols = profile.symbols
    shown = symbols.head(MAX_ROWS)
    columns, coverage = tables.table(profile), tables.coverage(profile)
    consistency = tables.consistency(profile)
    with_bars = int((symbols["n_bars"] > 0).sum())
    return fill(
        "profile.html.j2",
        title=profile.title,
        tiles=_tiles(profile),
        rules=rules(profile),
        headers=list(columns),
        rows=tables.cells(columns, shown),
        more=len(symbols) - len(shown),
        left_out=profile.left_out,
        histories=[(each.symbol, _shown(history_picture(profile, each))) for each in profile.drawn],
        not_drawn=with_bars - len(profile.drawn),
        moves=_moves(profile),
        spikes=_spikes(profile),
        n_volumes=N_VOLUMES,
        volatility=_shown(volatility_picture(profile)),
        correlation=_shown(correlation_picture(profile)),
        in_matrix=len(profile.matrix.symbols),
        not_in_matrix=with_bars - len(profile.matrix.symbols),
        pairs=_pairs(profile),
        consistency_headers=list(consistency),
        consistency_rows=tables.cells(consistency, shown),
        checks=_checks(profile),
        coverage_headers=list(coverage),
        coverage_rows=tables.cells(coverage, shown),
        coverage=_shown(coverage_picture(profile)),
        gaps=section(until_last(profile.quality))["gaps"],
    )


def _tiles(profile: Profile) -> list[tuple[str, str]]:
    symbols = profile.symbols
    due, held = (symbols["n_due"] - symbols["n_late"]).sum(), symbols["n_held"].sum()
    moves, spikes = (
        symbols[f"n_{what}"].sum() / max(symbols[f"n_judged_{of}"].sum(), 1)
        for what, of in (("large_moves", "moves"), ("volume_spikes", "volumes"))
    )
    return [
        (f"{len(symbols):,}", "instruments"),
        (f"{symbols['n_bars'].sum():,}", "bars"),
        (tables.covered(held / due if due else np.nan), "of the bars due are held"),
        (percent(moves), "large moves"),
        (percent(spikes), "volume spikes"),
        (f"{symbols['n_aside'].sum():,}", "bars kept aside"),
    ]


def rules(profile: Profile) -> dict[str, str]:
    """What each figure means, in a sentence or two."""
    is_daily = profile.interval.endswith("d")
    by_hour = "" if is_daily else ", and at this half hour of the day (known from the fifth day on)"
    night = "" if is_daily else "; what a night did is held against a whole session"
    symbols = profile.symbols
    by_mean = (int(symbols[f"n_plain_{name}"].sum()) for name in ("spikes", "judged"))
    plain = tables.among(*by_mean) or "none"
    return {
        "volatility": "Volatility is that of log returns, a year, over all bars and over the last "
        "60 returns; splits are undone.",
        "moves": f"A large move is {LARGE:g} times the volatility known before it, or more"
        f"{by_hour}{night}; shares are of the bars that could be judged.",
        "spikes": f"A volume spike lies {LARGE:g} of its usual deviations above its recent level, "
        f"in logarithms{by_hour}. By the plain rule, volume over {PLAIN_TIMES:g} times the mean of "
        f"up to {PLAIN_WINDOW} bars before, there would be {plain}.",
        "correlation": "Pearson's, of log returns over the same time: common bars are those whose "
        "returns begin and end together. Of fewer than "
        f"{LEAST_COMMON} common bars none is given.",
        "coverage": "Which bars should be there by the calendar, and which are, from the first one "
        "held to the last that came; what is missing since then is late. Refused bars came and "
        "failed a check; bars that are not due came when the exchange is closed. The command "
        "status --quality says day by day why a bar is not there.",
        "consistency": "Counts of bars. Aside: failed a check. Gaps: places where due bars are not "
        "held. Unchanged: closed as the bar before. Out of order: a high or low inside of open "
        "and close. Copies: came again, and were not believed. Corrected: a later reply said "
        "something else. Disagree: a second source said something else. One price: open, high, "
        "low and close are equal. No trade: a volume of 0. What nothing is counted under is left "
        "out.",
    }


def until_last(quality: Quality) -> Quality:
    """The days and gaps up to each instrument's last bar that came: what is late has a number."""
    symbols, days, gaps = quality.symbols.set_index("symbol"), quality.days, quality.gaps
    last = days[days["n_missing"] < days["n_expected"]].groupby("symbol")["day"].max()
    is_after = ~(days["day"] <= days["symbol"].map(last))
    kept = days[~is_after].copy()
    # Of the last day itself those are late that are not so on the days after it.
    late = symbols["n_late"].sub(days[is_after].groupby("symbol")["n_missing"].sum(), fill_value=0)
    ends = kept.index[kept["day"] == kept["symbol"].map(last)]
    lacking = kept.loc[ends, "symbol"].map(late).clip(lower=0).astype(int)
    for name in ("n_expected", "n_missing"):
        kept.loc[ends, name] -= lacking
    return replace(
        quality, days=kept, gaps=gaps[gaps["first"] <= gaps["symbol"].map(symbols["last"])]
    )


def coverage_picture(profile: Profile) -> bytes | None:
    """The share of the bars due that is held, over time, of the instruments that miss most."""
    days = until_last(profile.quality).days
    symbols = profile.quality.symbols["symbol"]
    names = list(symbols[symbols.isin(days["symbol"])].head(MAX_BARS))
    if not names:
        return None
    from components.profile_charts import coverage_png

    return coverage_png(names, days[days["symbol"].isin(names)])


def history_picture(profile: Profile, history: History) -> bytes:
    """One instrument's prices and volumes as PNG bytes."""
    # matplotlib takes half a second to import.
    from components.profile_charts import history_png

    return history_png(history, profile.interval)


def volatility_picture(profile: Profile) -> bytes | None:
    """The volatilities of the first instruments that have one."""
    rows = profile.symbols[profile.symbols["volatility"].notna()].head(MAX_BARS)
    if rows.empty:
        return None
    from components.profile_charts import volatility_png

    whole, recent = (rows[name].to_numpy() for name in ("volatility", "volatility_recent"))
    return volatility_png(list(rows["symbol"]), whole, recent)


def correlation_picture(profile: Profile) -> bytes | None:
    """The matrix of the instruments with the most bars; None of fewer than two."""
    if len(profile.matrix.symbols) < 2:
        return None
    from components.profile_charts import correlation_png

    return correlation_png(profile.matrix.symbols, profile.matrix.correlation)


def _moves(profile: Profile) -> Sequence[Sequence[str]]:
    return [
        (
            row["symbol"],
            tables.when(row["ts"], profile.interval),
            percent(row["return"], sign=True),
            times(abs(row["times_usual"])),
            price(row["close"]),
            counted(row["bars_over"], "bar"),
        )
        for row in profile.moves.head(MAX_LISTED).to_dict("records")
    ]


def _spikes(profile: Profile) -> Sequence[Sequence[str]]:
    return [
        (
            row["symbol"],
            tables.when(row["ts"], profile.interval),
            f"{row['volume']:,.0f}",
            f"{row['z']:+.1f}",
            "" if np.isnan(row["times_median"]) else times(row["times_median"]),
            percent(number(row["return"]), sign=True),
        )
        for row in profile.spikes.head(MAX_LISTED).to_dict("records")
    ]


def _pairs(profile: Profile) -> Sequence[Sequence[str]]:
    return [
        (row["first"], row["second"], f"{row['correlation']:+.2f}", f"{row['n_common']:,}")
        for row in profile.pairs.head(MAX_LISTED).to_dict("records")
    ]


def _checks(profile: Profile) -> Sequence[Sequence[str]]:
    return [
        (
            row["check_name"],
            row["became"],
            f"{row['n_bars']:,}",
            f"{row['n_symbols']:,}",
            tables.first_case(row, profile.interval),
        )
        for row in tables.by_check(profile).to_dict("records")
    ]


def _shown(png: bytes | None) -> Markup | None:
    """A picture as an address that holds it."""
    if png is None:
        return None
    # Base64 of bytes made here holds nothing that needs escaping.
    return Markup("data:image/png;base64," + base64.b64encode(png).decode())  # noqa: S704
