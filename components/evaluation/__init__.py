"""Proof of what the judgement promises: rates kept, planted and known events found; pure."""

from components.evaluation.assess import BASELINES, RANDOM, Trials, assess, assess_null

__all__ = ["BASELINES", "RANDOM", "Trials", "assess", "assess_null"]
