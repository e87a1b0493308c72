"""The notebook, executed whole: its cells show what the command line says."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient

from components.evaluation.null import quiet_market
from components.tables import CANDLES
from components.wiring import open_warehouse
from components.words import percent
from tests.terminal import ROOT, environment, hurry, tremor

NOTEBOOK = ROOT / "notebooks" / "exploration.ipynb"
KNOWN_AT = pd.Timestamp("2024-03-13", tz="UTC")


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


@pytest.fixture
def execute(world, tmp_path, monkeypatch):
    """Run the notebook over a world, beside a checkout in which no ``.env`` lies."""
    checkout = world.folder / "checkout"
    (checkout / "notebooks").mkdir(parents=True)
    for name in ("main.py", "components"):
        (checkout / name).symlink_to(ROOT / name)
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))

    def run(**settings):
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        client = NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": str(checkout / "notebooks")}},
        )
        client.execute(env={**environment(world, **settings), "IPYTHONDIR": str(tmp_path)})
        return {cell["id"]: cell.get("outputs", []) for cell in notebook["cells"]}

    return run


def fill(world):
    """A market of five with a crash and a burst of volume, and one of a single bar."""
    candles = quiet_market(5, 300, seed=2).drop(columns="split")
    own = np.flatnonzero(candles["symbol"] == "NULL002")
    for name in ("open", "high", "low", "close"):
        candles.loc[own[200:], name] *= 0.8
    candles.loc[own[250], "volume"] *= 40
    young = candles[candles["symbol"] == "NULL000"].tail(1).assign(symbol="YOUNG")
    rows = pd.concat([candles, young]).assign(
        interval="1d", source="made", vwap=np.nan, trades=np.nan, known_at=KNOWN_AT
    )
    with open_warehouse(world.read_settings()) as warehouse:
        warehouse.upsert(CANDLES, rows)
    world.files.mkdir(exist_ok=True)


def of_kind(outputs, kind):
    """What a cell showed as ``kind``, for example text/html."""
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def test_its_cells_show_what_the_command_line_says(world, execute):
    """Every figure equals that of ``evaluate --profile --json``; tables and pictures are there."""
    fill(world)
    shown = execute()
    (figures,) = of_kind(shown["json"], "application/json")
    told = json.loads(tremor(world, "evaluate", "--profile", "--json").out)
    # The two were asked at two instants.
    assert pd.Timestamp(figures.pop("as_of")) <= pd.Timestamp(told.pop("as_of"))
    assert figures == told
    assert len(told["symbols"]) == 6
    assert told["symbols"][0]["symbol"] == "NULL002"

    assert "1d, 6 instruments, 1,501 bars, files" in shown["explored"][0]["data"]["text/plain"]
    (table,) = of_kind(shown["instruments-table"], "text/html")
    assert re.findall(r"<td>(NULL\d+|YOUNG)</td>", table) == [r["symbol"] for r in told["symbols"]]
    crashed = told["symbols"][0]["largest_move"]
    assert crashed < -0.15
    assert percent(crashed, sign=True) in table
    assert len(of_kind(shown["histories-pictures"], "image/png")) == 6
    for name in ("volatility-picture", "correlation-picture", "coverage-picture"):
        assert len(of_kind(shown[name], "image/png")) == 1
    for name in ("moves", "spikes", "pairs", "consistency-table", "coverage-table"):
        assert "NULL00" in of_kind(shown[name], "text/html")[0], name
    written = [output for outputs in shown.values() for output in outputs if "name" in output]
    assert written == []


def test_a_fresh_clone_shows_the_packaged_sample_and_keeps_nothing(world, execute):
    """An empty warehouse: six instruments of the sample, and no candle is left behind."""
    world.files.mkdir()
    shown = execute(symbols="BTC-USD")
    (figures,) = of_kind(shown["json"], "application/json")
    assert figures["source"] == "sample"
    assert {row["symbol"] for row in figures["symbols"]} >= {"^GSPC", "AAPL", "MSFT"}
    splits = [row["return"] for row in figures["moves"] if row["symbol"] == "AAPL"]
    # Two new shares for an old one, of 2000 and 2005, are no move; the profit warning is.
    assert min(splits) == pytest.approx(-0.519, abs=0.001)
    assert max(splits) < 0.25
    assert len(world.rows(CANDLES)) == 0
    schemas = world.query("select nspname::text as name from pg_namespace")["name"]
    assert not any(name.startswith("tremor_scratch") for name in schemas)


def test_it_is_stored_without_outputs_and_without_a_path_of_anybody():
    """So it stays small, and shows nobody's data."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
        assert cell["id"] == re.sub(r"[^a-z-]", "", cell["id"])
    text = NOTEBOOK.read_text()
    assert len(text) < 20_000
    assert str(Path.home()) not in text.replace("\\", "")
    assert not re.search(r"/(home|Users|tmp|work|root)/", text)
