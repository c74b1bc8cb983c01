"""A finished run as one page and as one screen."""

from simulations.report.page import write_report
from simulations.report.run import Ceiling, RoundPoint, RunResult, SiteAccount
from simulations.report.screen import summary_screen

__all__ = [
    "Ceiling",
    "RoundPoint",
    "RunResult",
    "SiteAccount",
    "summary_screen",
    "write_report",
]
