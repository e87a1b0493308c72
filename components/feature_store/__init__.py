"""A feature store over the stored features: joins in time, and the newest of each instrument.

The only home of Feast, which is installed into an environment of its own
(requirements-feast.txt).
"""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import psycopg
import redis
from feast import FeatureStore as Feast
from feast import RepoConfig
from feast.errors import FeastError
from feast.infra.offline_stores.offline_utils import get_offline_store_from_config

from components.errors import FeatureStoreError
from components.feature_store.definitions import INSTRUMENT, view
from components.feature_store.offline import Offline
from components.feature_store.online import Online
from components.feature_views import CLOSED, INSTANTS, KEY, KNOWN, OPENED, valid_for, view_name
from components.sessions import length

PROJECT = "tremor"
EPOCH = pd.Timestamp(0, tz="UTC")

# Of the feature server these alone: its others write, and ask nobody who is there.
ROUTES = ("/get-online-features", "/health")

# A join holds each row asked for beside each bar that is valid then; so many at a time.
PAIRS = 2_000_000


@dataclass(frozen=True)
class Materialised:
    """How many instruments are stored, how many lacked their newest row, when the last closed."""

    n_instruments: int
    n_brought: int
    last_closed: pd.Timestamp | None


@dataclass(frozen=True)
class FeatureStore:
    """Feast over what is stored of one interval.

    Parameters
    ----------
    home : Path
        Where its registry lies, and the online store when it is SQLite.
    interval : str
        Length of a bar; each has a view of its own.
    """

    home: Path
    interval: str
    offline: Offline
    online: Online

    @property
    def view(self) -> str:
        """The view's name."""
        return view_name(self.interval)

    @cached_property
    def feast(self) -> Feast:
        """Feast itself, with the definitions in its registry."""
        kind = self.offline.config["type"]
        place = {"registry": str((self.home / f"registry-{kind}.db").absolute())}
        config = RepoConfig(
            **place,
            project=PROJECT,
            provider="local",
            offline_store=dict(self.offline.config),
            online_store=dict(self.online.config),
            entity_key_serialization_version=3,
            # Else all bars of a span are written, one over the other, in any order.
            materialization={"pull_latest_features": True},
        )
        feast = Feast(config=config)
        source = self.offline.source
        feast.apply([INSTRUMENT, source, view(self.interval, source)])
        return feast

    def joined(
        self, rows: pd.DataFrame, names: Sequence[str], *, with_hindsight: bool
    ) -> pd.DataFrame:
        """The features of each instrument's newest bar at an instant, row by row.

        Parameters
        ----------
        rows : DataFrame
            symbol, and the instant ``event_timestamp``.
        names : sequence of str
            Fields of the view.
        with_hindsight : bool
            False: of the bars that had closed, in the versions known at that instant, which is
            the as-of rule of ``tables.known``. True: in the versions known now.

        Returns
        -------
        DataFrame
            The rows as they came, and a column a name; unknown where no bar was valid.

        Raises
        ------
        FeatureStoreError
            What is stored could not be read.
        """
        step = max(1, PAIRS // (valid_for(self.interval) // length(self.interval)))
        numbered = rows.reset_index(drop=True).rename_axis("place").reset_index()
        wanted = [f"{self.view}:{name}" for name in names]
        with _told(f"joining {self.view}"):
            parts = [
                self.feast.get_historical_features(
                    entity_df=numbered.iloc[first : first + step].copy(),
                    features=wanted,
                    filter_by_created_timestamp=not with_hindsight,
                ).to_df()
                for first in range(0, len(numbered), step)
            ]
        found = pd.concat(parts).set_index("place").reindex(numbered["place"])[list(names)]
        beside = rows.reset_index(drop=True), _in_utc(found.reset_index(drop=True))
        return pd.concat(beside, axis=1)

    def closes(self, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
        """The bars that are stored and closed in [since, until): symbol, event_timestamp.

        Raises
        ------
        FeatureStoreError
            What is stored could not be read.
        """
        found = self._pulled("pull_all_from_table_or_query", since, until)
        found = found[found["event_timestamp"] < until].drop(columns=[OPENED, KNOWN])
        return found.drop_duplicates().sort_values([KEY, "event_timestamp"], ignore_index=True)

    def materialise(self, now: pd.Timestamp, *, is_whole: bool = False) -> Materialised:
        """Bring online the newest row of each instrument that is not there.

        The online store is asked what it holds, so that it may be lost, or this be killed and
        repeated; what lacks nothing writes nothing. ``is_whole`` brings all.

        Raises
        ------
        FeatureStoreError
            A store did not answer, or did not take it.
        """
        newest = self._newest(now)
        lacking = newest if is_whole else self._lacking(newest)
        if len(lacking):
            with _told(f"materialising {self.view}"), _quiet():
                self.feast.materialize(
                    lacking[CLOSED].min().to_pydatetime(), now.to_pydatetime(), [self.view]
                )
            if len(left := self._lacking(newest)):
                raise FeatureStoreError(
                    f"{self.online.shown} did not take the newest row of {len(left)} instruments; "
                    f"first: {left[KEY].iloc[0]}. Try again; then look at the store."
                )
        last = newest[CLOSED].max() if len(newest) else None
        return Materialised(len(newest), len(lacking), last)

    def server(self) -> Any:
        """Feast's feature server as an application (ASGI), without what would write."""
        from feast.feature_server import get_app

        with _told(f"serving {self.view}"):
            app = get_app(self.feast)
        app.router.routes[:] = [r for r in app.router.routes if getattr(r, "path", "") in ROUTES]
        return app

    def _newest(self, now: pd.Timestamp) -> pd.DataFrame:
        """Each instrument's newest row: symbol, closes_at, known_at."""
        found = self._pulled("pull_latest_from_table_or_query", EPOCH, now)
        found = found.rename(columns={"event_timestamp": CLOSED})
        return found[[KEY, CLOSED, KNOWN]].sort_values(KEY, ignore_index=True)

    def _pulled(self, how: str, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
        """Rows of the offline store, in few columns: symbol, event_timestamp, ts, known_at."""
        with _told(f"reading {self.view}"):
            source = self.feast.get_feature_view(self.view).batch_source
            store = get_offline_store_from_config(self.feast.config.offline_store)
            found = getattr(store, how)(
                config=self.feast.config,
                data_source=source,
                join_key_columns=[KEY],
                feature_name_columns=[OPENED],
                timestamp_field=source.timestamp_field,
                created_timestamp_column=source.created_timestamp_column,
                start_date=since.to_pydatetime(),
                end_date=until.to_pydatetime(),
            ).to_df()
        names = {source.timestamp_field: "event_timestamp", source.created_timestamp_column: KNOWN}
        return _in_utc(found.rename(columns=names)[[KEY, "event_timestamp", OPENED, KNOWN]])

    def _lacking(self, newest: pd.DataFrame) -> pd.DataFrame:
        """Rows of ``newest`` that are not online; the online store knows whole seconds."""
        if not len(newest):
            return newest
        wanted = [f"{self.view}:{name}" for name in (CLOSED, KNOWN)]
        with _told(f"asking {self.online.shown}"):
            held = self.feast.get_online_features(
                features=wanted, entity_rows=[{KEY: symbol} for symbol in newest[KEY]]
            ).to_df()
        is_there = pd.Series(True, index=newest.index)
        for name in (CLOSED, KNOWN):
            online_at = pd.to_datetime(held[name], utc=True).dt.floor("s")
            is_there &= newest[name].dt.floor("s") == online_at
        return newest[~is_there]


def _in_utc(rows: pd.DataFrame) -> pd.DataFrame:
    """Instants that say so: PostgreSQL's come without their zone, which is UTC."""
    for name in {"event_timestamp", *INSTANTS} & set(rows):
        rows[name] = pd.to_datetime(rows[name], utc=True).astype("datetime64[us, UTC]")
    return rows


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Feast prints, and draws bars of progress."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """One sentence for whatever Feast and its stores do wrong."""
    remedies = {
        redis.RedisError: "Check TREMOR_REDIS_URL and the server there.",
        psycopg.Error: "Check TREMOR_WAREHOUSE_URL and the role's rights there.",
        duckdb.Error: "Repeat it: files change while `features` stores.",
        FeastError: "Repeat it; then delete the folder feast of TREMOR_STATE_DIR.",
        OSError: "Check TREMOR_STATE_DIR.",
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except tuple(remedies) as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        remedy = next(text for kind, text in remedies.items() if isinstance(error, kind))
        raise FeatureStoreError(f"{what}: {said}. {remedy}") from None
