"""Sent against reported: the relay's log beside what receivers say of the same days, addresses and signatures."""

from .answer import Reconciled, reconcile
from .words import CODES, COLUMNS, COMPLETE, OPEN, SILENT, UNSENT, wilson

__all__ = ["CODES", "COLUMNS", "COMPLETE", "OPEN", "SILENT", "UNSENT", "Reconciled", "reconcile", "wilson"]
