"""What a study or an audit found, as one page; draws records and summaries, and computes nothing of its own."""

from gence.report.answer import answer_lines
from gence.report.audit_page import write_audit
from gence.report.audit_words import audit_lines
from gence.report.page import write_report
from gence.report.tables import write_csv

__all__ = ["answer_lines", "audit_lines", "write_audit", "write_csv", "write_report"]
