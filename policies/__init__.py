"""Decisions: who stays, who goes, who goes where. No clock, no files, no engine."""
