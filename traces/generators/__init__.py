"""Accesses made by rule: one file for each; `tiersim.traces.generators.base` is what they share."""
