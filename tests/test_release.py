"""The audit of what the image holds keeps its policy; a release lists its parts."""

import datetime
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from packaging.requirements import Requirement

from tests.terminal import ROOT

LOCK = "alpha==1.0 --hash=sha256:{0}\nbeta==2.0 --hash=sha256:{0}\n".format("0" * 64)
FLAW = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "aliases": ["CVE-2026-1"],
    "summary": "a flaw",
    "modified": "2026-01-01T00:00:00Z",
    "published": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "alpha", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
            "versions": ["1.0"],
        }
    ],
}
ACCEPTED = (
    '[[accepted]]\nid = "CVE-2026-1"\npackage = "alpha"\nreason = "never called"\nuntil = {}\n'
)


SOON = f"{datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=30)}"


class Advisories(BaseHTTPRequestHandler):
    """Answers as the public advisory service does: one package has a flaw."""

    def do_POST(self):
        """What is known of a package's version."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked["package"]["name"])
        found = {"vulns": [FLAW]} if asked["package"]["name"] == self.server.flawed else {}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def service():
    """An advisory service on loopback that knows one flaw."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    server.asked, server.flawed = [], "alpha"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def audit(tmp_path, url, *more, accepted="", lock=LOCK):
    """Run the audit over a lock file."""
    (tmp_path / "lock.txt").write_text(lock)
    (tmp_path / "accepted.toml").write_text(accepted)
    command = [sys.executable, str(ROOT / ".ci/audit"), "--lock", str(tmp_path / "lock.txt")]
    command += ["--accepted", str(tmp_path / "accepted.toml"), "--service", url, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def address(service):
    return f"http://127.0.0.1:{service.server_port}/v1/query"


def test_a_known_flaw_fails_the_audit(service, tmp_path):
    """It names the package, the advisory, and the release that mends it."""
    code, said = audit(tmp_path, address(service))
    assert code == 1
    assert "alpha 1.0: CVE-2026-1, mended in 1.1" in said
    assert "beta" not in said


def test_no_flaw_passes_and_every_package_was_asked_for(service, tmp_path):
    """All that the lock file pins."""
    service.flawed = ""
    code, said = audit(tmp_path, address(service))
    assert (code, sorted(service.asked)) == (0, ["alpha", "beta"])
    assert "2 packages, 0 accepted, 0 to mend" in said


@pytest.mark.parametrize(
    ("until", "flawed", "code", "words"),
    [
        (SOON, "alpha", 0, "1 accepted, 0 to mend"),
        ("2020-01-01", "alpha", 1, "which is over"),
        ("2999-01-01", "alpha", 1, "more than 180 days"),
        ('"soon"', "alpha", 1, "has a last day"),
        (SOON, "", 1, "found no more. Remove it"),
        (SOON, "beta", 1, "beta 2.0: CVE-2026-1"),
    ],
)
def test_an_accepted_flaw_passes_until_its_day(until, flawed, code, words, service, tmp_path):
    """For the one package, by any of its names; and no longer than it is needed."""
    service.flawed = flawed
    seen, said = audit(tmp_path, address(service), accepted=ACCEPTED.format(until))
    assert seen == code
    assert words in said


@pytest.mark.parametrize("lacking", ["reason", "package", "id"])
def test_an_acceptance_without_its_reason_is_refused(lacking, service, tmp_path):
    """Nobody could say later why."""
    kept = [line for line in ACCEPTED.format(SOON).splitlines() if not line.startswith(lacking)]
    code, said = audit(tmp_path, address(service), accepted="\n".join(kept))
    assert (code, "has an id, a package and a reason" in said) == (1, True)


def test_an_acceptance_for_another_package_is_not_needed(service, tmp_path):
    """The same advisory, accepted twice: one of them covers nothing."""
    accepted = ACCEPTED.format(SOON) + ACCEPTED.format(SOON).replace("alpha", "beta")
    code, said = audit(tmp_path, address(service), accepted=accepted)
    assert (code, "beta: CVE-2026-1: accepted, and found no more" in said) == (1, True)


def test_a_lock_file_without_packages_is_no_clean_one(service, tmp_path):
    """An empty list has no flaw, and is not what is shipped."""
    code, said = audit(tmp_path, address(service), lock="")
    assert (code, "pins no package" in said) == (1, True)


def test_an_audit_that_was_not_done_says_so(tmp_path):
    """It is not clean; a release may require it."""
    code, said = audit(tmp_path, "http://127.0.0.1:1/v1/query")
    assert (code, "NOT DONE" in said) == (0, True)
    assert audit(tmp_path, "http://127.0.0.1:1/v1/query", "--require")[0] == 3


def test_every_lock_file_has_hashes():
    """What is installed is what was resolved, to the byte."""
    for name in (
        "requirements.txt",
        "requirements-local.txt",
        "requirements-models.txt",
        "requirements-spark.txt",
        "requirements-web.txt",
        "requirements-served.txt",
        "requirements-dev.txt",
        "requirements-flows.txt",
    ):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        pins = [line for line in text.splitlines() if "==" in line]
        assert len(pins) > 20, name
        assert all("--hash=sha256:" in line for line in pins), name


def test_a_release_lists_its_parts(tmp_path):
    """Source, the list of parts, their sums: each pinned package of the image with its version."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-s", "-C", str(ROOT), "release", f"DIST={tmp_path}"],
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (listed,) = tmp_path.glob("*.cdx.json")
    parts = json.loads(listed.read_text())
    assert parts["bomFormat"] == "CycloneDX"
    found = [(part["name"], part["version"]) for part in parts["components"]]
    shown = ["git", "show", "HEAD:requirements.txt"]
    lock = subprocess.run(shown, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries = [line.rstrip(" \\") for line in lock.splitlines() if "==" in line and line[0] != " "]
    wanted = [Requirement(entry) for entry in entries]
    here = {r.name: str(r.specifier)[2:] for r in wanted if not r.marker or r.marker.evaluate()}
    # The image is of Linux and Python 3.11, as this machine may be or not be.
    assert len(dict(found)) == len(found) < len(entries)
    assert dict(found) == here or sys.version_info[:2] != (3, 11) or sys.platform != "linux"
    (source,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(source) as packed:
        names = packed.getnames()
    assert any(name.endswith("/main.py") for name in names)
    assert not any("/.env" in name and not name.endswith(".example") for name in names)
    for line in (tmp_path / "SHA256SUMS").read_text().splitlines():
        sha, name = line.split()
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == sha
