"""A file a page; each has ``show``."""
