"""Settings: read in one place, explained in one line, secrets never shown."""

import re
from pathlib import Path

import pytest

from components.detectors import DETECTORS
from components.errors import SettingsError
from components.settings import Settings, read_settings

ROOT = Path(__file__).parents[1]
SECRET = "hunter2-the-password"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Neither the developer's .env nor his environment takes part."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TREMOR_{name.upper()}", raising=False)


def test_the_example_lists_exactly_the_settings():
    """A setting that .env.example does not show does not exist for its user."""
    text = (ROOT / ".env.example").read_text()
    shown = re.findall(r"^# ?TREMOR_([A-Z_]+)=", text, re.MULTILINE)
    assert [name.lower() for name in shown] == list(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        described = " ".join(text.replace("\n# ", " ").split())
        assert " ".join(field.description.split()) in described, name


def test_the_example_as_it_stands_changes_nothing(tmp_path):
    """Copied to .env unedited it gives the defaults."""
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert read_settings() == Settings(_env_file=None)


def test_the_example_uncommented_gives_the_defaults_too(tmp_path):
    """The values it shows are the ones in force when nothing is set."""
    text = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(re.sub(r"^# ?(TREMOR_)", r"\1", text, flags=re.MULTILINE))
    assert read_settings().shown() == Settings(_env_file=None).shown()


def test_lists_and_pairs_are_read_from_text(monkeypatch):
    """Commas, blanks and repeats are how people write lists."""
    monkeypatch.setenv("TREMOR_SYMBOLS", "BTC-USD, SPY,,SPY ")
    monkeypatch.setenv("TREMOR_CALENDARS", "VOD=XLON, ACME=24/7")
    settings = read_settings()
    assert settings.symbols == ("BTC-USD", "SPY")
    assert settings.calendars == {"VOD": "XLON", "ACME": "24/7"}


def test_dual_stands_for_the_micro_and_macro_views():
    """Alone or beside others, each once."""
    views = read_settings(detectors="dual").detectors
    assert len(views) == 7
    assert all(name.startswith(("micro_", "macro_")) for name in views)
    assert set(views) <= set(DETECTORS)
    assert read_settings(detectors="surge, dual,micro_body").detectors == ("surge", *views)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALERTS_PER_YEAR", "four"),
        ("ALERTS_PER_YEAR", "-1"),
        ("ALERTS_PER_YEAR", "nan"),
        ("INTERVAL", "1w"),
        ("HISTORY_YEARS", "0"),
        ("ATTEMPTS", "0"),
        ("CALENDARS", "VOD"),
        ("TIMEOUT_S", "forever"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(monkeypatch, name, value):
    """What, where and the remedy, without a traceback."""
    monkeypatch.setenv(f"TREMOR_{name}", value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert f"TREMOR_{name}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_secrets_do_not_show(monkeypatch):
    """Neither in a manifest, nor in a repr, nor in an error."""
    monkeypatch.setenv("TREMOR_WAREHOUSE_URL", f"postgresql://me:{SECRET}@host/db")
    monkeypatch.setenv("TREMOR_SMTP_URL", f"smtp://me:{SECRET}@host:587")
    monkeypatch.setenv("TREMOR_WEBHOOK_URL", f"https://example.com/{SECRET}")
    monkeypatch.setenv("TREMOR_HEARTBEAT_URL", f"https://example.com/{SECRET}")
    settings = read_settings()
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.shown())
    assert SECRET in settings.smtp_url.get_secret_value()
