"""Are these probabilities honest, and what mends them: predictions in, a record of plain numbers out."""

from gence.audit.assess import CALIBRATORS, audit_predictions
from gence.audit.records import Audit, audit_json, parse_audit

__all__ = ["CALIBRATORS", "Audit", "audit_json", "audit_predictions", "parse_audit"]
