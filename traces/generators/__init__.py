"""Traces made by rule: one file for each; `base` is what those of accesses share, `objects` those of objects."""
