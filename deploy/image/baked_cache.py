"""Compiled scans that an image carries, for a file system that cannot be written.

numba takes a cache only from a folder that it can write to. The image's root is read-only, so
what was compiled while it was built would be compiled again by every run. Here each module's
folder under ``/opt/numba`` is copied to ``NUMBA_CACHE_DIR`` once, a few megabytes, and numba
goes on from there: what the image does not hold is compiled and kept beside.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from numba.core.caching import UserProvidedCacheLocator

BAKED = Path("/opt/numba")


class BakedCache(UserProvidedCacheLocator):
    """``NUMBA_CACHE_DIR``, filled from what the image carries."""

    def ensure_cache_path(self) -> None:
        """Make the folder writable and full; ``OSError`` when it cannot be."""
        folder = Path(self.get_cache_path())
        baked = BAKED / folder.name
        if baked.is_dir() and not folder.exists():
            beside = folder.with_name(f"{folder.name}.{os.getpid()}")
            shutil.copytree(baked, beside)
            # Another process of this container may have been faster: its copy is the same.
            with suppress(OSError):
                beside.rename(folder)
            shutil.rmtree(beside, ignore_errors=True)
        super().ensure_cache_path()


def bake() -> None:
    """Compile what a run will need, while the image is built: features, scans, models' scores."""
    from components import bands, ensemble

    ensemble.warm()
    bands.warm()
