"""Instants by this machine's clock, for who names a piece of work by them."""

import time

import pandas as pd


def fresh_instant() -> pd.Timestamp:
    """A second that no run before this one can have had, for an instant names what it fetched."""
    began = pd.Timestamp.now("UTC").floor("s")
    time.sleep(1 - time.time() % 1)
    return max(pd.Timestamp.now("UTC").floor("s"), began + pd.Timedelta(seconds=1))
