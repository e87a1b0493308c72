"""``python main.py dashboard``: Streamlit, started with settings of its own."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from components.channels.email import is_loopback
from components.errors import SettingsError
from components.passwords import require_line
from components.settings import Settings

SCRIPT = Path(__file__).parent / "script" / "run.py"

MODULE = "components.entrypoints.dashboard.streamlit_run"

# Nothing is reported to anyone, nothing is opened, and what is shown of an error is one line.
OPTIONS = {
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "global.developmentMode": "false",
    # A message is sent whole, never as "the one that you have": while a picture is asked for many
    # times a second, the browser may have thrown it away by then, and its page is dead.
    "global.minCachedMessageSize": "1e15",
    # No other site may use a visitor's session; nobody fills the memory with files.
    "server.enableXsrfProtection": "true",
    "server.enableCORS": "true",
    "server.maxUploadSize": "5",
    "server.enableStaticServing": "false",
    "server.enableAgentApi": "false",
    # Light or dark is the visitor's; in both, marks and small print are to be read by all.
    "theme.light.primaryColor": "#00568a",
    "theme.light.textColor": "#0b0d12",
    "theme.dark.primaryColor": "#2874c2",
}


def start(settings: Settings) -> None:
    """Become Streamlit: it gets this process, and its signals.

    Raises
    ------
    SettingsError
        It would be open to the network without a login; the login is not as it should be; or
        Streamlit is not installed.
    """
    try:
        import streamlit  # noqa: F401
    except ImportError:
        raise SettingsError(
            "the dashboard needs Streamlit, which is not installed. Run `make .venv/.web`."
        ) from None
    if not (has_login(settings) or is_loopback(settings.dashboard_address)):
        raise SettingsError(
            f"TREMOR_DASHBOARD_ADDRESS={settings.dashboard_address} is open to the network, and "
            "there is no login. Set TREMOR_DASHBOARD_PASSWORD_HASH or TREMOR_DASHBOARD_OIDC."
        )
    options = {
        **OPTIONS,
        "server.address": settings.dashboard_address,
        "server.port": str(settings.dashboard_port),
    }
    if settings.dashboard_oidc:
        options["secrets.files"] = str(settings.dashboard_oidc.resolve())
    said = [f"--{name}={value}" for name, value in options.items()]
    root = str(SCRIPT.parents[4])
    # What the command line said is said to the script, which reads the settings anew.
    os.environ.update({"PYTHONPATH": root, "TREMOR_DASHBOARD_ROLE": settings.dashboard_role})
    # A module of ours runs Streamlit, so that what pages need is there before the first visitor.
    command = [sys.executable, "-m", MODULE, str(SCRIPT), *said]
    os.execv(sys.executable, command)  # noqa: S606


def has_login(settings: Settings) -> bool:
    """Whether a login is set, and may be: a broken one is refused here, not at the first visit.

    Raises
    ------
    SettingsError
        No line of a password's hash, or no file of a provider.
    """
    from components.entrypoints.dashboard.entering import providers

    line = settings.dashboard_password_hash.get_secret_value()
    if line:
        require_line(line)
    if settings.dashboard_oidc:
        providers(settings.dashboard_oidc)
        if not all(map(find_spec, ("authlib", "httpx"))):
            raise SettingsError(
                "TREMOR_DASHBOARD_OIDC needs Authlib and httpx, which are not installed. "
                "Run `make .venv/.web`."
            )
    return bool(line or settings.dashboard_oidc)
