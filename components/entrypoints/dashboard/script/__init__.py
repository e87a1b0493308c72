"""What Streamlit is given to run: apart from ``pages``, which it would show by itself."""
