"""``streamlit run``, with everything that pages need imported before anybody comes."""

import sys
from importlib import import_module

PAGES = "components.entrypoints.dashboard.pages"


def main() -> None:
    """Import, then become ``streamlit run`` with the arguments as they stand."""
    from streamlit.web.cli import main as streamlit

    from components.entrypoints.dashboard.app import PAGES as NAMES

    for name in NAMES:
        import_module(f"{PAGES}.{name}")
    sys.argv = ["streamlit", "run", *sys.argv[1:]]
    streamlit()


if __name__ == "__main__":
    main()
