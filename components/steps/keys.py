"""Keys of the API in the warehouse: made, listed, revoked."""

import secrets

import pandas as pd

from components.errors import SettingsError
from components.keys import Key, check_name, digest, scopes_of, text_of
from components.tables import API_KEYS
from components.warehouse import Warehouse

HELD = """
select id, name, digest, scopes, expires_at, revoked_at from api_keys
where revoked_at is null and (expires_at is null or expires_at > now()) limit 100000
"""

LISTED = """
select id, name, scopes, to_char(made_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as made,
       to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as expires,
       case when revoked_at is not null then 'revoked'
            when expires_at <= now() then 'expired' else 'in force' end as state
from api_keys order by made_at desc, id limit 10000
"""

REVOKE = """
update api_keys set revoked_at = %(now)s
where (id = %(which)s or name = %(which)s) and revoked_at is null returning id
"""


def make(
    warehouse: Warehouse, name: str, scopes: tuple[str, ...], days: int, now: pd.Timestamp
) -> str:
    """Make a key that holds for so many days, 0: for ever; give its text, which is kept nowhere.

    Raises
    ------
    SettingsError
        A name or scope that cannot be; or a key of that name is in force.
    """
    taken = warehouse.query(f"select * from ({HELD}) k where name = %(name)s", {"name": name})  # noqa: S608 - our own words
    if len(taken):
        raise SettingsError(
            f"a key called {name!r} is in force. Revoke it (`python main.py keys revoke {name}`), "
            "or give the new one another name."
        )
    key, text = text_of(secrets.token_bytes(6), secrets.token_urlsafe(32))
    row = {
        "id": key,
        "name": check_name(name),
        "digest": digest(text),
        "scopes": ",".join(scopes_of(scopes)),
        "made_at": now,
        "expires_at": now + pd.Timedelta(days=days) if days else pd.NaT,
        "revoked_at": pd.NaT,
    }
    rows = pd.DataFrame([row])
    for column in ("expires_at", "revoked_at"):
        rows[column] = pd.to_datetime(rows[column], utc=True).astype("datetime64[us, UTC]")
    warehouse.upsert(API_KEYS, rows)
    return text


def revoke(warehouse: Warehouse, which: str, now: pd.Timestamp) -> str:
    """Revoke the key of an id or a name; give its id.

    Raises
    ------
    SettingsError
        None such is in force.
    """
    found = warehouse.query(REVOKE, {"which": which, "now": now.to_pydatetime()})
    if found.empty:
        raise SettingsError(f"no key {which!r} is in force. See `python main.py keys list`.")
    return str(found["id"].iloc[0])


def listed(warehouse: Warehouse) -> pd.DataFrame:
    """All keys, the newest first, without anything that could be used."""
    return warehouse.query(LISTED, {})


def held(warehouse: Warehouse) -> dict[str, Key]:
    """The keys in force, by their ids."""
    rows = warehouse.query(HELD, {})
    return {
        str(row["id"]): Key(
            id=str(row["id"]),
            name=str(row["name"]),
            digest=str(row["digest"]),
            scopes=frozenset(str(row["scopes"]).split(",")),
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
        )
        for row in rows.to_dict("records")
    }
