"""``streamlit run``, with what pages need imported before anybody comes."""

import pkgutil
import sys
from importlib import import_module

from components import plots, reading

# Most of a first visit was spent on these.
HEAVY = ("components.wiring", "components.steps", "components.entrypoints.views")


def main() -> None:
    """Import, then become ``streamlit run`` with the arguments as they stand."""
    from streamlit.runtime import memory_media_file_storage as files
    from streamlit.web.cli import main as streamlit

    # A large file is known by samples of it alone: a correction between them gave the older file.
    vars(files)["_PARTIAL_HASH_THRESHOLD"] = sys.maxsize
    for name in HEAVY:
        import_module(name)
    for room in (plots, reading):
        for found in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            import_module(found.name)
    sys.argv = ["streamlit", "run", *sys.argv[1:]]
    streamlit()


if __name__ == "__main__":
    main()
