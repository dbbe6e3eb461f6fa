"""Named questions to the store, answered as frames; read-only, and shared by pages, commands and notebooks."""

from dmarcview.store.sums import OUTCOMES

from .complete import Completeness, complete_days, completeness, recent
from .filters import CLASSES, RESULTS, Filters
from .intake import (
    Intake,
    ReportHead,
    intake,
    newest,
    refused,
    report,
    report_count,
    report_records,
    reports,
    submitters,
    summary,
)
from .selectors import selectors
from .sent import Sent, search_hash, sent, sent_any, sent_daily, sent_domains, sent_first
from .traffic import SourceDetail, classes, daily, domains, records, reporters, source_detail, sources

__all__ = [
    "CLASSES",
    "OUTCOMES",
    "RESULTS",
    "Completeness",
    "Filters",
    "Intake",
    "ReportHead",
    "Sent",
    "SourceDetail",
    "classes",
    "complete_days",
    "completeness",
    "daily",
    "domains",
    "intake",
    "newest",
    "recent",
    "records",
    "refused",
    "report",
    "report_count",
    "report_records",
    "reporters",
    "reports",
    "search_hash",
    "selectors",
    "sent",
    "sent_any",
    "sent_daily",
    "sent_domains",
    "sent_first",
    "source_detail",
    "sources",
    "submitters",
    "summary",
]
