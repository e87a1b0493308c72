"""Real histories of Yahoo and Binance: what is let in and what is kept aside, file by file.

The files are not part of this repository; without them the suite is skipped.
"""

import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from components import checks
from components.errors import RateLimited, SourceUnavailable, SymbolNotFound
from components.records import CandleRequest, RawReply
from components.sessions import Calendars
from components.sources import open_source
from tests.yahoo_stand_in import Status, YahooStandIn

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

CALENDARS = Calendars()
LATE = "2027-01-01"

# By folder, a line a file: its name, the instrument, the interval, candles let in, actions let
# in, and how many rows each check kept aside.
TABLE = {
    "yahoo_daily/crypto_crash_windows": """
        FTT-USD__2021-05-09_2022-05-09.csv.gz FTT-USD 1d 366 0
        FTT-USD__2021-12-22_2022-12-22.csv.gz FTT-USD 1d 366 0
        LUNA1-USD__2019-07-26_2022-05-21.csv.gz LUNA1-USD 1d 1031 0
    """,
    "yahoo_daily/crypto_history_format": """
        ADA-USD.csv.gz ADA-USD 1d 2586 0
        BNB-USD.csv.gz BNB-USD 1d 2586 0
        BTC-USD.csv.gz BTC-USD 1d 3735 0
        DOGE-USD.csv.gz DOGE-USD 1d 2586 0
        ETH-USD.csv.gz ETH-USD 1d 2586 0
        LINK-USD.csv.gz LINK-USD 1d 2586 0
        LTC-USD.csv.gz LTC-USD 1d 3735 0
        SOL-USD.csv.gz SOL-USD 1d 1703 0
        TRX-USD.csv.gz TRX-USD 1d 2586 0
        USDT-USD.csv.gz USDT-USD 1d 2586 0
        XRP-USD.csv.gz XRP-USD 1d 2586 0
    """,
    "yahoo_daily/crypto_wide_nan_padded": """
      BTC-USD.csv.gz BTC-USD 1d 2708 0
      ETH-USD.csv.gz ETH-USD 1d 1559 0 before_listing=1149
      LTC-USD.csv.gz LTC-USD 1d 2708 0
      LUNA1-USD.csv.gz LUNA1-USD 1d 935 0 before_listing=1773
      SHIB-USD.csv.gz SHIB-USD 1d 149 0 before_listing=2145 price_not_positive=259 rounded_price=155
      SOL1-USD.csv.gz SOL1-USD 1d 148 0 before_listing=2560 volume_absent=1
    """,
    "yahoo_daily/multiheader_format": """
        BTC-USD.csv.gz BTC-USD 1d 2539 0
        SOL-USD.csv.gz SOL-USD 1d 2074 0
    """,
    "yahoo_daily/odd_cases": """
        AACIW__one_row_only.csv AACIW 1d 1 0
        LUNA__nasdaq_stock_not_the_coin.csv.gz LUNA 1d 4471 0
        SPY__header_only_empty_download.csv SPY 1d 0 0
    """,
    "yahoo_daily/stock_panel": """
        AA.csv.gz AA 1d 5080 0
        AAL.csv.gz AAL 1d 4643 0
        ABBV.csv.gz ABBV 1d 2815 0
        ADBE.csv.gz ADBE 1d 5080 0
        AMD.csv.gz AMD 1d 5080 0
        AMGN.csv.gz AMGN 1d 5080 0
        AMT.csv.gz AMT 1d 5080 0
        BAC.csv.gz BAC 1d 5080 0
        BIIB.csv.gz BIIB 1d 5080 0
        C.csv.gz C 1d 5080 0
        CAT.csv.gz CAT 1d 5080 0
        CCL.csv.gz CCL 1d 5080 0
        COP.csv.gz COP 1d 5080 0
        CRM.csv.gz CRM 1d 4962 0
        CSCO.csv.gz CSCO 1d 5080 0
        CVX.csv.gz CVX 1d 5080 0
        DAL.csv.gz DAL 1d 4242 0
        DE.csv.gz DE 1d 5080 0
        DHR.csv.gz DHR 1d 5080 0
        DIS.csv.gz DIS 1d 5080 0
        DUK.csv.gz DUK 1d 5080 0
        EFX.csv.gz EFX 1d 5080 0
        F.csv.gz F 1d 5080 0
        FCX.csv.gz FCX 1d 5080 0
        FDX.csv.gz FDX 1d 5080 0
        GILD.csv.gz GILD 1d 5080 0
        GM.csv.gz GM 1d 3347 0
        GS.csv.gz GS 1d 5080 0
        HD.csv.gz HD 1d 5080 0
        HON.csv.gz HON 1d 5080 0
        IBM.csv.gz IBM 1d 5080 0
        INTC.csv.gz INTC 1d 5080 0
        JNJ.csv.gz JNJ 1d 5080 0
        JPM.csv.gz JPM 1d 5080 0
        KO.csv.gz KO 1d 5080 0
        KOSS.csv.gz KOSS 1d 5074 0 copied_bar=6
        LLY.csv.gz LLY 1d 5080 0
        LMT.csv.gz LMT 1d 5080 0
        LULU.csv.gz LULU 1d 4183 0
        MAR.csv.gz MAR 1d 5080 0
        MARA.csv.gz MARA 1d 2969 0 bad_tick=1 copied_bar=1 dead_market=9
        MCD.csv.gz MCD 1d 5080 0
        MMM.csv.gz MMM 1d 5080 0
        MRK.csv.gz MRK 1d 5080 0
        MSTR.csv.gz MSTR 1d 5080 0
        MULN.csv.gz MULN 1d 3871 0 bad_tick=2 volume_absent=27
        NEE.csv.gz NEE 1d 5080 0
        NEM.csv.gz NEM 1d 5080 0
        NKE.csv.gz NKE 1d 5080 0
        O.csv.gz O 1d 5080 0
        ORCL.csv.gz ORCL 1d 5080 0
        OXY.csv.gz OXY 1d 5080 0
        PEP.csv.gz PEP 1d 5080 0
        PFE.csv.gz PFE 1d 5080 0
        PG.csv.gz PG 1d 5080 0
        PLUG.csv.gz PLUG 1d 5080 0
        QCOM.csv.gz QCOM 1d 5080 0
        REGN.csv.gz REGN 1d 5080 0
        RTX.csv.gz RTX 1d 5080 0
        SBUX.csv.gz SBUX 1d 5080 0
    """,
    "yahoo_daily/stocks_download_format": """
        AAPL.csv.gz AAPL 1d 10886 0
        GME.csv.gz GME 1d 5541 0
        GOOGL.csv.gz GOOGL 1d 4908 0
        IPL.TO.csv.gz IPL.TO 1d 1225 0 copied_bar=8 not_a_session=2
        MSFT.csv.gz MSFT 1d 9560 0
        QQQ.csv.gz QQQ 1d 6277 0
        SPY.csv.gz SPY 1d 7819 0
        T.csv.gz T 1d 9976 0 price_not_positive=166
        TSLA.csv.gz TSLA 1d 3433 0
        VOO.csv.gz VOO 1d 3383 0
    """,
    "yahoo_daily/stocks_history_format_adjusted": """
        SPY.csv.gz SPY 1d 8363 134
    """,
    "yahoo_raw_json/chart_v8": """
        0P000071W8.TO-2020-01-01-to-2020-01-03.json.gz 0P000071W8.TO 1d 1 0
        0P0000XTS7-2024-09-12-to-2024-09-16.json.gz 0P0000XTS7 1d 2 0
        AAPL-2020-08-31-to-2020-11-07.json.gz AAPL 1d 49 2
        AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m.json.gz AAPL 1m 0 0
        AFRAF-2020-01-01-to-2020-01-03.json.gz AFRAF 1d 1 0
        BTC-USD-2020-01-01-to-2020-01-03.json.gz BTC-USD 1d 3 0
        EURUSD=X-2020-01-01-to-2020-01-03.json.gz EURUSD=X 1d 3 0
        GC=F-2020-01-01-to-2020-01-03.json.gz GC=F 1d 1 0
        MSFT-dividends-2021-02-01-to-2022-01-31.json.gz MSFT 1d 252 4
        NVDA-split-2021-02-01-to-2022-01-31.json.gz NVDA 1d 252 1
        OCDO.L-2020-01-01-to-2020-01-03.json.gz OCDO.L 1d 1 0
        QQQ-2020-01-01-to-2020-01-03.json.gz QQQ 1d 1 0
        TSLA-2010-06-29-to-2023-08-11.json.gz TSLA 1d 3303 0
        WSKT.JK-2020-01-01-to-2020-01-03.json.gz WSKT.JK 1d 1 0
        WSU.DE-2023-08-04-to-2023-08-09.json.gz WSU.DE 1d 3 0
        ibm-long-partial.json.gz IBM 1d 10 17
        inrx-with-null.json.gz INR=X 1d 3 0 null_price=1
        tsla-recent.json.gz TSLA 1d 5 0
    """,
    "yahoo_raw_json/download_v7": """
        historical-AAPL-2020-01-01-to-2020-01-03.csv AAPL 1d 1 0
        historical-BTC-USD-2020-01-01-to-2020-01-03.csv BTC-USD 1d 3 0
        historical-EURUSD=X-2020-01-01-to-2020-01-03.csv EURUSD=X 1d 3 0
        historical-OCDO.L-2020-01-01-to-2020-01-03.csv OCDO.L 1d 1 0
    """,
    "labelled/yahoo_data_errors": """
        1398-HK-1d-bad-div-fixed.csv.gz 1398.HK 1d 647 3 null_price=1
        1398-HK-1d-bad-div.csv.gz 1398.HK 1d 647 3 dividend_not_adjusted=1 null_price=1
        4063-T-1d-bad-div-fixed.csv.gz 4063.T 1d 667 6
        4063-T-1d-bad-div.csv.gz 4063.T 1d 667 6 dividend_not_adjusted=1
        4063-T-1d-bad-stock-split-fixed.csv.gz 4063.T 1d 22 2
        4063-T-1d-bad-stock-split.csv.gz 4063.T 1d 13 2 split_not_applied=9
        ABDP-L-1d-bad-div-fixed.csv.gz ABDP.L 1d 621 5 ohlc_order=44
        ABDP-L-1d-bad-div.csv.gz ABDP.L 1d 621 0 dividend_out_of_scale=5 ohlc_order=44
        AET-L-1d-100x-error-fixed.csv.gz AET.L 1d 23 0
        AET-L-1d-100x-error.csv.gz AET.L 1d 0 0 hundredfold=23
        ASAI-L-1h-bad-unit-fixed.csv.gz ASAI.L 1h 20 0 volume_absent=1
        ASAI-L-1h-bad-unit.csv.gz ASAI.L 1h 19 0 hundredfold=1
        CALM-1d-no-bad-divs.csv.gz CALM 1d 662 10
        CNE-L-1d-bad-stock-split-fixed.csv.gz CNE.L 1d 10 2
        CNE-L-1d-bad-stock-split.csv.gz CNE.L 1d 9 2 split_not_applied=1
        DODFX-1d-cg-double-count-fixed.csv.gz DODFX 1d 502 3
        DODFX-1d-cg-double-count.csv.gz DODFX 1d 502 3 dividend_adjusted_twice=1
        ELCO-L-1d-bad-div-fixed.csv.gz ELCO.L 1d 356 5 ohlc_order=309
        ELCO-L-1d-bad-div.csv.gz ELCO.L 1d 356 0 dividend_out_of_scale=5 ohlc_order=309
        HSBK-IL-1d-no-bad-divs.csv.gz HSBK.IL 1d 665 3
        JENYX-1d-cg-double-count-fixed.csv.gz JENYX 1d 1256 20
        JENYX-1d-cg-double-count.csv.gz JENYX 1d 1256 20 dividend_adjusted_twice=5
        KEN-TA-1d-bad-div-fixed.csv.gz KEN.TA 1d 646 4 null_price=1 ohlc_order=4
        KEN-TA-1d-bad-div.csv.gz KEN.TA 1d 646 4 dividend_not_adjusted=1 null_price=1 ohlc_order=4 repeated_dividend=1
        KMR-L-1d-no-bad-divs.csv.gz KMR.L 1d 663 5 ohlc_order=2
        LSC-L-1d-bad-div-fixed.csv.gz LSC.L 1d 479 5 hundredfold=82 ohlc_order=109
        LSC-L-1d-bad-div.csv.gz LSC.L 1d 479 1 dividend_out_of_scale=4 hundredfold=82 ohlc_order=109
        NVT-L-1d-bad-div-fixed.csv.gz NVT.L 1d 442 5 hundredfold=35 ohlc_order=248
        NVT-L-1d-bad-div.csv.gz NVT.L 1d 442 4 dividend_out_of_scale=1 hundredfold=35 ohlc_order=248
        REL-L-1d-bad-div-fixed.csv.gz REL.L 1d 663 6 null_price=1 ohlc_order=1
        REL-L-1d-bad-div.csv.gz REL.L 1d 663 0 dividend_out_of_scale=6 null_price=1 ohlc_order=1
        SAND-1d-bad-div-fixed.csv.gz SAND 1d 662 10
        SAND-1d-bad-div.csv.gz SAND 1d 662 10 repeated_dividend=1
        SERE-L-1d-bad-div-fixed.csv.gz SERE.L 1d 646 10 ohlc_order=19
        SERE-L-1d-bad-div.csv.gz SERE.L 1d 646 10 dividend_not_adjusted=10 ohlc_order=19
        SSNLF-1d-bad-div-fixed.csv.gz SSNLF 1d 2310 68 copied_bar=495 dead_market=3196 null_price=242 split_not_applied=16
        SSNLF-1d-bad-div.csv.gz SSNLF 1d 2310 68 copied_bar=495 dead_market=3196 dividend_adjusted_twice=58 null_price=242 split_not_applied=16
        TEM-L-1d-bad-div-fixed.csv.gz TEM.L 1d 665 5
        TEM-L-1d-bad-div.csv.gz TEM.L 1d 665 5 dividend_not_adjusted=5 dividend_out_of_scale=1
        TEP-PA-1d-bad-div-fixed.csv.gz TEP.PA 1d 676 3 ohlc_order=1
        TEP-PA-1d-bad-div.csv.gz TEP.PA 1d 676 3 ohlc_order=1 repeated_dividend=1
        VWILX-1d-cg-double-count-fixed.csv.gz VWILX 1d 502 2
        VWILX-1d-cg-double-count.csv.gz VWILX 1d 502 2 dividend_adjusted_twice=2
    """,  # noqa: E501 - a line a file
    "binance_klines/daily_perpetuals": """
        1000LUNC_USDT_1d.csv.gz 1000LUNC_USDT 1d 1368 0
        1000SHIB_USDT_1d.csv.gz 1000SHIB_USDT 1d 1855 0
        ADA_USDT_1d.csv.gz ADA_USDT 1d 2190 0
        AVAX_USDT_1d.csv.gz AVAX_USDT 1d 2075 0
        BNB_USDT_1d.csv.gz BNB_USDT 1d 2190 0
        BTC_USDT_1d.csv.gz BTC_USDT 1d 2190 0
        CHZ_USDT_1d.csv.gz CHZ_USDT 1d 1964 0
        DOGE_USDT_1d.csv.gz DOGE_USDT 1d 2150 0
        ETC_USDT_1d.csv.gz ETC_USDT 1d 2335 0
        ETH_USDT_1d.csv.gz ETH_USDT 1d 2190 0
        FET_USDT_1d.csv.gz FET_USDT 1d 1229 0
        FIL_USDT_1d.csv.gz FIL_USDT 1d 2052 0
        FTT_USDT_1d.csv.gz FTT_USDT 1d 244 0 dead_market=1271
        GALA_USDT_1d.csv.gz GALA_USDT 1d 1724 0
        HBAR_USDT_1d.csv.gz HBAR_USDT 1d 1900 0
        HIGH_USDT_1d.csv.gz HIGH_USDT 1d 1217 0
        ICP_USDT_1d.csv.gz ICP_USDT 1d 1350 0
        ID_USDT_1d.csv.gz ID_USDT 1d 1164 0
        LINK_USDT_1d.csv.gz LINK_USDT 1d 2190 0
        LTC_USDT_1d.csv.gz LTC_USDT 1d 2342 0
        NEAR_USDT_1d.csv.gz NEAR_USDT 1d 2053 0
        OP_USDT_1d.csv.gz OP_USDT 1d 1468 0
        SEI_USDT_1d.csv.gz SEI_USDT 1d 1026 0
        SOL_USDT_1d.csv.gz SOL_USDT 1d 2084 0
        SUI_USDT_1d.csv.gz SUI_USDT 1d 1123 0
        TIA_USDT_1d.csv.gz TIA_USDT 1d 951 0
        WLD_USDT_1d.csv.gz WLD_USDT 1d 1041 0
        XMR_USDT_1d.csv.gz XMR_USDT 1d 2317 0
        XRP_USDT_1d.csv.gz XRP_USDT 1d 2190 0
        ZEC_USDT_1d.csv.gz ZEC_USDT 1d 2190 0
    """,
}

# Bodies that are no candles: each is answered with an error, or with no rows.
NO_CANDLES = {
    "yahoo_raw_json/download_v7/historical-BEKE-2020-01-01-to-2020-01-03__http400.txt",
    "yahoo_raw_json/errors/chart-unknown-or-delisted-symbol__http404.quoted.json",
    "yahoo_raw_json/errors/missing-parameter__bad-request.json",
    "yahoo_raw_json/errors/quoteSummary-unknown-symbol__http404.json",
    "yahoo_raw_json/errors/rate-limited__http429.quoted.txt",
}

CASES = [
    (f"{folder}/{name}", symbol, interval, int(n_candles), int(n_actions), tuple(refused))
    for folder, text in TABLE.items()
    for name, symbol, interval, n_candles, n_actions, *refused in (
        line.split() for line in text.split("\n") if line.strip()
    )
]


def utc(text):
    return pd.Timestamp(text, tz="UTC")


def reply_of(path, symbol, interval="1d", observed_at=LATE):
    request = CandleRequest(symbol, interval, utc("1900-01-01"), utc(LATE), utc(LATE))
    body = (DATA / path).read_bytes()
    details = {"kind": "file", "files": path.rpartition("/")[2]}
    return RawReply("files", request, "", 200, utc(observed_at), body, details)


def judged(path, symbol, interval="1d", observed_at=LATE, stored=None):
    reply = reply_of(path, symbol, interval, observed_at)
    parsed = open_source("files", files_root=DATA).parse(reply)
    stored = pd.DataFrame() if stored is None else stored
    return parsed, *checks.apply([(reply, parsed)], stored, CALENDARS)


def closes(path, symbol):
    candles = judged(path, symbol)[1]
    return candles.set_index(candles["ts"].dt.strftime("%Y-%m-%d"))["close"]


def test_every_file_is_in_the_table():
    """A file outside the table would silently go untested."""
    folders = ["yahoo_daily", "yahoo_raw_json", "labelled/yahoo_data_errors"]
    folders.append("binance_klines/daily_perpetuals")
    found = {
        str(path.relative_to(DATA))
        for folder in folders
        for path in (DATA / folder).rglob("*.*")
        if path.name != "index.csv"
    }
    assert found == {case[0] for case in CASES} | NO_CANDLES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_each_file_gives_its_numbers(case):
    """Exactly so many candles and actions, and so many rows under each check's name."""
    path, symbol, interval, n_candles, n_actions, refused = case
    parsed, candles, actions, quarantine = judged(path, symbol, interval)
    found = Counter(quarantine["check_name"])
    assert sorted(f"{name}={n}" for name, n in found.items()) == sorted(refused)
    assert (len(candles), len(actions)) == (n_candles, n_actions)
    # Of a noted row there is an entry, and the row is let in.
    is_noted = quarantine["check_name"].isin(checks.NOTES)
    n_refused = sum((quarantine["line"] >= 0) & ~is_noted)
    assert len(candles) + n_refused == len(parsed.candles)
    assert candles["ts"].is_monotonic_increasing
    assert candles["ts"].is_unique


@pytest.mark.parametrize(
    ("path", "symbol", "known"),
    [
        (
            "yahoo_daily/crypto_history_format/BTC-USD.csv.gz",
            "BTC-USD",
            {"2020-03-12": 4970.788, "2014-09-17": 457.334},
        ),
        (
            "yahoo_daily/crypto_crash_windows/LUNA1-USD__2019-07-26_2022-05-21.csv.gz",
            "LUNA1-USD",
            {"2022-05-08": 64.08, "2022-05-10": 17.52, "2022-05-11": 1.07, "2022-05-12": 0.00356},
        ),
        (
            "yahoo_daily/crypto_crash_windows/FTT-USD__2021-12-22_2022-12-22.csv.gz",
            "FTT-USD",
            {"2022-11-07": 22.14, "2022-11-08": 5.52, "2022-11-09": 2.30},
        ),
        ("yahoo_daily/stocks_download_format/GME.csv.gz", "GME", {"2021-01-27": 86.8775}),
        ("yahoo_daily/crypto_history_format/DOGE-USD.csv.gz", "DOGE-USD", {"2021-01-28": 0.0342}),
        ("yahoo_daily/crypto_history_format/TRX-USD.csv.gz", "TRX-USD", {"2024-12-03": 0.4279}),
        # As traded before the split of 2021-07-20, four new shares for one.
        (
            "yahoo_raw_json/chart_v8/NVDA-split-2021-02-01-to-2022-01-31.json.gz",
            "NVDA",
            {"2021-07-19": 75.13, "2021-07-20": 18.61},
        ),
    ],
)
def test_known_prices(path, symbol, known):
    """The days that everybody remembers are there, as they were."""
    found = closes(path, symbol)
    for date, close in known.items():
        assert found[date] == pytest.approx(close, rel=0.01)


def test_spy_keeps_its_flash_crash():
    """The lows of 2010-05-06, 2015-08-24 and 2020-03-23 are real."""
    candles = judged("yahoo_daily/stocks_download_format/SPY.csv.gz", "SPY")[1]
    low = candles.set_index("ts")["low"]
    assert low[utc("2010-05-06")] == 105.0
    assert low[utc("2015-08-24")] == 182.4
    assert low[utc("2020-03-23")] == 218.26


@pytest.mark.parametrize(
    ("path", "symbol", "date"),
    [
        ("yahoo_daily/crypto_history_format/BTC-USD.csv.gz", "BTC-USD", "2024-12-07"),
        ("yahoo_daily/crypto_wide_nan_padded/BTC-USD.csv.gz", "BTC-USD", "2022-02-14"),
        (
            "yahoo_daily/crypto_crash_windows/FTT-USD__2021-05-09_2022-05-09.csv.gz",
            "FTT-USD",
            "2022-05-09",
        ),
        ("yahoo_daily/stocks_download_format/AAPL.csv.gz", "AAPL", "2024-02-16"),
    ],
)
def test_the_last_row_of_a_download_in_the_day_is_unfinished(path, symbol, date):
    """Promise 1: observed at noon, the day's bar is not in."""
    _, candles, _, quarantine = judged(path, symbol, observed_at=f"{date} 12:00")
    last = quarantine[quarantine["check_name"] == "unfinished_bar"]
    assert last["ts"].tolist() == [utc(date)]
    assert candles["ts"].max() < utc(date)


def test_two_files_of_one_coin_make_one_history(tmp_path):
    """139 days overlap: 138 agree, and of the unfinished one the longer file is believed."""
    for path in (DATA / "yahoo_daily/crypto_crash_windows").glob("FTT-USD__*"):
        shutil.copy(path, tmp_path)
    source = open_source("files", files_root=tmp_path)
    request = CandleRequest("FTT-USD", "1d", utc("2000-01-01"), utc(LATE), utc(LATE))
    reply = source.fetch(request)
    candles, _, quarantine = checks.apply([(reply, source.parse(reply))], pd.DataFrame(), CALENDARS)
    assert Counter(quarantine["check_name"]) == {"repeated_bar": 138, "conflicting_copy": 1}
    assert len(candles) == 366 + 366 - 139
    assert quarantine.loc[quarantine["check_name"] == "conflicting_copy", "ts"].tolist() == [
        utc("2022-05-09")
    ]


def test_the_name_of_solana_was_given_away():
    """1.24 where Solana closed at 132.13: the whole reply is kept aside."""
    solana = judged("yahoo_daily/crypto_history_format/SOL-USD.csv.gz", "SOL1-USD")[1]
    _, candles, _, quarantine = judged(
        "yahoo_daily/crypto_wide_nan_padded/SOL1-USD.csv.gz", "SOL1-USD", stored=solana
    )
    assert candles.empty
    # The empty rows since Solana's first stored candle, 2020-04-10, are holes.
    assert Counter(quarantine["check_name"]) == {
        "before_listing": 2032,
        "null_price": 528,
        "other_instrument": 148,
    }


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_the_file_of_another_coin_does_not_break_solana(order, tmp_path):
    """148 bars at a hundredth of the price, and 2560 empty ones: that file is refused whole."""
    for name, path in zip(
        order,
        ("crypto_history_format/SOL-USD.csv.gz", "crypto_wide_nan_padded/SOL1-USD.csv.gz"),
        strict=True,
    ):
        shutil.copy(DATA / "yahoo_daily" / path, tmp_path / f"SOL-USD__{name}.csv.gz")
    source = open_source("files", files_root=tmp_path)
    request = CandleRequest("SOL-USD", "1d", utc("2000-01-01"), utc(LATE), utc(LATE))
    reply = source.fetch(request)
    candles, _, quarantine = checks.apply([(reply, source.parse(reply))], pd.DataFrame(), CALENDARS)
    assert Counter(quarantine["check_name"]) == {"other_instrument": 2708}
    assert len(candles) == 1703
    assert candles["close"].pct_change().min() > -0.5


def test_two_downloads_of_one_coin_are_no_other_instrument():
    """The same coin from three sources: corrections, nothing kept aside but padding."""
    stored = judged("yahoo_daily/crypto_history_format/BTC-USD.csv.gz", "BTC-USD")[1]
    for folder in ("crypto_wide_nan_padded", "multiheader_format"):
        path = f"yahoo_daily/{folder}/BTC-USD.csv.gz"
        quarantine = judged(path, "BTC-USD", stored=stored)[3]
        assert quarantine.empty


@pytest.mark.parametrize("fault", ["100x-error", "bad-unit", "bad-stock-split"])
def test_rows_that_yfinance_mends_are_kept_aside(fault):
    """Where the file and its mended twin disagree, a unit or a split was the reason.

    Of AET nothing is let in: both units are in it from the start, and without earlier candles
    nobody knows which is right.
    """
    for path in sorted((DATA / "labelled/yahoo_data_errors").glob(f"*-{fault}.csv.gz")):
        case = next(case for case in CASES if case[0].endswith(path.name))
        _, candles, _, quarantine = judged(*case[:3])
        twin = case[0].replace(".csv.gz", "-fixed.csv.gz")
        mended = judged(twin, *case[1:3])[1].set_index("ts")["close"]
        both = candles.set_index("ts")["close"] / mended
        apart = both.dropna()[(both.dropna() - 1).abs() > 0.05]
        assert len(quarantine) > 0
        assert apart.empty
        assert candles.empty == path.name.startswith("AET")


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("chart-unknown-or-delisted-symbol__http404.quoted.json", 404, SymbolNotFound),
        ("rate-limited__http429.quoted.txt", 429, RateLimited),
        ("missing-parameter__bad-request.json", 400, SourceUnavailable),
        ("quoteSummary-unknown-symbol__http404.json", 404, SourceUnavailable),
    ],
)
def test_real_error_bodies_have_their_kind(name, status, error, tmp_path):
    """What Yahoo said when it had nothing to say."""
    body = (DATA / "yahoo_raw_json/errors" / name).read_bytes()
    with YahooStandIn({"ACME": Status(status, body)}) as server:
        source = open_source(
            "yahoo", yahoo_url=server.url, yahoo_requests_per_second=1000, state_dir=tmp_path
        )
        with pytest.raises(error):
            source.fetch(CandleRequest("ACME", "1d", utc("2024-01-01"), utc(LATE), utc(LATE)))


def test_a_range_before_the_listing_has_no_rows():
    """Plain text with status 400 is an answer: no bars."""
    name = "historical-BEKE-2020-01-01-to-2020-01-03__http400.txt"
    reply = reply_of(f"yahoo_raw_json/download_v7/{name}", "BEKE")
    assert open_source("yahoo").parse(reply).candles.empty


def test_real_charts_pass_the_source_itself():
    """The strict reader, which compares instrument and interval, takes each recorded body."""
    source = open_source("yahoo")
    for path, symbol, interval, *_ in CASES:
        if "/chart_v8/" in path:
            reply = reply_of(path, symbol, interval)
            body = gzip.decompress(reply.body)
            meta = json.loads(body)["chart"]["result"][0]["meta"]
            request = CandleRequest(
                meta["symbol"], interval, utc("1900-01-01"), utc(LATE), utc(LATE)
            )
            direct = source.parse(RawReply("yahoo", request, "", 200, utc(LATE), body))
            of_file = open_source("files", files_root=DATA).parse(reply)
            pd.testing.assert_frame_equal(direct.candles, of_file.candles)
