"""Tables of payments in a folder: what the TOML file says of them, and what is refused."""

import gzip
import os

import pandas as pd
import pytest

from components.errors import InvalidSymbol, SettingsError, SourceFormatError, SymbolNotFound
from components.records import CandleRequest
from components.sources import open_source

GOOD = '[shop]\nfiles = "shop*"\ntime = "at"\nvalue = "amount"\nseries = "country"\n'
TABLE = "at,country,amount\n2024-01-05 01:00,DE,1.5\n2024-01-05 05:00,FR,-2\n"


def request_of(name="shop", interval="2h"):
    since, until = pd.Timestamp("2000-01-01", tz="UTC"), pd.Timestamp("2030-01-01", tz="UTC")
    return CandleRequest(name, interval, since, until, until)


def open_folder(tmp_path, meaning=GOOD, **tables):
    folder = tmp_path / "tables"
    folder.mkdir(exist_ok=True)
    for name, content in tables.items():
        body = content if isinstance(content, bytes) else content.encode()
        (folder / f"{name}.csv").write_bytes(body)
    path = tmp_path / "measures.toml"
    path.write_text(meaning)
    return open_source("files", files_root=folder, measures_file=path)


def values(source, name="shop"):
    got = source.parse(source.fetch(request_of(name))).measures
    return {(n, f"{t:%m-%d %H}"): v for n, t, v, _ in got.itertuples(index=False)}


def test_a_folder_is_of_candles_until_a_file_says_what_its_tables_mean(tmp_path):
    """The same source reads both; its traits say which."""
    assert open_folder(tmp_path).traits.kind == "measures"
    assert open_source("files", files_root=tmp_path).traits.kind == "candles"


def test_bins_reach_from_the_first_row_to_the_last(tmp_path):
    """Between them an empty bin is zero; before and after nothing is known."""
    assert values(open_folder(tmp_path, shop=TABLE)) == {
        ("DE", "01-05 00"): 1.5,
        ("DE", "01-05 02"): 0.0,
        ("DE", "01-05 04"): 0.0,
        ("FR", "01-05 00"): 0.0,
        ("FR", "01-05 02"): 0.0,
        ("FR", "01-05 04"): -2.0,
    }


def test_several_files_are_one_data_set(tmp_path):
    """Packed or not, with semicolons and decimal commas; read back they give the same."""
    more = "country;at;amount;;\nDE;2024-01-05 01:30;1.000,25;;\n"
    source = open_folder(
        tmp_path, GOOD + 'decimal = ","\n', shop_1=more, shop_2=gzip.compress(more.encode())
    )
    assert values(source) == {("DE", "01-05 00"): 2000.5}
    assert source.fetch(request_of()).body == source.fetch(request_of()).body


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path):
    """Nor is a pattern that does."""
    (tmp_path / "secret.csv").write_text(TABLE)
    source = open_folder(tmp_path)
    (tmp_path / "tables" / "shop.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(SymbolNotFound, match="no file"):
        source.fetch(request_of())
    for pattern in ("../secret.csv", "/etc/passwd", "a/../../secret.csv"):
        with pytest.raises(SettingsError, match="leads out of TREMOR_FILES_ROOT"):
            open_folder(tmp_path, GOOD.replace("shop*", pattern))


def test_a_bin_that_was_not_over_when_the_file_was_written_is_left_out(tmp_path):
    """It may lack payments."""
    source = open_folder(tmp_path, shop=TABLE)
    written = pd.Timestamp("2024-01-05 05:30", tz="UTC").timestamp()
    os.utime(tmp_path / "tables" / "shop.csv", (written, written))
    assert max(hour for _, hour in values(source)) == "01-05 02"


@pytest.mark.parametrize(
    ("meaning", "message"),
    [
        ("", "no table in it"),
        ("x = [", "cannot be read"),
        ('files = "a"\n', "stands outside a table"),
        ('[shop]\nfiles = "a"\n', "lacks time, value"),
        (GOOD + "colour = 1\n", "'colour' is unknown or of the wrong kind"),
        (GOOD + 'day_first = "yes"\n', "'day_first' is unknown or of the wrong kind"),
        (GOOD + 'date = "today"\n', "date is 'today'. Write it as 2024-01-31"),
        (GOOD.replace('"amount"', '"amount *"'), "no product of columns"),
        (GOOD.replace("[shop]", '["my shop"]'), "no name of a data set"),
    ],
)
def test_a_toml_file_that_says_too_little_or_too_much_is_refused(tmp_path, meaning, message):
    """With the file, the table, the key and the remedy."""
    with pytest.raises(SettingsError, match=f"measures.toml.*{message}"):
        open_folder(tmp_path, meaning)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.replace("1.5", "R1.5"), r"shop.csv: line 2, column 'amount': 'R1.5' is no number"),
        (TABLE.replace("1.5", "inf"), "'inf' is no number"),
        (TABLE.replace("2024-01-05 05:00", "soon"), "line 3, column 'at': 'soon' is no time"),
        (TABLE.replace("2024-01-05 05:00", ""), "line 3, column 'at': '' is no time"),
        (TABLE.replace("FR", ""), "line 3, column 'country': '' is no name"),
        (TABLE.replace("amount", "price"), "not one column 'amount'. It has at, country, price"),
        (TABLE.replace("country", "amount"), "not one column"),
        ("", "shop.csv: no table"),
        (b"\xff\xfe\x00\x01", "no table"),
        (b"\x1f\x8b broken", "cannot be unpacked"),
        (TABLE.replace("1.5", "__import__('os')"), "is no number"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path, table, message):
    """File, line, column and remedy, in one line."""
    source = open_folder(tmp_path, shop=table)
    with pytest.raises(SourceFormatError, match=message) as caught:
        values(source)
    assert "\n" not in str(caught.value)


def test_a_value_is_columns_and_numbers_and_nothing_else(tmp_path):
    """What looks like a program is the name of a column that is not there."""
    source = open_folder(tmp_path, GOOD.replace('"amount"', '"amount + 1"'), shop=TABLE)
    with pytest.raises(SourceFormatError, match=r"not one column 'amount \+ 1'"):
        values(source)
    source = open_folder(tmp_path, GOOD.replace('"amount"', '"amount * amount * 0.5"'), shop=TABLE)
    assert values(source)["FR", "01-05 04"] == 2.0


def test_a_table_without_rows_gives_no_bin(tmp_path):
    """A header alone is a data set of which nothing is known yet."""
    assert values(open_folder(tmp_path, shop="at,country,amount\n")) == {}


def test_other_names_are_refused(tmp_path):
    """A data set that the TOML file does not name, and names that are none."""
    source = open_folder(tmp_path, shop=TABLE)
    with pytest.raises(SymbolNotFound, match=r"has no \[other\], only shop"):
        source.fetch(request_of("other"))
    with pytest.raises(InvalidSymbol):
        source.fetch(request_of("../shop"))
