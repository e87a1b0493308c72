"""The user that an embedded server runs as, for PostgreSQL refuses to run as root.

For root it is ``pgserver`` (made when absent), who must be able to pass through the folders
above the data and above the programs: those that nobody else may pass get ``o+x``, never
the right to list, and each is named in a warning.
"""

import logging
import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Any

from components.errors import SettingsError

log = logging.getLogger(__name__)

ROOT_RUNS_AS = "pgserver"


def server_user() -> pwd.struct_passwd | None:
    """The user that the server runs as when this process is root's; None: as this process."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(ROOT_RUNS_AS)
    except KeyError:
        made = subprocess.run(  # noqa: S603
            ["useradd", "--system", "--shell", "/usr/sbin/nologin", ROOT_RUNS_AS],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return pwd.getpwnam(ROOT_RUNS_AS)
    except KeyError:
        raise SettingsError(
            f"embedded warehouse: PostgreSQL does not run as root, and the user {ROOT_RUNS_AS} "
            f"could not be made ({made.stderr.strip()}). Run as another user, or set "
            "TREMOR_WAREHOUSE_URL."
        ) from None


def identity() -> dict[str, Any]:
    """Arguments for ``subprocess`` to run as the server's user."""
    user = server_user()
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def let_pass(folder: Path) -> None:
    """Let the server's user pass through every folder above ``folder``."""
    for parent in folder.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            log.warning("o+x added to %s, so that %s can pass through it", parent, ROOT_RUNS_AS)
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
