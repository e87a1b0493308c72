"""What earlier bars that looked alike teach, in sentences; "" for nothing to say."""

from collections.abc import Sequence

from components.records import Followed, SimilarBar
from components.words import bar_word, counted, moment, percent, times


def looked_alike(similar: Sequence[SimilarBar], interval: str) -> str:
    """The most similar earlier bars, with their dates and moves."""
    if not similar:
        return ""
    named = [f"{moment(each.ts, interval)} ({_signed(each.move)})" for each in similar]
    return f"most similar before: {', '.join(named)}"


def what_followed(followed: Sequence[Followed], n_alike: int, interval: str) -> str:
    """Volatility and return after the similar bars, with intervals; or "no pattern"."""
    if not followed:
        return ""
    word = f"{bar_word(interval)}s"
    wild = [
        f"{times(each.volatility)} ({times(each.volatility_low)} to {times(each.volatility_high)})"
        for each in followed
    ]
    spans = [str(each.n_bars) for each in followed]
    told = [
        f"after the {n_alike} most similar, volatility over {_listed(spans, 'and')} {word} was "
        f"{_listed(wild, 'and')} times the one known before (95 % intervals)"
    ]
    moved = [each for each in followed if not each.move_low <= 0 <= each.move_high]
    told += [
        f"return over {counted(each.n_bars, bar_word(interval))} {_signed(each.move)} on average "
        f"({_signed(each.move_low)} to {_signed(each.move_high)})"
        for each in moved
    ]
    if moved:
        told[-1] += ", which is the past and no forecast"
    still = [str(each.n_bars) for each in followed if each not in moved]
    if still:
        unit = bar_word(interval) if still == ["1"] else word
        told.append(f"no pattern in returns over {_listed(still, 'or')} {unit}")
    return "; ".join(told)


def _listed(items: Sequence[str], last: str) -> str:
    return f" {last} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _signed(fraction: float) -> str:
    return percent(fraction, sign=True)
