"""The report of a backtest: one page that works offline, its numbers and its trades."""

from __future__ import annotations

from experiments.report.writing import ReportFiles, write_report

__all__ = ["ReportFiles", "write_report"]
