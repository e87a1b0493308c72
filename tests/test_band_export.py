"""Bands as CSV: the same numbers come back, and no cell is run as a formula."""

import io
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.band_export import FORMULA, HEADER, csv_bytes
from tests.test_band_charts import banded

maybe = st.floats(allow_infinity=False)
NUMBERS = ["actual", "expected", "lower", "upper", "so_far", "nowcast"]


def read(rows, zone="UTC"):
    """The CSV as pandas reads it; text stays text."""
    text = {name: str for name in HEADER if name not in NUMBERS}
    return pd.read_csv(
        io.BytesIO(csv_bytes(rows, zone=zone)),
        dtype=text,
        keep_default_na=False,
        na_values={name: [""] for name in NUMBERS},
    )


@given(values=st.lists(st.tuples(*[maybe] * 6), min_size=1, max_size=20))
def test_every_number_comes_back_as_it_was(values):
    """To the last digit; one that is not known is an empty cell."""
    rows = banded(len(values)).assign(**dict(zip(NUMBERS, zip(*values, strict=True), strict=True)))
    found = read(rows)
    assert list(found.columns) == list(HEADER)
    np.testing.assert_array_equal(found[NUMBERS].to_numpy(float), rows[NUMBERS].to_numpy(float))


@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_any_name_comes_back(name):
    """Commas, quotes and line ends stay in their cell; an apostrophe alone may be added."""
    found = read(banded(2).assign(series=name))
    assert set(found["series"]) == {f"'{name}" if name.startswith(FORMULA) else name}


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_that_is_a_formula_is_defused(name):
    """A spreadsheet that opens the file runs nothing that a customer's name says."""
    found = read(banded(1, actual=-5.0).assign(series=name, standing=name))
    assert (found["series"][0], found["standing"][0]) == (f"'{name}", f"'{name}")
    assert found["actual"][0] == -5.0


def test_instants_carry_the_offset_of_the_operators_clock():
    """The night the clocks go back names no bin twice."""
    rows = banded(4, since="2024-10-26 22:00")
    found = read(rows, zone="Europe/Berlin")
    assert found["bin_start"][0] == "2024-10-27T00:00:00+02:00"
    assert found["bin_start"][2] == "2024-10-27T03:00:00+01:00"
    assert [datetime.fromisoformat(text) for text in found["bin_end"]] == list(rows["ends_at"])


def test_in_band_is_told_where_both_are_known():
    """The bounds belong to the band; without a band or a value nothing is told."""
    rows = banded(6).assign(
        actual=[1.0, 2.0, 2.1, 0.9, np.nan, 1.0],
        lower=[1.0, 1.0, 1.0, 1.0, 1.0, np.nan],
        upper=2.0,
        level=[0, 1, 2, 3, 0, 0],
    )
    found = read(rows)
    assert found["in_band"].tolist() == ["true", "true", "false", "false", "", ""]
    assert found["alarm_level"].tolist() == ["0", "1", "2", "3", "0", "0"]


def test_no_rows_leave_the_header():
    """A program that reads it finds its columns."""
    assert csv_bytes(banded(0)).decode().strip() == ",".join(HEADER)
