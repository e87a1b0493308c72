"""The embedded server: shared, on demand, stopped by the last, unharmed by a kill."""

import os
import signal
import stat
import subprocess
import sys
import time

import psycopg2
import pytest

from components.embedded import close_embedded, open_embedded

USER = """
import sys
from pathlib import Path
from components.embedded import open_embedded
print(open_embedded(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def user(folder):
    """Another process that uses the server until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().strip()


def leave(process, kill=False):
    """End a process in order, or with SIGKILL."""
    if kill:
        process.kill()
    process.communicate()


def answers(url):
    """Whether a server is there."""
    try:
        connection = psycopg2.connect(url)
    except psycopg2.OperationalError:
        return False
    connection.close()
    return True


@pytest.fixture
def folder(tmp_path_factory):
    """A state folder for one server."""
    made = tmp_path_factory.mktemp("state")
    yield made
    close_embedded(made)


def test_processes_share_the_server_and_the_last_one_stops_it(folder):
    """Started on demand, by several at once too, and nothing is left running."""
    first = subprocess.Popen([sys.executable, "-c", USER, folder], stdin=-1, stdout=-1, text=True)
    second, url = user(folder)
    assert first.stdout.readline().strip() == url
    leave(first)
    assert answers(url)
    leave(second)
    assert not answers(url)


def test_a_killed_user_is_not_counted(folder):
    """The server goes on after a kill, and stops when the next user leaves."""
    killed, url = user(folder)
    leave(killed, kill=True)
    assert answers(url)
    following, _ = user(folder)
    leave(following)
    assert not answers(url)


def test_a_killed_server_starts_again(folder):
    """A machine that lost power finds its warehouse the next time."""
    url = open_embedded(folder)
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("create table kept as select 1 as x")
    os.kill(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    connection.close()
    while answers(url):
        time.sleep(0.01)
    assert open_embedded(folder) == url
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute("select x from kept")
        assert cursor.fetchall() == [(1,)]
    connection.close()


@pytest.mark.parametrize("name", ["with space", "it's,odd é", "long/" * 40])
def test_any_folder_will_do(folder, name, monkeypatch):
    """Spaces, quotes, relative paths, and paths longer than a socket's."""
    monkeypatch.chdir(folder)
    (folder / name).mkdir(parents=True)
    try:
        assert answers(open_embedded((folder / name).relative_to(folder)))
    finally:
        close_embedded(folder / name)


def test_nobody_else_may_enter_the_data_or_list_its_parents(folder):
    """The folders above get at most the right to pass through; the data is its owner's."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    try:
        open_embedded(closed)
        assert stat.S_IMODE((closed / "postgres").stat().st_mode) == 0o700
        assert stat.S_IMODE(closed.stat().st_mode) & 0o077 in (0, 0o001)
    finally:
        close_embedded(closed)
