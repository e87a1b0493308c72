"""What every page is given: settings, connections, who looks and what he may."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Concatenate, ParamSpec, TypeVar

import pandas as pd

from components.errors import SettingsError
from components.reading import runs
from components.settings import Settings
from components.warehouse import Warehouse
from components.warehouse.pool import Pool

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Held:
    """One visitor's view of one run of a page.

    Parameters
    ----------
    role : str
        "read" or "write".
    now : Timestamp
        The clock when the page was asked for.
    """

    settings: Settings
    pool: Pool
    who: str
    role: str
    now: pd.Timestamp

    @property
    def may_write(self) -> bool:
        """Whether the visitor may acknowledge, snooze, label, fetch, train or promote."""
        return self.role == "write"

    def require_write(self) -> None:
        """Refuse a visitor who may only look: asked where something is stored, whatever was shown.

        Raises
        ------
        SettingsError
            The visitor has no write role.
        """
        if not self.may_write:
            raise SettingsError(f"{self.who or 'this visitor'} may look only. {self.why_not}")

    @property
    def why_not(self) -> str:
        """Why a control is disabled for who may only look, and the remedy, as Markdown; else ""."""
        if self.may_write:
            return ""
        has_login = self.settings.dashboard_oidc is not None
        way = (
            "ask the operator to add you to `TREMOR_DASHBOARD_WRITERS`"
            if has_login
            else "start it with `python main.py dashboard --role write`"
        )
        return f"This needs the write role: {way}."

    def ask(
        self,
        question: Callable[Concatenate[Warehouse, Asked], Answer],
        *args: Asked.args,
        **kwargs: Asked.kwargs,
    ) -> Answer:
        """Put a question of ``components.reading`` to the warehouse."""
        with self.pool.lent() as warehouse:
            return question(warehouse, *args, **kwargs)

    @cached_property
    def last_run(self) -> pd.DataFrame:
        """The last run that judged and finished, a row or none."""
        return self.ask(runs.last)

    @property
    def version(self) -> str:
        """Changes whenever a run has finished: what was read before is then read anew."""
        last = self.last_run
        return "" if last.empty else f"{last['id'].iloc[0]} {last['finished_at'].iloc[0]}"

    @property
    def as_of(self) -> pd.Timestamp:
        """The instant of the last run, which may have been one of old days; now without any."""
        last = self.last_run
        return self.now if last.empty else pd.Timestamp(last["as_of"].iloc[0])
