"""Settings of the inbound wing: what is accepted, and every limit by name.

Each field carries its help text in `metadata["help"]`; the house makes the configuration reference from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _f(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one input. Exceeding one refuses the input and names the field here."""

    mail_bytes: int = _f(25_000_000, "Largest report mail, in bytes; the receiver refuses a larger one with 552.")
    xml_bytes: int = _f(200_000_000, "Largest unpacked report, and largest input file, in bytes.")
    expansion_ratio: int = _f(500, "Largest unpacked size as a multiple of the packed size (checked above 1 MB).")
    archive_members: int = _f(100, "Most members in one zip or tar.")
    nesting: int = _f(3, "Most archives inside one another, and most mails inside one another.")
    mime_parts: int = _f(1000, "Most MIME parts in one mail.")
    records: int = _f(1_000_000, "Most records in one report.")
    dkim_results: int = _f(100, "Most DKIM results kept of one record; the rest are dropped with a warning.")
    spf_results: int = _f(10, "Most SPF results kept of one record; the rest are dropped with a warning.")
    text_bytes: int = _f(65_536, "Longest text of one field, in bytes; a longer one is cut with a warning.")
    warnings: int = _f(10_000, "Most warnings listed for one report; later ones are only counted.")
