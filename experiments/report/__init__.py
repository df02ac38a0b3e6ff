"""The reports: of one backtest, of several strategies or symbols, and of a portfolio."""

from __future__ import annotations

from experiments.report.comparison_page import write_comparison
from experiments.report.portfolio_page import write_portfolio
from experiments.report.symbols_page import write_symbols
from experiments.report.writing import ReportFiles, SummaryFiles, write_report

__all__ = [
    "ReportFiles",
    "SummaryFiles",
    "write_comparison",
    "write_portfolio",
    "write_report",
    "write_symbols",
]
