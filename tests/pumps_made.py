"""Two coins with a pump each and one only listed, in the files that the benchmark reads."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd

MINUTE = pd.Timedelta(minutes=1)
T0 = pd.Timestamp("2021-01-05T12:00", tz="UTC")
N_MINUTES, PUMP = 900, 700
KLINE = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume"),
    *("count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
EVENT = {
    "onset_25s_chunk_utc": "",
    "price_effect": "yes",
    "other_pump_of_same_coin_in_window": "",
}


def trades(seed, *, pumps=True):
    """A thin coin's trades, a few a minute; at the pump 60 takers buy through three levels each."""
    random = np.random.default_rng(seed)
    ts = np.sort(random.integers(0, N_MINUTES * 60_000, 3 * N_MINUTES))
    price = 1e-5 * np.exp(np.cumsum(2e-4 * random.standard_normal(len(ts))))
    usual = pd.DataFrame({"ms": ts, "price": price, "amount": random.exponential(100, len(ts))})
    usual["side"] = random.choice(["buy", "sell"], len(ts))
    if not pumps:
        return usual
    at = PUMP * 60_000 + np.repeat(np.arange(60) * 300 + 500, 3)
    before = price[np.searchsorted(ts, at[0])]
    rise = before * np.linspace(1.01, 1.4, len(at))
    pump = pd.DataFrame({"ms": at, "price": rise, "amount": 5_000.0, "side": "buy"})
    return pd.concat([usual, pump]).sort_values("ms", kind="stable", ignore_index=True)


def klines(rows):
    """The trades summed to minutes, in the columns of a kline; minutes without trade are absent."""
    minute = (rows["ms"] // 60_000) * 60_000 + T0.value // 10**6
    price = rows["price"].groupby(minute)
    table = pd.DataFrame(0, index=price.first().index, columns=list(KLINE[1:]), dtype=float)
    for name, how in (("open", "first"), ("high", "max"), ("low", "min"), ("close", "last")):
        table[name] = price.agg(how)
    table["volume"] = rows["amount"].groupby(minute).sum()
    return table.rename_axis("open_time").reset_index()[list(KLINE)]


def write_pumps(folder: Path) -> Path:
    """Write the events, their trades and their minutes; gives the folder."""
    rows = []
    made = {"AAABTC": trades(1), "BBBBTC": trades(2), "CCCBTC": trades(3, pumps=False)}
    for part in ("trades", "klines_1m_from_trades"):
        (folder / part).mkdir()
    for symbol, own in made.items():
        name = f"{symbol}_{T0:%Y-%m-%d}"
        instants = T0 + pd.to_timedelta(own["ms"], unit="ms")
        _write(folder / "klines_1m_from_trades" / f"{name}.csv.gz", klines(own))
        stored = own.assign(symbol=symbol, timestamp=own["ms"] + T0.value // 10**6)
        _write(folder / "trades" / f"{name}.csv.gz", stored.drop(columns="ms"))
        row = {
            **EVENT,
            "file": name,
            "symbol": symbol,
            "announced_utc": str((T0 + PUMP * MINUTE).tz_localize(None)),
            "first_trade_utc": str(instants.iloc[0].tz_localize(None)),
            "last_trade_utc": str(instants.iloc[-1].tz_localize(None)),
        }
        if symbol == "BBBBTC":
            row["onset_25s_chunk_utc"] = str((T0 + PUMP * MINUTE).tz_localize(None))
        if symbol == "CCCBTC":
            row["price_effect"] = "no"
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "events_with_trades.csv", index=False)
    return folder


def write_large(folder: Path) -> Path:
    """Write coins that nobody pumps: two in lists of six numbers, one with a hole of two days."""
    part = folder / "spot_1m"
    part.mkdir(parents=True)
    for symbol, seed in (("DDDUSDT", 5), ("EEEUSDT", 6)):
        table = klines(trades(seed, pumps=False))[list(KLINE[:6])]
        if symbol == "EEEUSDT":
            late = table["open_time"] > table["open_time"].iloc[500]
            table["open_time"] += late * 2 * 86_400_000
        body = json.dumps(table.to_numpy().tolist()).encode()
        (part / f"{symbol}.json.gz").write_bytes(gzip.compress(body))
    (folder / "daily").mkdir()
    (folder / "daily" / "FFFUSDT_1d.csv").write_text("not read")
    return folder


def _write(path, table):
    path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
