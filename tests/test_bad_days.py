"""Bad days of the stores and the channels: told in one line, and made whole by the next run."""

import os
import subprocess
import time

import boto3
import botocore.config
import pytest
import stamina

from components.errors import LakeError, WarehouseError
from components.steps.runner import Runner
from components.warehouse import Warehouse
from tests.proxies import Proxy, free_port
from tests.terminal import begin, end, hurry, run_sql, tremor
from tests.test_channels import Inbox, mail_server, talker, web_server
from tests.worlds import LAST, MORNING, World, history

AS_OF = f"{MORNING:%Y-%m-%dT%H:%M}"
SECRET = "s3cret-Pa55"

RUN = ("run", "--as-of", AS_OF)


@pytest.fixture(scope="module", autouse=True)
def no_waiting(postgres_server):
    """Retries do not sleep, and the server need not wait for its disk."""
    hurry(postgres_server)
    with stamina.set_testing(True, attempts=2):
        yield


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Two instruments' files, one of which falls by a fifth on the last day."""
    world = World(tmp_path_factory.mktemp("market"), "")
    for symbol, crash in (("AAA", 0.2), ("BBB", 0)):
        world.put(symbol, history(symbol, n_bars=400, crash=crash))
    return world.files


@pytest.fixture
def town(make_world, market):
    """A world over these files."""
    world = make_world()
    world.settings = {"files_root": market}
    return world


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, postgres_server, market):
    """What a run leaves on a good day."""
    run_sql(postgres_server, "create database good_day")
    url = postgres_server.replace("/postgres?", "/good_day?")
    world = World(tmp_path_factory.mktemp("good"), url, {"files_root": market})
    world.run()
    return world.everything()


class Before(Runner):
    """Does something before the first call of a step."""

    def __init__(self, step, act):
        super().__init__()
        self.step, self.act = step, act

    def __call__(self, step, parts, *args):
        """Call the step."""
        if step.__name__ == self.step and self.act is not None:
            act, self.act = self.act, None
            act()
        return super().__call__(step, parts, *args)


def one_line(error):
    """An error's text as the command line shows it."""
    text = str(error.value)
    assert "\n" not in text
    return text


# PostgreSQL


def socket_of(url):
    """The path of the embedded server's socket."""
    from urllib.parse import unquote

    return unquote(url.partition("host=")[2]) + "/.s.PGSQL.5432"


def through(proxy, url):
    """The same database behind the proxy."""
    name = url.partition("?")[0].rpartition("/")[2]
    return f"postgresql://postgres:{SECRET}@127.0.0.1:{proxy.port}/{name}"


def wait_until_alone(url):
    """Until the server has noticed that the lost run's connections are gone."""
    with Warehouse(url) as warehouse:
        for _ in range(200):
            rows = warehouse.query(
                "select 1 from pg_stat_activity where datname = current_database() "
                "and application_name = 'tremor' and pid <> pg_backend_pid()"
            )
            if not len(rows):
                return
            time.sleep(0.05)


def test_a_warehouse_that_is_down_is_one_line(town):
    """Where, why and the remedy; the password is not shown, and nothing was written."""
    url = f"postgresql://analyst:{SECRET}@127.0.0.1:{free_port()}/tremor"
    for command in (RUN, ("status",), ("alerts", "list")):
        seen = tremor(town, *command, warehouse_url=url)
        assert "warehouse analyst@127.0.0.1" in seen.error
        assert "refused" in seen.error
        assert SECRET not in seen.error
    assert not (town.folder / "var" / "lake").exists()


@pytest.mark.parametrize("step", ["refine", "load", "record", "tell", "close"])
def test_a_warehouse_that_dies_half_way_is_made_whole_by_the_next_run(step, town, undisturbed):
    """Whatever was done by then, the end is the same."""
    url = town.postgres_url
    with Proxy(socket_of(url)) as proxy:
        town.settings["warehouse_url"] = through(proxy, url)
        with pytest.raises(WarehouseError) as error:
            town.run(run=Before(step, proxy.cut))
        assert SECRET not in one_line(error)
        assert "127.0.0.1" in one_line(error)
    del town.settings["warehouse_url"]
    wait_until_alone(url)
    assert town.run().exit_code == 0
    assert town.everything() == undisturbed


@pytest.mark.parametrize("n_bytes", [3_000, 20_000])
def test_a_connection_cut_inside_a_copy_stores_nothing_of_it(n_bytes, town, undisturbed):
    """A batch is in the warehouse whole or not at all."""
    url = town.postgres_url
    with Proxy(socket_of(url)) as proxy:
        town.settings["warehouse_url"] = through(proxy, url)
        with pytest.raises(WarehouseError):
            town.run(run=Before("load", lambda: proxy.cut_after(n_bytes)))
    del town.settings["warehouse_url"]
    wait_until_alone(url)
    assert town.query("select count(*) as n from candles")["n"].iloc[0] == 0
    town.run()
    assert town.everything() == undisturbed


@pytest.mark.parametrize("step", ["load", "tell"])
def test_a_server_that_restarts_between_two_steps_ends_the_run(step, town, undisturbed):
    """The run's lock went with it, so that another may be at work; the next run is whole."""

    def restart():
        run_sql(
            town.postgres_url,
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'tremor' and datname = current_database()",
        )

    with pytest.raises(WarehouseError, match="kept other runs away was lost") as error:
        town.run(run=Before(step, restart))
    one_line(error)
    town.run()
    assert town.everything() == undisturbed


def test_a_statement_that_takes_too_long_is_ended(postgres_url):
    """One line that says so, and the connection is of use again."""
    with Warehouse(postgres_url, statement_timeout_s=0.1) as warehouse:
        with pytest.raises(WarehouseError, match="took too long") as error:
            warehouse.query("select pg_sleep(20)")
        one_line(error)
        assert len(warehouse.query("select 1 as one")) == 1


# S3


@pytest.fixture
def impatient(monkeypatch):
    """The S3 client's own patience, shortened; give what makes it patient again."""
    real = botocore.config.Config

    def config(**options):
        brief = {"connect_timeout": 1, "read_timeout": 0.5, "retries": {"total_max_attempts": 1}}
        return real(**{**options, **brief})

    monkeypatch.setattr(botocore.config, "Config", config)
    return lambda: monkeypatch.setattr(botocore.config, "Config", real)


def lake_objects(url):
    """What the bucket holds, by key, as ``World.everything`` names a folder's."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
    return {
        key.removeprefix(f"{prefix}/"): client.get_object(Bucket=bucket, Key=key)["Body"]
        .read()
        .hex()
        for key in keys
        if "/runs/" not in key
    }


def test_a_run_on_s3_leaves_what_a_run_on_a_folder_leaves(town, s3_url, undisturbed):
    """The same tables, objects and mails."""
    town.settings["lake_url"] = s3_url
    assert town.run().exit_code == 0
    assert {**town.everything(), **lake_objects(s3_url)} == undisturbed


def address_of(url):
    """Host and port."""
    host, _, port = url.rpartition("/")[2].partition(":")
    return host, int(port)


@pytest.mark.parametrize("trouble", ["down", "silent", "cut"])
def test_a_lake_on_s3_in_trouble_is_one_line_and_made_whole(
    trouble, town, s3_url, s3_server, undisturbed, impatient, monkeypatch
):
    """Whatever goes wrong with the bucket half-way, no half object is left."""
    town.settings["lake_url"] = s3_url
    with Proxy(address_of(s3_server)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        act = {
            "down": proxy.cut,
            "silent": lambda: (proxy.cut(), proxy.mend(), proxy.keep_silent()),
            "cut": lambda: proxy.cut_after(9_000),
        }[trouble]
        with pytest.raises(LakeError) as error:
            town.run(run=Before("fetch", act))
        assert "could not" in one_line(error)
        assert "TREMOR_LAKE_URL" in one_line(error)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    # A server on a busy machine is slow, and that is no trouble.
    impatient()
    assert town.run().exit_code == 0
    assert {**town.everything(), **lake_objects(s3_url)} == undisturbed


def test_an_s3_that_is_not_reached_is_exit_code_2(town, s3_url, monkeypatch):
    """As a person sees it; no key, no secret."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    seen = tremor(town, *RUN, lake_url=s3_url)
    assert "lake s3://" in seen.error
    assert SECRET not in seen.error


# Mail


@pytest.mark.parametrize("trouble", ["down", "silent", "drops", "refuses"])
def test_mail_in_trouble_leaves_the_alert_pending_and_the_next_run_delivers_it_once(trouble, town):
    """Exit code 3, the reason in one line, the alert in `status`; then one mail."""
    inbox = Inbox(data="451 4.3.0 try again later")
    hellos = [b"220 hi\r\n", *[b"250 ok\r\n"] * 4, b"354 go\r\n"]
    servers = {
        "down": lambda: Proxy(("127.0.0.1", free_port())),
        "silent": lambda: talker(pause_s=1.5),
        "drops": lambda: talker(*hellos),
        "refuses": lambda: mail_server(inbox),
    }
    with servers[trouble]() as server:
        place = server
        if trouble == "down":
            server.cut()
            place = f"127.0.0.1:{server.port}"
        seen = tremor(town, *RUN, smtp_url=f"smtp://{place}", timeout_s=0.5)
    assert seen.code == 3
    (line,) = seen.said
    assert line.startswith("not delivered, tried again by the next run: email: smtp://127.0.0.1")
    assert "Traceback" not in seen.err
    status = tremor(town, "status")
    assert "pending deliveries:" in status.out
    assert "email AAA -20.0 %" in " ".join(status.out.split())
    inbox = Inbox()
    with mail_server(inbox) as place:
        for _ in range(2):
            assert tremor(town, *RUN, smtp_url=f"smtp://{place}").code == 0
    assert len(inbox.mails) == 1
    assert "pending deliveries: none" in tremor(town, "status").out


@pytest.mark.parametrize("down", ["mail", "webhook"])
def test_one_channel_that_is_down_does_not_hold_the_other_up(down, town):
    """The other is told at once, and once; the one that was down is told by the next run."""
    inbox, nowhere = Inbox(), free_port()
    with mail_server(inbox) as place, web_server() as (hook, posts):
        good = {"smtp_url": f"smtp://{place}", "webhook_url": hook}
        bad = {"mail": {"smtp_url": f"smtp://127.0.0.1:{nowhere}"}}.get(
            down, {"webhook_url": f"http://127.0.0.1:{nowhere}/T0SECRET"}
        )
        first = town.run(**{**good, **bad})
        assert first.exit_code == 3
        assert "T0SECRET" not in str(first.undelivered)
        assert (len(inbox.mails), len(posts)) == ((0, 1) if down == "mail" else (1, 0))
        assert town.run(**good).exit_code == 0
        assert town.run(**good).exit_code == 0
    assert (len(inbox.mails), len(posts)) == (1, 1)


# Disk


def test_a_file_that_may_not_grow_is_one_line_and_leaves_no_half_object(town, undisturbed):
    """Where the disk ends, whichever write it is; once there is room the next run is whole."""
    for largest in (1_000, 15_000):
        seen = tremor(town, *RUN, largest_file=largest)
        assert "could not write" in seen.error
        assert "free space" in seen.error
    lake = town.folder / "var" / "lake"
    assert [p for p in lake.rglob("*") if p.is_file() and p.stat().st_size >= 15_000] == []
    assert list(lake.rglob(".*")) == []
    assert tremor(town, *RUN).code == 0
    assert town.everything() == undisturbed


def test_an_outbox_without_room_leaves_the_alert_pending(town, s3_url):
    """The mail with its pictures waits for the next run; the lake is elsewhere, and has room."""
    town.settings["lake_url"] = s3_url
    for largest in (15_000, 30_000):
        seen = tremor(town, *RUN, largest_file=largest)
        assert seen.code == 3
        (line,) = seen.said
        assert line.startswith("not delivered, tried again by the next run: outbox: ")
    assert list((town.folder / "var" / "outbox").iterdir()) == []
    assert "outbox AAA -20.0 %" in " ".join(tremor(town, "status").out.split())
    assert tremor(town, *RUN).code == 0
    (mail,) = (town.folder / "var" / "outbox").iterdir()
    assert mail.stat().st_size > 30_000


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 100 kB, where the machine lets one be mounted; else None."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    is_there = os.geteuid() == 0 and subprocess.call(mount) == 0
    yield folder if is_there else None
    if is_there:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_full_is_one_line_and_room_makes_it_whole(town, small_disk, undisturbed):
    """ENOSPC in the middle of a run; where nothing can be mounted, a limit stands for it."""
    if small_disk is None:
        assert "free space" in tremor(town, *RUN, largest_file=1_000).error
        return
    (small_disk / "others").write_bytes(b"x" * 60_000)
    seen = tremor(town, *RUN, lake_url=small_disk / "lake")
    assert "No space left on device" in seen.error
    assert "free space" in seen.error
    (small_disk / "others").unlink()
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    assert tremor(town, *RUN, lake_url=small_disk / "lake").code == 0
    after = {k: v for k, v in town.everything().items() if "/" not in k}
    assert after == {k: v for k, v in undisturbed.items() if "/" not in k}


# Two at once


def test_of_two_runs_that_start_at_once_one_steps_aside(town, undisturbed):
    """Both end with 0, and what is there is there once."""
    both = [begin(town, *RUN), begin(town, *RUN)]
    seen = [end(each) for each in both]
    assert [each.code for each in seen] == [0, 0], seen
    assert all("Traceback" not in each.err for each in seen)
    aside = [each for each in seen if "steps aside" in each.err]
    assert len(aside) + sum("run as of" in each.out for each in seen) == 2
    assert town.everything() == undisturbed
    assert len(town.alerts("anomaly")) == 1
    assert town.alerts("anomaly")["ts"].iloc[0] == LAST
