"""Real tables of payments: each is read with a small TOML file, and nothing of it is lost.

The files are not part of this repository; without them the suite is skipped.
"""

from pathlib import Path

import pandas as pd
import pytest

from components.bins import labels
from components.errors import SourceFormatError
from components.records import CandleRequest
from components.sources import open_source

DATA = Path(__file__).parents[2] / "shared" / "data"
PAYMENTS = DATA / "payments"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

MEANINGS = """
[retail]
files = "uci_online_retail_*.csv.gz"
time = "InvoiceDate"
value = "Quantity * UnitPrice"
series = "Country"

[retail_lines]
files = "uci_online_retail_*.csv.gz"
time = "InvoiceDate"
value = "1"

[acquirer]
files = "acquirer_transactions_*.csv.gz"
time = "transaction_date"
value = "transaction_amount"
series = "has_cbk"

[acquirer_count]
files = "acquirer_transactions_*.csv.gz"
time = "transaction_date"
value = "1"

[coffee]
files = "coffee_vending_*.csv.gz"
time = "datetime"
value = "money"
series = "cash_type"
day_first = true
prefix = "R"

[coffee_cups]
files = "coffee_vending_*.csv.gz"
time = ["date", "hour_of_day"]
value = "1"
day_first = true

[minutes_1]
files = "acquirer_monitoring_transactions_1.csv"
time = "time"
date = 2024-05-01
value = "f0_"
series = "status"

[minutes_2]
files = "acquirer_monitoring_transactions_2.csv"
time = "time"
date = 2024-05-02
value = "count"
series = "status"

[failed]
files = "acquirer_monitoring_transactions_2.csv"
time = "time"
date = "2024-05-02"
value = "count"
keep = { status = ["failed"] }

[failed_rows]
files = "acquirer_monitoring_transactions_2.csv"
time = "time"
date = "2024-05-02"
value = "1"
keep = { status = "failed" }

[checkout_1]
files = "acquirer_monitoring_checkout_1.csv"
time = "time"
date = 2024-05-01
value = "today"

[checkout_2]
files = "acquirer_monitoring_checkout_2.csv"
time = "time"
date = 2024-05-02
value = "today"
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "measures.toml"
    path.write_text(MEANINGS)
    return open_source("files", files_root=PAYMENTS, measures_file=path, time_zone="Europe/London")


def measured(source, name, interval="2h"):
    since, until = pd.Timestamp("2000-01-01", tz="UTC"), pd.Timestamp("2030-01-01", tz="UTC")
    request = CandleRequest(name, interval, since, until, until)
    return source.parse(source.fetch(request)).measures


@pytest.mark.parametrize(
    ("name", "total", "n_series"),
    [
        ("retail", 4_397_950.76, 37),
        ("retail_lines", 245_903, 1),
        ("acquirer_count", 3_199, 1),
        ("coffee_cups", 3_636, 1),
    ],
)
def test_sums_and_counts_are_those_of_the_tables(source, name, total, n_series):
    """Negative amounts, duplicates and odd columns included: what the data's own page says."""
    got = measured(source, name)
    assert round(got["value"].sum(), 2) == total
    assert got["series"].nunique() == n_series


def test_every_file_is_read(source):
    """Each file of the folder belongs to a data set, and each data set has values."""
    read = set()
    for name in source.symbols():
        since, until = pd.Timestamp("2000-01-01", tz="UTC"), pd.Timestamp("2030-01-01", tz="UTC")
        reply = source.fetch(CandleRequest(name, "2h", since, until, until))
        read |= set(reply.details["files"].split(", "))
        measures = source.parse(reply).measures
        assert (measures["value"] != 0).any()
        assert not measures.duplicated(["series", "ts"]).any()
    assert read == {path.name for path in PAYMENTS.iterdir()}


def test_semicolons_and_empty_columns_at_the_end(source):
    """The acquirer's amounts by chargeback flag, from the first bin to the last."""
    got = measured(source, "acquirer")
    table = pd.read_csv(next(PAYMENTS.glob("acquirer_transactions*")), sep=";")
    assert got["value"].sum() == pytest.approx(table["transaction_amount"].sum())
    assert set(got["series"]) == {"FALSE", "TRUE"}
    assert got["ts"].min() == pd.Timestamp("2019-11-01 00:00", tz="UTC")
    assert got["ts"].max() == pd.Timestamp("2019-12-01 22:00", tz="UTC")


def test_day_first_dates_and_amounts_with_a_letter(source):
    """01 03 2024 is the first of March, and R38.70 an amount."""
    got = measured(source, "coffee", "1d")
    table = pd.read_csv(next(PAYMENTS.glob("coffee_*")))
    assert got["value"].sum() == pytest.approx(table["money"].str[1:].astype(float).sum())
    assert list(
        labels(pd.DatetimeIndex(got["ts"]), "Europe/London").str[:10].unique()[[0, -1]]
    ) == [
        "2024-03-01",
        "2025-03-23",
    ]
    assert set(got["series"]) == {"card", "cash"}


def test_times_without_a_date_take_the_one_given(source):
    """15h 00 on the day that the TOML file names; counts of minutes become two-hour sums."""
    for name, file, column in [
        ("minutes_1", "acquirer_monitoring_transactions_1.csv", "f0_"),
        ("minutes_2", "acquirer_monitoring_transactions_2.csv", "count"),
        ("checkout_1", "acquirer_monitoring_checkout_1.csv", "today"),
        ("checkout_2", "acquirer_monitoring_checkout_2.csv", "today"),
    ]:
        got = measured(source, name)
        assert got["value"].sum() == pd.read_csv(PAYMENTS / file)[column].sum()
        assert got.groupby("series").size().eq(12).all()
    outage = measured(source, "checkout_2", "1h").set_index("ts")["value"]
    assert list(outage["2024-05-02 14:00":"2024-05-02 16:00"]) == [0, 0, 0]


def test_rows_can_be_kept_by_a_columns_value(source):
    """On the second day 167 rows tell of 1263 failed transactions."""
    assert measured(source, "failed_rows")["value"].sum() == 167
    assert measured(source, "failed")["value"].sum() == 1263


def test_dates_that_may_be_day_or_month_first_are_not_guessed(tmp_path):
    """The remedy names the setting."""
    path = tmp_path / "measures.toml"
    path.write_text('[coffee]\nfiles = "coffee_*"\ntime = "datetime"\nvalue = "1"\n')
    source = open_source("files", files_root=PAYMENTS, measures_file=path)
    with pytest.raises(SourceFormatError, match=r"line 2, column 'datetime'.*Set day_first"):
        measured(source, "coffee")
