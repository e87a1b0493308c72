"""A real MariaDB on loopback, for the tests alone: started on a temporary folder, stopped after."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pymysql

from tests.proxies import free_port

LACKING = "mariadbd is not installed on this machine"

PASSWORD = "p@ss:w/rd%41"


def mariadbd():
    """Where the server's program is; None when it is not installed."""
    return shutil.which("mariadbd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _identity():
    """Run as nobody when this process is root's: the server needs no rights."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def mariadb_server():
    """Give the port of a fresh server with the user ``reader`` of PASSWORD and a database shop."""
    folder = Path(tempfile.mkdtemp(prefix="tremor-mariadb-"))
    data, identity = folder / "data", _identity()
    data.mkdir()
    for each in (folder, data):
        each.chmod(0o755)
        if identity:
            os.chown(each, identity["user"], identity["group"])
    common = ["--no-defaults", f"--datadir={data}"]
    subprocess.run(
        ["mariadb-install-db", *common, "--auth-root-authentication-method=normal"],
        check=True,
        capture_output=True,
        cwd=folder,
        **identity,
    )
    port = free_port()
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [
            mariadbd(),
            *common,
            "--bind-address=127.0.0.1",
            f"--port={port}",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            "--skip-log-bin",
            "--innodb-buffer-pool-size=32M",
        ],
        stdout=log,
        stderr=log,
        cwd=folder,
        **identity,
    )
    try:
        _prepare(port, server, folder / "log")
        yield port
    finally:
        # Its data is thrown away: no need to let it finish.
        server.kill()
        server.wait(30)
        log.close()
        shutil.rmtree(folder)


def root_connection(port, **more):
    """A connection that may write."""
    return pymysql.connect(
        host="127.0.0.1", port=port, user="root", autocommit=True, charset="utf8mb4", **more
    )


def _prepare(port, server, log):
    for _ in range(300):
        try:
            connection = root_connection(port)
            break
        except pymysql.err.OperationalError:
            if server.poll() is not None:
                raise RuntimeError(log.read_text(errors="replace")[-2000:]) from None
            time.sleep(0.1)
    else:
        raise RuntimeError("MariaDB did not start within 30 s")
    with connection, connection.cursor() as cursor:
        cursor.execute("create database shop character set utf8mb4")
        cursor.execute("create user reader@'127.0.0.1' identified by %s", (PASSWORD,))
        cursor.execute("grant all on shop.* to reader@'127.0.0.1'")
