"""Gathers the records of one report by column, numbers them, and counts their warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .errors import Refused
from .model import Caution, Records, Shape
from .parse_reader import Collector, Node, Rest
from .parse_record import MAX_COUNT, MAX_REASONS, Codes, Normaliser, in_order

MAX_RESULTS = 1_000_000  # DKIM and SPF results and reasons of one report; equal ones of equal records count once


class Builder:
    """Records in the order of the document. `number` is the place of the last one, from 1, dropped ones counted too."""

    __slots__ = ("counts", "listed", "normal", "number", "places", "records", "results")

    def __init__(self, normal: Normaliser) -> None:
        self.normal = normal
        self.records = Records()
        self.places: dict[Shape, int] = {}
        self.number = 0
        self.results = 0
        self.counts: dict[str, int] = {}
        self.listed: list[Caution] = []

    def record(self, node: Node, structure: Iterable[str]) -> None:
        """Take one record as the reader collected it; raises Refused when there are too many."""
        self.next()
        address, number, codes = self.normal.row(node)
        if address is None or not number:
            self.warn(codes)
            return
        shape, more = self.normal.shape(node, structure)
        records = self.records
        records.source_ip.append(address)
        records.count.append(number)
        records.shape.append(self.place(shape))
        if codes or more:
            self.warn(in_order(codes + more))

    def next(self) -> None:
        """Count one more record; raises Refused when there are too many."""
        self.number += 1
        if self.number > self.normal.limits.records:
            cap = self.normal.limits.records
            raise Refused(
                "too_many_records", f"The report has more than {cap} records; the limit is limits.records.", "records"
            )

    def place(self, shape: Shape) -> int:
        """Index of a shape, equal ones once, in the order in which they came."""
        places = self.places
        index = places.get(shape)
        if index is None:
            self.results += len(shape.dkim) + len(shape.spf) + len(shape.override_types)
            if self.results > MAX_RESULTS:
                raise Refused("too_complex", f"The report has more than {MAX_RESULTS} DKIM and SPF results.")
            index = places[shape] = len(places)
            self.records.shapes.append(shape)
        return index

    def warn(self, codes: Codes) -> None:
        """Note the warnings of the present record."""
        for code in codes:
            self.counts[code] = self.counts.get(code, 0) + 1
        room = self.normal.limits.warnings - len(self.listed)
        if room > 0:
            where = f"record {self.number}"
            self.listed += [Caution(code, where) for code in codes[:room]]


class Rows:
    """What a reader made of a document: the records, the rest, warnings about the file."""

    __slots__ = ("builder", "codes", "rest")

    def __init__(self, builder: Builder, rest: Rest, codes: set[str]) -> None:
        self.builder = builder
        self.rest = rest
        self.codes = codes


def check_total(records: Records) -> None:
    """Refuse counts that are possible each and impossible together."""
    if records.messages > MAX_COUNT:
        raise Refused("too_complex", f"Its counts add up to more than {MAX_COUNT} messages, which nobody receives.")


def collector(normal: Normaliser, on_record: Callable[[Node, set[str]], None]) -> Collector:
    """A collector under the limits of this run."""
    limits = normal.limits
    return Collector(on_record, limits.text_bytes, max(limits.dkim_results, limits.spf_results, MAX_REASONS))
