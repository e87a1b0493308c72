"""The API: the same judgement and the stored alerts, over HTTP."""
