"""Exploration of instruments: what their bars are like, before anything is judged; pure.

What is called unusual here is what an alert calls so: the same channels, in the same units.
"""
