"""Plotly figures of the dashboard: rows in, a figure out. Pure."""
