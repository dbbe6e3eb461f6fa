"""Whose a source is: own, third party, forwarder or unknown, with the evidence. `docs/sources.md` is the page on it."""

from dmarcview.sources.evidence import CLASSES, CODES, Evidence, Finding, Previous, Who
from dmarcview.sources.refresh import Refreshed, Refresher, SourceBook, refresh
from dmarcview.sources.rules import classify, said
from dmarcview.sources.travel import Habits, habits

__all__ = [
    "CLASSES",
    "CODES",
    "Evidence",
    "Finding",
    "Habits",
    "Previous",
    "Refreshed",
    "Refresher",
    "SourceBook",
    "Who",
    "classify",
    "habits",
    "refresh",
    "said",
]
