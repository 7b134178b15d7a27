"""What a study or an audit found, as one page; draws records and summaries, and computes next to nothing of its own."""

from gence.report.advice import advice_on
from gence.report.answer import answer_lines
from gence.report.audit_page import write_audit
from gence.report.audit_words import audit_lines
from gence.report.csv_files import write_csv
from gence.report.exports import write_figures, write_tables
from gence.report.page import write_report
from gence.report.trace import trace_lines

__all__ = [
    "advice_on",
    "answer_lines",
    "audit_lines",
    "trace_lines",
    "write_audit",
    "write_csv",
    "write_figures",
    "write_report",
    "write_tables",
]
