"""Amazon Athena as a source of payment volumes.

Credentials are AWS's own business: profile, environment (session tokens included), container or
instance, as boto3 finds them; ``AWS_ENDPOINT_URL`` names another server.
"""

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import pandas as pd

from components.errors import (
    RateLimited,
    SourceError,
    SourceFormatError,
    SourceUnavailable,
    SymbolNotFound,
)
from components.sources.queries import CHUNK, QuerySource, Rows, binning, first_line, read_query

POLL_S = 0.5

ACCESS, BUSY, EXPIRED, REGION, SLOW, UNKNOWN, AWAY = (
    "access", "busy", "expired", "region", "slow", "unknown", "away"
)  # fmt: skip

# Codes of AWS's replies, names of boto's errors, and what Athena says of a failed query, in the
# order in which they are looked for.
TROUBLES: Final = {
    "ExpiredToken": EXPIRED, "TokenRefreshRequired": EXPIRED, "SSOTokenLoadError": EXPIRED,
    "UnauthorizedSSOToken": EXPIRED,
    "NoRegion": REGION,
    "Throttl": BUSY, "TooManyRequests": BUSY, "SlowDown": BUSY, "exhausted resources": BUSY,
    "AccessDenied": ACCESS, "Access denied": ACCESS, "Access Denied": ACCESS,
    "not authorized": ACCESS, "insufficient permissions": ACCESS, "Insufficient": ACCESS,
    "UnrecognizedClient": ACCESS, "InvalidSignature": ACCESS, "SignatureDoesNotMatch": ACCESS,
    "InvalidClientTokenId": ACCESS, "NoCredentials": ACCESS, "PartialCredentials": ACCESS,
    "ProfileNotFound": ACCESS,
    "TABLE_NOT_FOUND": UNKNOWN, "SCHEMA_NOT_FOUND": UNKNOWN, "Table with name": UNKNOWN,
    "EndpointConnection": AWAY, "ConnectTimeout": AWAY, "ReadTimeout": AWAY,
    "ConnectionClosed": AWAY, "ProxyConnection": AWAY, "InternalServer": AWAY,
    "ServiceUnavailable": AWAY, "INTERNAL_ERROR": AWAY, "HTTPClient": AWAY,
    "cancelled": AWAY, "CANCELLED": AWAY,
}  # fmt: skip

TOLD: Final[dict[str, tuple[type[SourceError], str]]] = {
    ACCESS: (
        SourceError,
        "access refused ({said}). Check the AWS credentials and that they may query Athena, read "
        "the table in S3 and write TREMOR_ATHENA_OUTPUT.",
    ),
    AWAY: (SourceUnavailable, "Athena did not finish ({said}). Try again later."),
    BUSY: (RateLimited, "Athena asks for patience ({said}). Try again later."),
    EXPIRED: (SourceError, "the AWS session has expired ({said}). Sign in again."),
    REGION: (SourceError, "no AWS region is set. Set AWS_DEFAULT_REGION or the profile's region."),
    SLOW: (
        SourceUnavailable,
        "a month took longer than {seconds} s and was stopped. Partition the table by date, or "
        "raise TREMOR_TIMEOUT_S.",
    ),
    UNKNOWN: (
        SymbolNotFound,
        "{said}. Correct the table in the query, or TREMOR_ATHENA_DATABASE.",
    ),
}


def opened(
    *,
    measures_query: str | Path = "",
    athena_database: str = "default",
    athena_workgroup: str = "primary",
    athena_output: str = "",
    measures_settle_days: float = 3.0,
    timeout_s: float = 30.0,
    **settings: Any,
) -> "Athena":
    """Open Athena with the settings; nothing is asked yet."""
    query = read_query(measures_query, "athena")
    place = f"athena:{athena_workgroup}/{athena_database}"
    return Athena(
        query,
        place,
        binning(**settings),
        measures_settle_days,
        timeout_s,
        database=athena_database,
        workgroup=athena_workgroup,
        output=athena_output,
    )


@dataclass(frozen=True)
class Athena(QuerySource):
    """Athena by database and workgroup; each month is one query.

    Parameters
    ----------
    database, workgroup : str
        Where the query's tables are, and who pays.
    output : str
        ``s3://bucket/prefix`` of results; empty: the workgroup's own.
    """

    name: ClassVar[str] = "athena"

    database: str = field(default="default", kw_only=True)
    workgroup: str = field(default="primary", kw_only=True)
    output: str = field(default="", kw_only=True)

    def rows(self, since: pd.Timestamp, until: pd.Timestamp) -> Rows:
        """Run the query and page through its result; stop it after ``timeout_s``."""
        import pyathena
        from pyathena.error import Error
        from pyathena.util import RetryConfig

        # What it raises it logs as well, with the whole traceback.
        logging.getLogger("pyathena").setLevel(logging.CRITICAL)
        deadline = time.monotonic() + self.timeout_s
        values = {"since": self._bound(since), "until": self._bound(until)}

        def wait(execution: Any) -> None:
            if time.monotonic() > deadline and execution.state in ("QUEUED", "RUNNING"):
                raise TimeoutError

        try:
            connection = pyathena.connect(
                schema_name=self.database,
                work_group=self.workgroup,
                # Empty, not None: an environment variable of PyAthena's would be taken.
                s3_staging_dir=self.output,
                poll_interval=min(POLL_S, self.timeout_s / 4),
                # The caller tries again; here a throttled call is repeated once.
                retry_config=RetryConfig(attempt=2, max_delay=2),
                on_poll=wait,
            )
            with connection, connection.cursor(arraysize=1000) as cursor:
                try:
                    cursor.execute(self.query.prepared, values)
                except TimeoutError:
                    cursor.cancel()
                    raise
                columns = [str(column[0]) for column in cursor.description or ()]
                yield columns, ()
                while part := cursor.fetchmany(CHUNK):
                    yield columns, part
        except TimeoutError:
            raise self._error(SLOW, "") from None
        except Error as error:
            raise self._told(error) from None
        except (ValueError, OverflowError) as error:
            raise self._error("", first_line(error)) from None
        except Exception as error:
            # boto's errors have no common home that this room may import.
            if not type(error).__module__.startswith("botocore"):
                raise
            raise self._told(error) from None

    def _bound(self, instant: pd.Timestamp) -> datetime:
        """A bound as Athena compares it: a time without an offset, in the zone of such times."""
        return instant.tz_convert(self.binning.times).tz_localize(None).to_pydatetime()

    def _told(self, error: BaseException) -> SourceError:
        cause = error.__cause__ or error
        code = str(getattr(cause, "response", {}).get("Error", {}).get("Code", ""))
        said = first_line(error)
        for text in (f"{code} {type(cause).__name__}", said):
            for mark, trouble in TROUBLES.items():
                if mark in text:
                    return self._error(trouble, said)
        return self._error("", said)

    def _error(self, trouble: str, said: str) -> SourceError:
        kind, words = TOLD.get(
            trouble, (SourceFormatError, "the query does not run ({said}). Correct it.")
        )
        told = words.format(said=said.rstrip("."), seconds=f"{self.timeout_s:g}")
        return kind(f"{self.query.name}: {told}", self.query.name)
