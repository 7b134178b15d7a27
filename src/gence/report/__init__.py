"""What a study found, as one page and one table; draws the records and the summary, and computes nothing of its own."""

from gence.report.answer import answer_lines
from gence.report.page import write_report
from gence.report.tables import write_csv

__all__ = ["answer_lines", "write_csv", "write_report"]
