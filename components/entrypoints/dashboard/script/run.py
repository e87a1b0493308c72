"""The script that Streamlit runs for each visitor and each click.

A folder ``pages`` beside its script Streamlit would serve by itself, past the login.
"""

from components.entrypoints.dashboard.app import main

main()
