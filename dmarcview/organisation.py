"""The organisational domain of a name, as the inbound wing reckons it: one list of public suffixes in the process."""

from __future__ import annotations

from collections.abc import Iterable

from dmarcview_reports.organisation import aligned, organisational

__all__ = ["aligned", "organisational", "reporters"]


def reporters(submitters: Iterable[str]) -> dict[str, str]:
    """Which reporter each submitter is, by the name to call it: its organisation, or that one's only submitter.

    One mail domain may bring reports of any submitter of its organisation, so these are one witness and never several.
    """
    below: dict[str, list[str]] = {}
    for name in sorted(set(submitters)):
        below.setdefault(organisational(name), []).append(name)
    return {name: names[0] if len(names) == 1 else own for own, names in below.items() for name in names}
