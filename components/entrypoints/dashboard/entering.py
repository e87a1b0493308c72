"""Who looks, and what he may: by a password, by OpenID Connect, or without a login."""

import math
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from components import passwords
from components.entrypoints.dashboard.saying import escaped
from components.errors import SettingsError
from components.settings import Settings
from components.words import clean, seconds

ENTERED = "has_entered"

WRONG = "This is not the password. Try again."
TOO_OFTEN = "This is not the password, or it came too early. Wait {} before the next try."


@dataclass(frozen=True)
class Visitor:
    """Who looks; ``role`` is "read", "write" or "" for who may not; ``way`` how he came in."""

    who: str
    role: str
    way: str

    @property
    def may(self) -> str:
        """What he may, in words."""
        return {"read": "may look", "write": "may look and change"}.get(self.role, "may not look")


def visitor(settings: Settings) -> Visitor | None:
    """Who looks; None while nobody has logged in."""
    if settings.dashboard_oidc and st.user.is_logged_in:
        return by_claims(st.user.to_dict(), settings)
    if _password(settings) and st.session_state.get(ENTERED):
        return Visitor("operator", "write", "password")
    if settings.dashboard_oidc or _password(settings):
        return None
    return Visitor("this machine's user", settings.dashboard_role, "none")


def by_claims(claims: Mapping[str, Any], settings: Settings) -> Visitor:
    """Who a provider says it is, and what the settings let him do.

    An e-mail address that the provider does not call verified is nobody's.
    """
    is_verified = claims.get("email_verified") in (True, "true")
    email = str(claims.get("email") or "") if is_verified else ""
    who = clean(email or str(claims.get("name") or claims.get("sub") or "unnamed"), 120)
    if email and _is_among(email, settings.dashboard_writers):
        return Visitor(who, "write", "oidc")
    may_look = "*" in settings.dashboard_readers or (
        email and _is_among(email, settings.dashboard_readers)
    )
    return Visitor(who, "read" if may_look else "", "oidc")


def ask_to_enter(settings: Settings) -> None:
    """Show the ways to log in."""
    with st.container(width=420):
        st.write("Log in to see what is unusual.")
        if settings.dashboard_oidc:
            for name in providers(settings.dashboard_oidc):
                label = f"Log in with {escaped(name)}" if name else "Log in"
                if st.button(label, type="primary", icon=":material/login:"):
                    st.login(name or None)
        if _password(settings):
            _ask_for_password(settings)


def refuse(found: Visitor) -> None:
    """Say to who is known, and may not look, what to do."""
    st.error(
        f"{escaped(found.who)} may not look here. Ask the operator to add the address to "
        "TREMOR\\_DASHBOARD\\_READERS, or log in as somebody else.",
        icon=":material/block:",
    )


def show_who(found: Visitor) -> None:
    """Say beside the pages who is logged in and what he may, with a way out."""
    with st.sidebar:
        st.text(f"{found.who}: {found.may}.")
        if found.way != "none" and st.button("Log out", icon=":material/logout:"):
            if found.way == "oidc":
                st.logout()
            st.session_state.clear()
            st.rerun()


def providers(path: Path) -> list[str]:
    """The names of the providers in Streamlit's file of secrets, "" for the only one.

    Raises
    ------
    SettingsError
        The file cannot be read, or lacks what a login needs.
    """
    try:
        auth = tomllib.loads(path.read_text())["auth"]
        named = [name for name, value in auth.items() if isinstance(value, dict)]
        _ = [auth[name] for name in ("redirect_uri", "cookie_secret")]
        for each in [auth[name] for name in named] or [auth]:
            _ = [each[name] for name in ("client_id", "client_secret", "server_metadata_url")]
    except OSError as error:
        raise SettingsError(
            f"TREMOR_DASHBOARD_OIDC={path}: {error.strerror}. Name a file that is there."
        ) from None
    except (ValueError, TypeError, AttributeError):
        raise SettingsError(
            f"TREMOR_DASHBOARD_OIDC={path} is no TOML with a table [auth]. See docs/OPERATING.md."
        ) from None
    except KeyError as error:
        raise SettingsError(
            f"TREMOR_DASHBOARD_OIDC={path} lacks {error.args[0]}. An [auth] needs redirect_uri, "
            "cookie_secret, client_id, client_secret and server_metadata_url."
        ) from None
    return named or [""]


def _ask_for_password(settings: Settings) -> None:
    with st.form("enter", border=False):
        said = st.text_input("Password", type="password", autocomplete="current-password")
        is_sent = st.form_submit_button("Log in", icon=":material/login:")
    if not is_sent:
        return
    line = _password(settings)
    is_right, wait_s = _patience().tried(
        lambda: passwords.is_right(said, line), clock=time.monotonic
    )
    if is_right:
        st.session_state[ENTERED] = True
        st.rerun()
    st.error(TOO_OFTEN.format(seconds(math.ceil(wait_s))) if wait_s > 0 else WRONG)


def _password(settings: Settings) -> str:
    return settings.dashboard_password_hash.get_secret_value()


def _is_among(email: str, listed: tuple[str, ...]) -> bool:
    """Whether an address is listed; capitals count for nothing among plain letters."""
    if not email.isascii():
        return email in listed
    return email.lower() in {each.lower() for each in listed if each.isascii()}


@st.cache_resource
def _patience() -> passwords.Patience:
    """One for all sessions: many windows make no more guesses than one."""
    return passwords.Patience()
