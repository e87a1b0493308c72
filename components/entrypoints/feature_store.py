"""The feature store's commands, run in Feast's own environment.

.venv/feast/bin/python -m components.entrypoints.feature_store --help
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer

from components.embedded import open_embedded
from components.entrypoints.exits import exit_code
from components.errors import SettingsError
from components.feature_views import INSTANTS, KEY, fields
from components.settings import read_settings

if TYPE_CHECKING:
    from components.feature_store import FeatureStore

OFFLINE = ("lake", "warehouse")

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="The stored features as a feature store: joins in time, and the newest online.",
)

OfflineOption = Annotated[
    str, typer.Option(help="Where features are read: lake (Parquet) or warehouse (PostgreSQL).")
]
IntervalOption = Annotated[str | None, typer.Option(help="Length of a bar.")]


@app.command()
def apply(offline: OfflineOption = "lake", interval: IntervalOption = None) -> int:
    """Write the definitions into the registry. The other commands do it, too.

    Example: python -m components.entrypoints.feature_store apply
    """
    store = _store(offline, interval)
    view = store.feast.get_feature_view(store.view)
    typer.echo(
        f"{view.name}: {len(view.features) - len(INSTANTS)} features, key {KEY}, valid for "
        f"{view.ttl.days} days after a bar's close"
    )
    typer.echo(f"from {store.offline.shown}; online: {store.online.shown}")
    return 0


@app.command()
def materialise(
    *,
    offline: OfflineOption = "lake",
    interval: IntervalOption = None,
    whole: Annotated[bool, typer.Option("--all", help="Also what is online already.")] = False,
) -> int:
    """Bring the newest features of each instrument online; repeated, it writes nothing.

    Example: python -m components.entrypoints.feature_store materialise
    """
    store = _store(offline, interval)
    done = store.materialise(pd.Timestamp.now("UTC"), is_whole=whole)
    last = (
        f"; the newest bar closed {done.last_closed:%Y-%m-%d %H:%M} UTC" if done.last_closed else ""
    )
    typer.echo(
        f"{store.view}: {done.n_brought} of {done.n_instruments} instruments brought to "
        f"{store.online.shown}{last}"
    )
    return 0


@app.command()
def serve(
    offline: OfflineOption = "lake",
    interval: IntervalOption = None,
    host: Annotated[
        str, typer.Option(help="Where it listens. It asks nobody who is there.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 6566,
) -> int:
    """Answer `POST /get-online-features` until stopped. What would write is not served.

    Example: python -m components.entrypoints.feature_store serve --port 6566
    """
    import uvicorn

    store = _store(offline, interval)
    typer.echo(f"serving {store.view} of {store.online.shown} at http://{host}:{port}")
    uvicorn.run(store.server(), host=host, port=port, log_level="warning", access_log=False)
    return 0


@app.command("training-set")
def training_set(
    out: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    *,
    since: Annotated[str, typer.Option(help="Of the bars that closed from this day on.")],
    until: Annotated[str | None, typer.Option(help="Day after the last. Default: now.")] = None,
    symbols: Annotated[str | None, typer.Option(help="Of these alone, comma-separated.")] = None,
    as_known: Annotated[
        bool,
        typer.Option(
            "--as-known", help="In the versions known at that instant, not those of today."
        ),
    ] = False,
    delay_hours: Annotated[
        float, typer.Option(min=0, max=96, help="Look so long after each close.")
    ] = 0.0,
    offline: OfflineOption = "lake",
    interval: IntervalOption = None,
) -> int:
    """Join the newest features at each bar's close, a row a bar, into one file.

    Example: python -m components.entrypoints.feature_store training-set x.pq --since 2024-01-01
    """
    span = _day(since, "--since"), _day(until, "--until")
    store = _store(offline, interval)
    rows = store.closes(*span)
    if symbols:
        rows = rows[rows[KEY].isin([name.strip() for name in symbols.split(",")])]
    if not len(rows):
        raise SettingsError("training-set: no bar of these instruments closed then. Name others.")
    rows["event_timestamp"] += pd.Timedelta(hours=delay_hours).as_unit("us")
    made = store.joined(rows, fields(), with_hindsight=not as_known)
    made.to_parquet(out, index=False)
    n_known = int(made[INSTANTS[0]].notna().sum())
    typer.echo(f"{out}: {len(made):,} rows, {n_known:,} with features, of {store.offline.shown}")
    return 0


def _store(kind: str, interval: str | None) -> "FeatureStore":
    settings = read_settings(interval=interval)
    if kind not in OFFLINE:
        known = " or ".join(OFFLINE)
        raise SettingsError(f"--offline {kind[:60]!r} is no offline store. Write {known}.")
    if find_spec("feast") is None:
        raise SettingsError(
            f"Feast is not installed for {sys.executable}. Run `make feast`, then "
            "`.venv/feast/bin/python -m components.entrypoints.feature_store`."
        )
    from components.feature_store import FeatureStore
    from components.feature_store.offline import lake_files, warehouse_table
    from components.feature_store.online import online

    home = settings.state_dir / "feast"
    home.mkdir(parents=True, exist_ok=True)
    held = online(settings.redis_url.get_secret_value(), home)
    if kind == "lake":
        found = lake_files(settings.lake_root, settings.interval, home / "lake", settings.timeout_s)
    else:
        url = settings.warehouse or open_embedded(settings.state_dir)
        found = warehouse_table(url, settings.interval)
    return FeatureStore(home, settings.interval, found, held)


def _day(text: str | None, option: str) -> pd.Timestamp:
    instant = (
        pd.Timestamp.now("UTC") if text is None else pd.to_datetime(text, errors="coerce", utc=True)
    )
    if pd.isna(instant):
        raise SettingsError(f"{option} {text!r} is no date. Write it as 2024-03-12.")
    return instant


def main() -> None:
    """Parse the arguments, do what they say, and exit with the documented code."""
    sys.exit(exit_code(lambda: app(standalone_mode=False), "See --help."))


if __name__ == "__main__":
    main()
