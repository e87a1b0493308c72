"""Payments of some shops in a database of the operator's, and runs over them."""

import io

import numpy as np
import pandas as pd
import psycopg2

from components.steps.band_pages import show_bands
from components.steps.forecast import forecast
from components.steps.runner import Runner
from components.wiring import open_parts

ZONE = "Europe/Berlin"
SHOPS = ("alpha", "beta", "gamma", "delta", "omega")
FIRST = pd.Timestamp("2024-01-15", tz=ZONE)
LENGTH = pd.Timedelta(hours=2)

# A Wednesday, ten weeks later, in winter time still.
DAY = pd.Timestamp("2024-03-27", tz=ZONE)

NEXT = DAY + pd.Timedelta(days=1)

QUERY = """
select shop as series, paid_at as ts, amount as value from public.payments
where paid_at >= :since and paid_at < :until
"""


def payments(until=NEXT, shops=SHOPS, first=FIRST, seed=0):
    """A row a payment: open from 8 to 22, on Sundays closed; busier at noon and on Saturdays."""
    random, tables = np.random.default_rng(seed), []
    # Hours on the wall, so that shops keep theirs when the clocks change.
    hours = pd.date_range(first.tz_localize(None), until.tz_localize(None), freq="h")[:-1]
    hours = hours[(hours.hour >= 8) & (hours.hour < 22) & (hours.day_of_week < 6)]
    busy = 1 + 0.6 * np.sin((hours.hour - 8) / 14 * np.pi) + 0.5 * (hours.day_of_week == 5)
    for at, shop in enumerate(shops):
        n = random.poisson(np.asarray(busy) * (4 + 2 * at))
        wall = hours.repeat(n) + pd.to_timedelta(random.integers(0, 3600, n.sum()), unit="s")
        amount = random.lognormal(3, 0.6, n.sum()).round(2)
        tables.append(pd.DataFrame({"paid_at": wall, "shop": shop, "amount": amount}))
    rows = pd.concat(tables, ignore_index=True)
    paid_at = rows["paid_at"].dt.tz_localize(ZONE, ambiguous=True, nonexistent="shift_forward")
    return rows.assign(paid_at=paid_at)


def at(text):
    """An instant on the shops' clock."""
    return pd.Timestamp(text, tz=ZONE)


def without(rows, since, until, shops=SHOPS):
    """The payments without those of some shops in [since, until)."""
    gone = rows["paid_at"].between(since, until, inclusive="left") & rows["shop"].isin(shops)
    return rows[~gone]


def put_payments(world, rows, now):
    """Book what had been paid by ``now``, and nothing else."""
    booked = rows[rows["paid_at"] < now]
    paid_at = pd.DatetimeIndex(booked["paid_at"]).tz_convert("UTC").tz_localize(None)
    lines = zip(
        paid_at.to_numpy().astype("datetime64[s]").astype(str).tolist(),
        booked["shop"],
        booked["amount"],
        strict=True,
    )
    body = io.StringIO("".join(f"{ts}Z,{shop},{amount}\n" for ts, shop, amount in lines))
    with psycopg2.connect(world.postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "create table if not exists public.payments "
            "(paid_at timestamptz, shop text, amount numeric(12, 2)); truncate public.payments"
        )
        cursor.copy_expert("copy public.payments from stdin (format csv)", body)
    connection.close()


def shops(world, **settings):
    """Let a world watch the shops' payments."""
    query = world.folder / "shops.sql"
    query.write_text(QUERY)
    world.settings = {
        "source": "sql",
        "files_root": None,
        "sql_url": world.postgres_url,
        "measures_query": query,
        "time_zone": ZONE,
        "payment_unit": "EUR",
        "interval": "2h",
        "history_years": 1,
        **settings,
    }
    return world


class Unseen(Runner):
    """Runs without pages and pictures, which take most of a small run's time."""

    def __call__(self, step, parts, *args):
        """Call every other step."""
        return None if step is show_bands else super().__call__(step, parts, *args)


def run_forecast(world, rows, now, run=None, *, dry=False, **settings):
    """A run over what had been booked by that instant."""
    put_payments(world, rows, now)
    instant = now.tz_convert("UTC")
    with open_parts(
        world.read_settings(**settings), instant, command="forecast", is_dry=dry
    ) as parts:
        return forecast(parts, run or Unseen())
