"""The web page: what is unusual, why, and what would have been."""
