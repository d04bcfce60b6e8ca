"""The report of a study: one HTML file that opens anywhere, and its figures as files for a paper."""

from tiersim.experiments.report.page import write_report

__all__ = ["write_report"]
