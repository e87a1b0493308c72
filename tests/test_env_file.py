"""Lines of .env: replaced one by one, whole or not at all."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.entrypoints.dashboard import env_file
from components.errors import SettingsError
from components.settings import read_settings

WANTED = {"alerts_per_year": 5.5, "quorum": 3, "detectors": ("market", "knn", "gmm")}
LINES = "TREMOR_ALERTS_PER_YEAR=5.5\nTREMOR_QUORUM=3\nTREMOR_DETECTORS=market,knn,gmm\n"


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """No setting of this shell."""
    for name in [name for name in os.environ if name.upper().startswith("TREMOR_")]:
        monkeypatch.delenv(name)


def test_a_file_that_is_not_there_is_made_for_its_owner_alone(tmp_path):
    """It may come to hold passwords."""
    path = tmp_path / ".env"
    env_file.put(path, WANTED)
    assert path.read_text() == LINES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = read_settings(_env_file=path)
    assert {name: getattr(found, name) for name in WANTED} == WANTED
    assert [each.name for each in tmp_path.iterdir()] == [".env"]


def test_all_other_lines_and_the_permissions_stay(tmp_path):
    """Comments, secrets, blank lines, quotes over lines, other cases and line ends."""
    path = tmp_path / ".env"
    path.write_bytes(
        b"# who judges\r\nTREMOR_SOURCE=sample\r\n\r\nexport TREMOR_QUORUM=2 # two\r\n"
        b"OTHER='TREMOR_QUORUM=1\r\nstill'\r\ntremor_alerts_per_year=4\r\n# TREMOR_QUORUM=1\r\nX=1"
    )
    path.chmod(0o640)
    env_file.put(path, {"quorum": 3, "alerts_per_year": 8.0, "detectors": ("knn", "gmm", "pump")})
    assert path.read_bytes() == (
        b"# who judges\r\nTREMOR_SOURCE=sample\r\n\r\nTREMOR_QUORUM=3\r\n"
        b"OTHER='TREMOR_QUORUM=1\r\nstill'\r\nTREMOR_ALERTS_PER_YEAR=8\r\n# TREMOR_QUORUM=1\r\n"
        b"X=1\r\nTREMOR_DETECTORS=knn,gmm,pump\r\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_of_a_name_that_is_there_twice_one_line_is_left(tmp_path):
    """The last would win, and an old one below would undo what was written."""
    path = tmp_path / ".env"
    path.write_text("TREMOR_QUORUM=1\nA=1\nTREMOR_QUORUM=2\nB=2\n")
    env_file.put(path, {"quorum": 3})
    assert path.read_text() == "TREMOR_QUORUM=3\nA=1\nB=2\n"


def test_a_link_stays_a_link(tmp_path):
    """The file that it leads to is written."""
    held, path = tmp_path / "shared.env", tmp_path / ".env"
    held.write_text("A=1\n")
    path.symlink_to(held)
    env_file.put(path, {"quorum": 3})
    assert path.is_symlink()
    assert held.read_text() == "A=1\nTREMOR_QUORUM=3\n"


def test_what_the_environment_sets_is_refused(tmp_path, monkeypatch):
    """The line would not be heard; nothing is written."""
    path = tmp_path / ".env"
    path.write_text("TREMOR_QUORUM=2\n")
    monkeypatch.setenv("TREMOR_QUORUM", "2")
    assert env_file.said_elsewhere(WANTED) == ["quorum"]
    with pytest.raises(SettingsError, match="TREMOR_QUORUM is set in the environment"):
        env_file.put(path, WANTED)
    assert path.read_text() == "TREMOR_QUORUM=2\n"


@pytest.mark.parametrize(
    ("old", "said"),
    [(b"A=1\nTREMOR_QUORUM='2\n", "would be read as"), (b"\xff\xfe", "no UTF-8 text")],
)
def test_a_file_in_which_the_lines_would_not_count_is_left_as_it_was(tmp_path, old, said):
    """What is written is read before it takes the file's place."""
    path = tmp_path / ".env"
    path.write_bytes(old + b"TREMOR_DETECTORS=knn,gmm")
    held = path.read_bytes()
    with pytest.raises(SettingsError, match=said):
        env_file.put(path, {**WANTED, "detectors": ("dual",)})
    assert path.read_bytes() == held
    assert [each.name for each in tmp_path.iterdir()] == [".env"]


def test_a_folder_in_the_file_s_place_is_told_in_one_line(tmp_path):
    """With the remedy."""
    path = tmp_path / ".env"
    path.mkdir()
    with pytest.raises(SettingsError, match=r"Write the lines into it by hand"):
        env_file.put(path, WANTED)


@given(
    before=st.lists(
        st.sampled_from(["A=1", "# note", "", "TREMOR_QUORUM=1", "B='x'", "TREMOR_SOURCE=sample"])
    ),
    ends=st.booleans(),
)
def test_lines_that_are_not_meant_are_kept_in_their_order(before, ends):
    """Whatever stands in the file, and however often it is written."""
    old = "\n".join(before) + ("\n" if ends else "")
    new = env_file.with_lines(old, {"quorum": 3})
    others = [line for line in new.splitlines() if not line.startswith("TREMOR_QUORUM")]
    kept = [line for line in before if not line.startswith("TREMOR_QUORUM")]
    assert [line for line in others if line] == [line for line in kept if line]
    assert new.count("TREMOR_QUORUM=3\n") == new.count("TREMOR_QUORUM") == 1
    assert env_file.with_lines(new, {"quorum": 3}) == new


def test_numbers_are_written_as_they_will_be_read():
    """No digit is lost, and none is added."""
    for value in (4.0, 0.1, 4.05, 1 / 3, 100.0, 1e-7):
        line = env_file.line_of("alerts_per_year", value)
        assert float(line.partition("=")[2]) == value
    assert env_file.line_of("alerts_per_year", 4.0) == "TREMOR_ALERTS_PER_YEAR=4"
