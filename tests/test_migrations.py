"""A database of an earlier release is upgraded where it stands, with all that it holds."""

import pandas as pd
import psycopg2
import pytest

from components.tables import (
    CHANNELS,
    CONTRIBUTIONS,
    DAILY,
    DRIFT,
    FEATURE_VALUES,
    HOURLY,
    INCIDENTS,
    INTRADAY,
    MARKET,
    MEASURES,
    TABLES,
    VERDICTS,
)
from components.warehouse import sql
from components.warehouse.migrations import MIGRATIONS, VIEWS
from components.wiring import open_warehouse
from tests.terminal import hurry, run_sql
from tests.worlds import DAY, LAST, MORNING, history

NAMES = ("AAA", "BBB", "CCC", "EEE", "FFF")

# Version 1 had these not, or as they stand below.
LATER = (CHANNELS, MEASURES, FEATURE_VALUES, CONTRIBUTIONS, DRIFT)
CHANGED = (VERDICTS, MARKET, INCIDENTS)

# The tables of version 1 that version 2 changes.
VERSION_1 = """
CREATE TABLE verdicts (
    symbol text COLLATE "C" NOT NULL, "interval" text COLLATE "C" NOT NULL,
    ts timestamptz NOT NULL, judge text COLLATE "C" NOT NULL, verdict text COLLATE "C",
    votes bigint, voters bigint, p double precision, rate double precision, bars_lacking bigint,
    body double precision, "return" double precision, scale double precision,
    known_at timestamptz NOT NULL, PRIMARY KEY (symbol, "interval", ts, judge, known_at)
);
CREATE INDEX verdicts_known_at ON verdicts USING brin (known_at) WITH (pages_per_range = 32);
CREATE TABLE market (
    watch_list text COLLATE "C" NOT NULL, "interval" text COLLATE "C" NOT NULL,
    ts timestamptz NOT NULL, "return" double precision, n_instruments bigint,
    known_at timestamptz, PRIMARY KEY (watch_list, "interval", ts)
);
CREATE TABLE incidents (
    id text COLLATE "C" NOT NULL, alert_id text COLLATE "C", kind text COLLATE "C",
    symbol text COLLATE "C", "interval" text COLLATE "C", ts timestamptz, known_at timestamptz,
    PRIMARY KEY (id)
);
CREATE INDEX incidents_alert ON incidents (alert_id, symbol);
"""

HELD = """
INSERT INTO verdicts VALUES ('AAA', '1d', '2024-03-11', 'volatility_zscore', 'anomaly', 1, 1,
    0.001, 0.016, 0, -0.2, -0.2, 0.01, '2024-03-12 12:00+00');
INSERT INTO market VALUES ('default', '1d', '2024-03-11', -0.001, 5, '2024-03-12 12:00+00');
INSERT INTO alerts VALUES ('old', 'anomaly', '1d', '2024-03-11', '["AAA"]', 'AAA fell',
    '{}', '2024-03-12 12:00+00');
INSERT INTO incidents VALUES ('older', 'old', 'anomaly', 'AAA', '1d', '2024-03-11',
    '2024-03-12 12:00+00');
"""


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


@pytest.fixture
def old_town(world):
    """Five instruments, and the database that the first release left."""
    for symbol in NAMES:
        world.put(symbol, history(symbol, crash=0.2 if symbol == "AAA" else 0))
    run_sql(world.postgres_url, "create schema tremor")
    connection = psycopg2.connect(world.postgres_url, options="-c search_path=tremor")
    with connection, connection.cursor() as cursor:
        for table in TABLES:
            if table not in LATER + CHANGED:
                cursor.execute(sql.create(table))
                if table.versioned:
                    cursor.execute(sql.create_known_at_index(table))
        cursor.execute(VERSION_1 + VIEWS + HELD)
        cursor.execute(
            "CREATE TABLE schema_version "
            "(version bigint PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT now())"
        )
        cursor.execute("INSERT INTO schema_version (version) VALUES (1)")
    connection.close()
    return world


def structure(world):
    """Columns and indexes as the server names them."""
    columns = world.query(
        "select table_name, column_name, data_type, collation_name, is_nullable "
        "from information_schema.columns where table_schema = 'tremor' order by 1, 2"
    )
    indexes = world.query(
        "select indexname, indexdef from pg_indexes where schemaname = 'tremor' order by 1"
    )
    return columns.to_dict("records"), indexes.to_dict("records")


def test_an_upgraded_database_has_the_structure_of_a_new_one(old_town, make_world):
    """The same columns, types and indexes, however it came to be."""
    new = make_world()
    for world in (old_town, new):
        with open_warehouse(world.read_settings()) as warehouse:
            warehouse.migrate()
            warehouse.migrate()
    assert structure(old_town) == structure(new)
    versions = old_town.query("select version from schema_version order by 1")["version"]
    assert versions.tolist() == list(range(1, len(MIGRATIONS) + 1))


def test_every_table_that_is_made_is_in_the_list(world):
    """What goes over all tables (a comparison of two worlds, a summary of indexes) misses none."""
    made = world.query("select tablename from pg_tables where schemaname = 'tremor'")["tablename"]
    inside = {table.name for table in (INTRADAY, HOURLY, DAILY)} | {"schema_version", "retired"}
    listed = {table.name for table in TABLES}
    assert {name for name in made if not name.startswith(f"{INTRADAY.name}_")} == listed | inside


def test_a_run_over_an_upgraded_database_works_and_keeps_what_it_held(old_town):
    """Old rows stay as they were, with nothing in the new columns; the new day is judged."""
    assert old_town.run().exit_code == 0
    (old,) = old_town.query("select * from verdicts where judge = 'volatility_zscore'").to_dict(
        "records"
    )
    assert (old["verdict"], old["p"]) == ("anomaly", 0.001)
    assert pd.isna([old["level"], old["state"], old["market_part"], old["parameters"]]).all()
    new = old_town.query("select * from verdicts where judge <> 'volatility_zscore'")
    assert len(new) == len(NAMES) * 400
    assert set(new["state"]) == {"warm-up", "live"}
    market = old_town.query("select * from market where watch_list = 'default'")
    assert market["return"].tolist() == [-0.001]
    assert len(old_town.query("select 1 from market where watch_list = 'XNYS'")) == 399
    told = old_town.alerts("anomaly")
    assert told["ts"].tolist() == [LAST - DAY, LAST]
    assert old_town.run(MORNING + pd.Timedelta(hours=1)).counts.get("bars_judged", 0) == 0
    assert len(old_town.messages()) == 1


def test_a_feature_that_is_new_to_the_registry_gets_a_column(world):
    """No step is written for it: the next program that opens the warehouse adds it."""
    before = structure(world)
    run_sql(world.postgres_url, "alter table tremor.features drop column volume_ratio")
    with pytest.raises(psycopg2.errors.UndefinedColumn):
        run_sql(world.postgres_url, "select volume_ratio from tremor.features")
    assert structure(world) == before


def test_verdicts_without_parameters_are_no_other_verdicts_than_before(world):
    """The release before had no such column: judged once more, its verdicts are not new ones."""
    for symbol in NAMES:
        world.put(symbol, history(symbol))
    assert world.run().exit_code == 0
    before = structure(world)
    placed = [step.__name__ for step in MIGRATIONS].index("_placed") + 1
    run_sql(
        world.postgres_url,
        "alter table tremor.verdicts drop column parameters",
        f"delete from tremor.schema_version where version >= {placed}",
    )
    with open_warehouse(world.read_settings()) as warehouse:
        (said,) = warehouse.query("select distinct parameters from verdicts")["parameters"]
        assert said == ""
        rows = warehouse.read(VERDICTS, symbols=list(NAMES), interval="1d", as_of=MORNING)
        assert warehouse.upsert(VERDICTS, rows.assign(known_at=MORNING + DAY, parameters="")) == 0
    assert structure(world) == before
