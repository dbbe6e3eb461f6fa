"""The organisational domain of a name, as the inbound wing reckons it: one list of public suffixes in the process."""

from dmarcview_reports.organisation import aligned, organisational

__all__ = ["aligned", "organisational"]
