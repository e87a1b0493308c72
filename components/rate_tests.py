"""Counts of one day against the references that came with them: no history, no band. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats  # type: ignore[import-untyped, unused-ignore]

from components.errors import SourceFormatError
from components.words import clean

# Columns that hold the counts to be judged, and words that mark references.
ACTUAL = ("today", "actual", "value", "count")
REFERENCES = ("yesterday", "last_week", "last_month", "avg", "average", "mean", "same_day")

# Of a count with a mean of m the references differ among themselves by more than chance: they
# come with a spread of their own, at least this share of the mean.
LEAST_SPREAD = 0.25

# What is more than this is no count of payments, and its square is no number.
MOST = 1e15


@dataclass(frozen=True)
class RateTest:
    r"""A count against the mean of its references, overdispersed.

    .. math:: p = 2 \min(P(X \le x), P(X \ge x)), \quad X \sim NB(m, m + (c m)^2)

    with m the mean of the bin's references and c their usual spread, measured over all bins of
    the day and at least ``least_spread``; where m is 0 X is a Poisson number of mean 1/2.

    Parameters
    ----------
    miss : float
        The share of bins that may be called unusual.
    """

    miss: float = 0.01
    least_spread: float = LEAST_SPREAD

    def run(self, counts: pd.DataFrame) -> pd.DataFrame:
        """Judge each bin.

        Parameters
        ----------
        counts : DataFrame
            time, actual, and the reference columns.

        Returns
        -------
        DataFrame
            time, actual, expected, lower, upper, p, is_outside; NaN and not outside where a bin has
            no reference.
        """
        references = counts.drop(columns=["time", "actual"]).to_numpy(dtype=float)
        actual = counts["actual"].to_numpy(dtype=float)
        n = (~np.isnan(references)).sum(axis=1)
        total = np.nansum(references, axis=1)
        mean = np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)
        spread = self._spread(references, mean)
        law = _law(mean, spread)
        low, high = law.cdf(actual), law.sf(actual - 1)
        p = np.minimum(1.0, 2 * np.minimum(low, high))
        return pd.DataFrame(
            {
                "time": counts["time"],
                "actual": actual,
                "expected": mean,
                "lower": law.ppf(self.miss / 2),
                "upper": law.ppf(1 - self.miss / 2),
                "p": p,
                "is_outside": p <= self.miss,
            }
        )

    def _spread(self, references: np.ndarray, mean: np.ndarray) -> float:
        """How far references lie from their mean, a share of it, beyond what chance makes."""
        n = (~np.isnan(references)).sum(axis=1)
        is_large = (mean >= 5) & (n >= 2)
        if not is_large.any():
            return self.least_spread
        own = np.nanvar(references[is_large], axis=1, ddof=1) - mean[is_large]
        share = np.sqrt(max(float(np.mean(own / mean[is_large] ** 2)), 0.0))
        return float(max(share, self.least_spread))


def _law(mean: np.ndarray, spread: float) -> "stats.rv_frozen":
    mean = np.maximum(mean, 0.5)
    size = 1 / spread**2
    return stats.nbinom(size, size / (size + mean))


def counts_of(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Find the times, the counts and the references among the columns of a day's table.

    Raises
    ------
    SourceFormatError
        No column of times, of counts or of references, no rows, or a cell that is no count.
    """
    named = {str(column).strip().casefold(): column for column in table.columns}
    time = next((named[name] for name in ("time", "hour", "ts") if name in named), None)
    actual = next((named[name] for name in ACTUAL if name in named), None)
    references = [
        column
        for name, column in named.items()
        if column not in (time, actual) and any(word in name for word in REFERENCES)
    ]
    if time is None or actual is None or not references:
        has = clean(", ".join(map(str, table.columns)), 150) or "no columns"
        raise SourceFormatError(
            f"{where}: has {has}. Expected time, today, and references like yesterday, "
            "same_day_last_week, avg_last_week."
        )
    if table.empty:
        raise SourceFormatError(f"{where}: has no rows. Expected one for each bin of a day.")
    found = pd.DataFrame({"time": table[time].astype("str")})
    for name, column in (("actual", actual), *((str(each), each) for each in references)):
        numbers = pd.to_numeric(table[column], errors="coerce").astype(float)
        # A bin may lack a reference, and nothing else.
        is_left_out = table[column].isna() & (name != "actual")
        is_bad = ~(numbers.between(0, MOST) | is_left_out).to_numpy()
        if is_bad.any():
            at, said = int(np.flatnonzero(is_bad)[0]), clean(str(column), 40)
            raise SourceFormatError(
                f"{where}: line {at + 2}, column {said!r} is no count. Mend it."
            )
        found[name] = numbers
    return found
