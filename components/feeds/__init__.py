"""Feeds: one file and one line here each."""
