"""Slow and obviously correct models that the engine is held against."""
