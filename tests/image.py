"""The image, built from the checkout without a container engine, and run with a read-only root.

The base is a Debian with this machine's Python, made once and kept under ``.venv/image``: no
registry is asked. buildah builds the Dockerfile upon it; a run gets namespaces of its own.
"""

import fcntl
import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KEPT = (ROOT / ".venv" / "image").resolve()
BASE = "localhost/python:3.11-slim-bookworm"
KEPT_LAYERS = 150
LACKING = "buildah, debootstrap or root's rights, which building an image needs, are not here"

# What a Python made from source needs of Debian, beside a minimal system.
LIBRARIES = (
    "ca-certificates,netbase,tzdata,libbz2-1.0,libffi8,liblzma5,libncursesw6,libreadline8,"
    "libsqlite3-0,libssl3,libuuid1,zlib1g"
)
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"

# Runs as root in a mount namespace of its own: the root becomes read-only, two places stay.
ENTER = """
set -e
root=$1; state=$2; scratch=$3; shift 3
mount --bind "$root" "$root"
mount --bind "$state" "$root/var/lib/tremor"
mount --bind "$scratch" "$root/tmp"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero random urandom; do
  : > "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/shm"; mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/mnt"
while [ "$1" != -- ]; do
  from=$1; to=$root$2; shift 2
  if [ -d "$from" ]; then mkdir -p "$to"; else mkdir -p "${to%/*}"; : > "$to"; fi
  mount --bind "$from" "$to"
  mount -o remount,bind,ro "$to"
done
shift
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --no-new-privs --clear-groups --bounding-set=-all --inh-caps=-all "$@"
"""


def lacking():
    """Why no image can be built on this machine; empty when it can."""
    has_tools = all(map(shutil.which, ("buildah", "debootstrap", "unshare", "setpriv")))
    return "" if has_tools and os.geteuid() == 0 else LACKING


def buildah(*arguments):
    """Run buildah over the store under ``.venv``; gives what it prints."""
    KEPT.mkdir(parents=True, exist_ok=True)
    places = ("--root", str(KEPT / "store"), "--runroot", str(KEPT / "run"))
    done = subprocess.run(
        ["buildah", "--storage-driver", "overlay", *places, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@contextmanager
def alone():
    """Be the only process that makes something in the store."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_base():
    """Make the base once: Debian's minimum, and this machine's Python as /usr/local holds it."""
    with alone():
        _make_base()


def _make_base():
    recipe = hashlib.sha256((inspect.getsource(_make_base) + LIBRARIES + sys.version).encode())
    # In the store itself, so that both go together.
    stamp = KEPT / "store" / f"base-{recipe.hexdigest()[:16]}"
    if stamp.exists():
        return
    folder = KEPT / "base"
    shutil.rmtree(folder, ignore_errors=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={LIBRARIES}", "bookworm", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    shutil.rmtree(folder / "var/cache/apt/archives")
    shutil.rmtree(folder / "var/lib/apt/lists")
    python, local = Path(sys.base_prefix), folder / "usr/local"
    name = f"python3.{sys.version_info.minor}"
    for library in python.glob("lib/libpython*.so*"):
        shutil.copy2(library, local / "lib", follow_symlinks=False)
    installers = ("pip", "setuptools", "wheel", "_distutils_hack", "pkg_resources")
    shutil.copytree(
        python / "lib" / name,
        local / "lib" / name,
        symlinks=True,
        ignore=shutil.ignore_patterns("__pycache__", "test", "tests", "*.a", "site-packages"),
    )
    (packages := local / "lib" / name / "site-packages").mkdir()
    for found in (python / "lib" / name / "site-packages").iterdir():
        if found.is_dir() and found.name.startswith(installers):
            shutil.copytree(found, packages / found.name)
    for program in (name, f"{name}-config", "pip", "pip3"):
        if (python / "bin" / program).exists():
            shutil.copy2(python / "bin" / program, local / "bin")
    (local / "bin/python3").symlink_to(name)
    (local / "bin/python").symlink_to("python3")
    subprocess.run(["chroot", folder, "ldconfig"], check=True)
    container = buildah("from", "scratch").strip()
    buildah("add", "--quiet", container, str(folder), "/")
    buildah("config", "--env", "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin", container)
    buildah("commit", "--quiet", "--rm", container, BASE)
    shutil.rmtree(folder)
    stamp.touch()


@dataclass
class Image:
    """A built image: what it says of itself, and its files."""

    config: dict
    root: Path

    @property
    def environment(self):
        """The environment that it sets."""
        return dict(pair.split("=", 1) for pair in self.config["Env"])

    def start(self, world, *arguments, mounts=(), entrypoint=None, user=None, net=False, **more):
        """Start a container with a read-only root: gives its process.

        Parameters
        ----------
        world : Path
            A folder whose ``state`` and ``tmp`` are the two writable places.
        arguments : str
            Those of the entry point.
        mounts : sequence of (Path, str)
            What else is seen inside, read-only, below /mnt.
        net : bool
            Share this machine's network; else there is none at all.
        more : str
            The operator's environment.
        """
        state, scratch = (self.volume(world / name) for name in ("state", "tmp"))
        uid, _, gid = (user or self.config["User"]).partition(":")
        environment = self.environment | more
        inside = [
            *(f"--reuid={uid}", f"--regid={gid or uid}"),
            # Whoever was started in the background ignores SIGINT; a container's process does not.
            *("env", "--default-signal=INT", "-i", "-C", self.config["WorkingDir"]),
            *(f"{name}={value}" for name, value in environment.items()),
            *(entrypoint if entrypoint is not None else self.config["Entrypoint"]),
            *arguments,
        ]
        outside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc"]
        seen = [str(word) for pair in mounts for word in pair]
        return subprocess.Popen(
            [
                *outside,
                *([] if net else ["--net"]),
                *("sh", "-c", ENTER, "enter", self.root, state, scratch),
                *(*seen, "--", *inside),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, world, *arguments, **more):
        """Run a container to its end; gives the finished process."""
        process = self.start(world, *arguments, **more)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def volume(self, folder):
        """A fresh volume, as an engine makes it: with the owner that the image gave its place."""
        if not folder.exists():
            place = self.root / {"state": "var/lib/tremor", "tmp": "tmp"}[folder.name]
            folder.mkdir(parents=True)
            os.chown(folder, place.stat().st_uid, place.stat().st_gid)
            folder.chmod(place.stat().st_mode & 0o7777)
        return folder

    def layers(self):
        """The folder of each layer, the base's among them."""
        line = next(
            line for line in Path("/proc/mounts").read_text().splitlines() if str(self.root) in line
        )
        overlay = self.root.parents[1]
        # An absolute path stays what it is.
        return [overlay / each for each in re.search(r"lowerdir=([^, ]+)", line)[1].split(":")]

    def holding(self, word):
        """The files of all layers that hold a word, removed ones too."""
        layers = self.layers()
        assert all(layer.is_dir() for layer in layers)
        found = subprocess.run(
            ["grep", "-rlaF", word, *layers], capture_output=True, text=True, check=False
        )
        assert found.returncode in {0, 1}, found.stderr
        return found.stdout.splitlines()

    def note(self, figure):
        """Keep a figure that was measured, for docs/CONTAINERS.md."""
        with (KEPT / "figures").open("a") as file:
            file.write(f"{time.strftime('%F %T')} {figure}\n")

    def megabytes(self):
        """The size of all files, MB, each counted once."""
        sizes = {}
        for path in self.files():
            if not path.is_symlink():
                found = path.stat()
                sizes[found.st_ino] = found.st_size
        return sum(sizes.values()) / 1e6

    def files(self):
        """All files of the image, and the links."""
        for folder, _, names in os.walk(self.root):
            yield from (Path(folder, name) for name in names)


def build(name, context, *arguments):
    """Build a context's Dockerfile and give the image a name."""
    make_base()
    # How packages are reached from here is this machine's affair: seen while building, and gone.
    pip = KEPT / "pip.conf"
    pip.write_text(f"[global]\ncert = {AUTHORITIES}\n")
    buildah(
        *("bud", "--quiet", "--layers", "--pull-never", "--isolation", "chroot"),
        *("--format", "docker"),
        *("--build-arg", f"PYTHON_IMAGE={BASE}"),
        *("--volume", f"{pip}:/etc/pip.conf:ro"),
        *("--volume", f"{AUTHORITIES}:{AUTHORITIES}:ro"),
        *arguments,
        *("-t", name, str(context)),
    )


@contextmanager
def mounted(name):
    """Give the image of a name with its files; its container is removed after."""
    container = buildah("from", "--pull-never", name).strip()
    try:
        root = Path(buildah("mount", container).strip())
        config = json.loads(buildah("inspect", "--type", "image", name))["Docker"]["config"]
        yield Image(config, root)
    finally:
        buildah("rm", container)


@contextmanager
def built(context=ROOT, *arguments):
    """Build the Dockerfile, and give the image; what the store need not keep is removed after."""
    make_base()
    name = "localhost/tremor-test:built"
    began = time.monotonic()
    build(name, context, *arguments)
    seconds = time.monotonic() - began
    try:
        with mounted(name) as image:
            image.note(f"built in {seconds:.0f} s")
            yield image
    finally:
        # Layers are kept, so that a second build is fast, but not those of the whole past.
        if len(buildah("images", "--all", "--quiet").split()) > KEPT_LAYERS:
            buildah("rmi", "--prune", "--force")
        # buildah leaves its store mounted on itself, which `make clean` could not remove.
        subprocess.run(["umount", "--recursive", KEPT / "store" / "overlay"], check=False)


def require_tools():
    """Skip where no image can be built; fail where only another Python is wanted."""
    if why := lacking():
        pytest.skip(why)
    if sys.base_prefix == "/usr":
        pytest.fail(
            "tests/image.py: the base cannot be made of Debian's own Python, whose files lie among"
            " all others in /usr; make .venv with a Python that has a folder of its own"
        )
