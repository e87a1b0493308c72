"""The doctor: says of each part whether a run would work, and tells nobody anything."""

import json
import socket

import pandas as pd
import pytest

from components.entrypoints import doctor
from components.lake import Lake
from tests.terminal import hurry, run_sql, tremor
from tests.test_channels import Inbox, mail_server
from tests.worlds import MORNING

PARTS = list(doctor.CHECKS)


@pytest.fixture
def town(world, postgres_server):
    """A market, of which nothing was run yet."""
    hurry(postgres_server)
    world.put_market()
    return world


def found(town, **settings):
    """What the doctor says, by part; and the exit code."""
    seen = tremor(town, "doctor", "--json", **settings)
    assert seen.said == []
    findings = pd.DataFrame(json.loads(seen.out))
    assert list(dict.fromkeys(findings["part"])) == [p for p in PARTS if p in set(findings["part"])]
    return findings, seen.code


def failures(findings):
    return findings[findings["state"] == "fail"].set_index("part")["said"]


def test_all_is_well_where_a_run_would_work(town):
    """Exit code 0, and not a word of trouble but that nothing ran yet and nobody would hear."""
    with mail_server(Inbox()) as mail, listening() as place:
        reached = {"smtp_url": f"smtp://{mail}", "heartbeat_url": f"http://{place}/T0KEN"}
        findings, code = found(town, **reached)
    assert (code, list(findings[findings["state"] != "ok"]["part"])) == (0, ["warehouse"])
    assert "no run has finished yet" in findings[findings["state"] == "warn"]["said"].item()
    assert set(findings["part"]) == set(PARTS) - {"second"}


def test_it_leaves_nothing_and_tells_nobody(town):
    """No table, no raw object, no mail; the run after it is a first run."""
    inbox = Inbox()
    with mail_server(inbox) as place:
        assert found(town, smtp_url=f"smtp://{place}")[1] == 0
    assert inbox.mails == []
    tables = town_tables(town)
    assert tables == []
    lake = town.folder / "var/lake"
    kept = {str(p.relative_to(lake)) for p in lake.rglob("*") if p.is_file()}
    assert kept == {"runs/probe/again", "runs/probe/once"}
    assert found(town)[1] == 0
    assert town.messages() == []
    assert town.run().exit_code == 0


def town_tables(town):
    import psycopg2

    connection = psycopg2.connect(town.postgres_url)
    with connection, connection.cursor() as cursor:
        cursor.execute("select tablename from pg_tables where schemaname = 'tremor'")
        tables = cursor.fetchall()
    connection.close()
    return tables


def listening():
    """A server that takes connections and says nothing."""
    server = socket.create_server(("127.0.0.1", 0))

    class Place:
        def __enter__(self):
            return f"127.0.0.1:{server.getsockname()[1]}"

        def __exit__(self, *_):
            server.close()

    return Place()


NOWHERE = "127.0.0.1:1"

# Settings that break one part, that part, and what is said of it.
TROUBLES = {
    "lake is a file": ({"lake_url": "/etc/passwd"}, "lake", "could not write"),
    "no warehouse": (
        {"warehouse_url": f"postgresql://u:S3CRET@{NOWHERE}/db"},
        "warehouse",
        "Connection refused",
    ),
    "no source": (
        {"source": "yahoo", "yahoo_url": f"http://{NOWHERE}", "symbols": "AAA"},
        "source",
        "AAA",
    ),
    "no mail": ({"smtp_url": f"smtp://u:S3CRET@{NOWHERE}"}, "channels", "email: smtp://127"),
    "no webhook": ({"webhook_url": f"http://{NOWHERE}/S3CRET"}, "channels", "is not reached"),
    "no heartbeat": ({"heartbeat_url": f"http://{NOWHERE}/S3CRET"}, "heartbeat", "Check it"),
    "no second": (
        {"second_source": "polygon", "polygon_url": f"http://{NOWHERE}"},
        "second",
        "TREMOR_POLYGON",
    ),
    "nothing to watch": ({"files_root": "/usr"}, "settings", "Set TREMOR_SYMBOLS"),
    "no folder": ({"files_root": "/nowhere"}, "settings", "TREMOR_FILES_ROOT"),
    "heartbeat is no address": (
        {"heartbeat_url": "https://[S3CRET"},
        "heartbeat",
        "cannot be read",
    ),
    "heartbeat with a port of words": (
        {"heartbeat_url": "https://u:S3CRET/x@h/y"},
        "heartbeat",
        "cannot be read",
    ),
    "no such calendar": ({"calendars": "AAA=NOPE"}, "settings", "NOPE"),
    "no such detector": ({"detectors": "nope"}, "settings", "nope"),
    "no such zone": ({"time_zone": "Mars/X"}, "settings", "Mars/X"),
    "strange symbol": ({"symbols": "../etc"}, "settings", "../etc"),
}


@pytest.mark.parametrize(("settings", "part", "said"), TROUBLES.values(), ids=list(TROUBLES))
def test_what_is_broken_is_named_and_the_rest_is_looked_at_all_the_same(settings, part, said, town):
    """Exit code 2; one finding fails, in one line, without a secret."""
    findings, code = found(town, timeout_s=2, **settings)
    assert code == 2
    broken = failures(findings)
    assert part in broken.index
    assert said in broken[part] if isinstance(broken[part], str) else False
    assert not findings["said"].str.contains("S3CRET|\n").any()
    healthy = set(PARTS) - {part, "second"}
    if part != "settings":
        assert set(broken.index) == {part}
        assert healthy <= set(findings["part"])


def test_a_mail_server_that_refuses_is_found_before_an_alert_is_lost_on_it(town):
    """Sender and recipients are named to it, and taken back."""
    with mail_server(Inbox(refuse=("analyst@localhost",))) as place:
        findings, code = found(town, smtp_url=f"smtp://{place}")
    assert code == 2
    assert "analyst@localhost" in failures(findings)["channels"]
    assert "no such user" in failures(findings)["channels"]


def test_a_role_that_may_not_make_tables_is_found(town):
    """The remedy is a right on the database."""
    name = town.postgres_url.split("/")[-1].split("?")[0]
    run_sql(
        town.postgres_url,
        f'create role "reader_{name}" login',
        f'grant connect on database "{name}" to "reader_{name}"',
    )
    url = town.postgres_url.replace("postgres@", f"reader_{name}@")
    assert url != town.postgres_url
    findings, code = found(town, warehouse_url=url)
    assert code == 2
    assert "permission denied" in failures(findings)["warehouse"]


def test_a_newer_schema_is_found(town):
    """An old program must not touch it."""
    assert town.run().exit_code == 0
    run_sql(town.postgres_url, "insert into tremor.schema_version (version) values (99)")
    findings, code = found(town)
    assert code == 2
    assert "newer" in failures(findings)["warehouse"]


def test_a_run_that_did_not_happen_is_found(town):
    """The last run was in 2024; one of this day says nothing."""
    assert town.run().exit_code == 0
    findings, code = found(town)
    assert code == 0
    (said,) = findings[(findings["state"] == "warn") & (findings["part"] == "warehouse")]["said"]
    assert f"run-{MORNING:%Y%m%dT%H%M%SZ}, ended with exit code 0" in said
    run_sql(town.postgres_url, "update tremor.runs set as_of = now() - interval '25 hours'")
    findings, _ = found(town)
    assert "warn" not in set(findings[findings["part"] == "warehouse"]["state"])
    run_sql(town.postgres_url, "update tremor.runs set as_of = now() + interval '1 hour'")
    findings, code = found(town)
    assert code == 2
    assert "Set this machine's clock" in failures(findings)["warehouse"]


@pytest.mark.parametrize(("seconds", "state"), [(0, "ok"), (4, "ok"), (-7, "fail"), (7, "fail")])
def test_a_clock_that_is_wrong_is_found(seconds, state):
    """Closes are judged by this machine's clock."""
    seen, said = doctor._clock(pd.Timedelta(seconds=seconds))
    assert seen == state
    assert f"differ by {abs(seconds)}.0 s" in said


@pytest.mark.parametrize(("n_bytes", "state"), [(0, "fail"), (2**30, "warn"), (2**40, "ok")])
def test_a_full_disk_is_found(n_bytes, state, town, monkeypatch):
    """Before a run stops halfway."""
    usage = doctor.shutil.disk_usage("/")._replace(free=n_bytes)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: usage)
    seen = list(doctor._disk(town.read_settings(), MORNING))
    assert {each[0] for each in seen} == {state}


def test_what_travels_in_clear_is_found(monkeypatch, town):
    """A warehouse on another machine, whose address asks for no encryption."""
    elsewhere = doctor.SERVER.replace("inet_server_addr() is null or", "false and")
    assert elsewhere != doctor.SERVER
    monkeypatch.setattr(doctor, "SERVER", elsewhere)
    seen = list(doctor._warehouse(town.read_settings(), MORNING))
    assert next(said for state, said in seen if state == "warn").endswith("to its URL.")


def test_packages_that_are_not_the_pinned_ones_are_found(monkeypatch, tmp_path):
    """What was tested is not what runs."""
    monkeypatch.setattr(doctor, "LOCK", tmp_path / "requirements.txt")
    doctor.LOCK.write_text("pandas==0.1 \\\n    --hash=sha256:0\nnever-heard-of==1.0\n")
    seen = dict(doctor._versions(None, MORNING))
    assert "1 packages are not the pinned ones: pandas" in seen["warn"]
    doctor.LOCK.write_text(f"pandas==0.1\npandas=={pd.__version__}\n")
    assert set(dict(doctor._versions(None, MORNING))) == {"ok"}


def test_an_endpoint_that_is_no_address_is_one_line(s3_url, town, monkeypatch):
    """In the doctor and in the run."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9")
    findings, code = found(town, lake_url=s3_url)
    assert (code, "no such address" in failures(findings)["lake"]) == (2, True)
    assert "no such address" in tremor(town, "run", lake_url=s3_url).error


class Forgetful:
    """A store that takes a second object for one that is written once."""

    def __init__(self):
        self.held = {}

    def put(self, key, body):
        """Overwrite."""
        self.held[key] = body

    put_once = put

    def get(self, key):
        """Give it back."""
        return self.held[key]

    def list(self, prefix):
        """All keys."""
        return [key for key in self.held if key.startswith(prefix)]


def test_a_store_that_overwrites_what_is_written_once_is_found(tmp_path):
    """Old servers of the S3 protocol ignore the condition, and raw replies would be lost."""
    lake = Lake(str(tmp_path))
    lake.probe()
    lake.probe()
    lake.objects = Forgetful()
    with pytest.raises(Exception, match="overwrites what is written once"):
        lake.probe()


def test_the_lake_on_s3_is_probed_again_and_again(s3_url, town):
    """The second visit finds what the first one left."""
    for _ in range(2):
        findings, code = found(town, lake_url=s3_url)
        assert code == 0, findings


def test_a_person_reads_a_line_a_part(town):
    """State, part, and what was seen."""
    seen = tremor(town, "doctor")
    assert seen.code == 0
    assert {line.split()[0] for line in seen.out.splitlines()} == {"ok", "warn"}
    assert "ok    lake" in seen.out
