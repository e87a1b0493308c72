"""A source is added as the README says, in three steps, and every command knows it."""

import re
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from components import steps
from components.records import CandleRequest, RunSummary
from components.settings import Settings
from components.sources import SOURCES, open_source
from components.tables import CANDLES
from components.wiring import open_parts, open_warehouse
from main import daily
from tests.worlds import LAST, MORNING, history

README = (Path(__file__).parents[1] / "README.md").read_text()
CODE = textwrap.dedent(re.search(r"```python\n(.*?)```", README, re.DOTALL)[1])
LINE = re.search(r'`"(mint)": "(components\.sources\.mint)"`', README)


@pytest.fixture
def settings(tmp_path, monkeypatch, postgres_url):
    """The README's source in a file, its line in the registry, and two instruments to read."""
    (tmp_path / "mint_of_the_readme.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SOURCES, LINE[1], "mint_of_the_readme")
    folder = tmp_path / "files"
    folder.mkdir()
    for symbol, crash in (("GOLD", 0.3), ("SILVER", 0.0)):
        rows = history(symbol, crash=crash)
        rows.to_csv(folder / f"{symbol}.txt", sep="|", header=False, index=False)
    return Settings(
        _env_file=None,
        source="mint",
        files_root=folder,
        state_dir=tmp_path / "var",
        warehouse_url=postgres_url,
    )


def held(settings):
    with open_warehouse(settings) as warehouse:
        return warehouse.read(CANDLES, interval="1d")


def test_the_readmes_source_runs_backfills_replays_and_tells(settings, capsys):
    """No other file of the product knows its name."""
    summary = daily(settings, MORNING)
    assert isinstance(summary, RunSummary)
    assert summary.exit_code == 0, summary.failures
    assert summary.counts["candles_new"] == 800
    assert "GOLD" in capsys.readouterr().out
    rows = held(settings)
    assert set(rows["source"]) == {"mint"}
    assert rows.groupby("symbol")["ts"].max().eq(LAST).all()

    with open_warehouse(settings) as warehouse:
        warehouse.execute("truncate candles")
    with open_parts(settings, MORNING, command="replay") as parts:
        steps.replay(parts)
    pd.testing.assert_frame_equal(held(settings), rows)

    with open_warehouse(settings) as warehouse:
        warehouse.execute("delete from candles where ts < %(ts)s", {"ts": LAST.to_pydatetime()})
    with open_parts(settings, MORNING + pd.Timedelta(days=1), command="backfill") as parts:
        steps.backfill(parts, LAST - pd.Timedelta(days=900), LAST)
    assert len(held(settings)) == 800


def test_its_line_is_the_one_of_the_registry():
    """What the README calls a line is one: a name and a module."""
    assert LINE is not None
    assert all(module == f"components.sources.{name}" for name, module in SOURCES.items())


def test_the_source_keeps_the_law_of_sources(settings):
    """Fetch keeps the bytes, parse is a pure function of them."""
    source = open_source("mint", **settings.fields())
    request = CandleRequest("GOLD", "1d", LAST, MORNING, MORNING)
    reply = source.fetch(request)
    assert reply.body == (settings.files_root / "GOLD.txt").read_bytes()
    first, again = (source.parse(reply).candles for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
