"""What a study writes down, and all that a report may read: trial records, and the summary made of them."""

from gence.bench.records.store import Study, load_study, read_record, record_path, save_study, write_record
from gence.bench.records.summary import Answer, Difference, Estimate, Summary, SummaryRow
from gence.bench.records.trial import (
    METRICS,
    RECORD_VERSION,
    Budget,
    CalibratorResult,
    Cell,
    Reliability,
    Setting,
    TrialRecord,
)

__all__ = [
    "METRICS",
    "RECORD_VERSION",
    "Answer",
    "Budget",
    "CalibratorResult",
    "Cell",
    "Difference",
    "Estimate",
    "Reliability",
    "Setting",
    "Study",
    "Summary",
    "SummaryRow",
    "TrialRecord",
    "load_study",
    "read_record",
    "record_path",
    "save_study",
    "write_record",
]
