"""Labels that people put on sources: of all that fit, the most exact one counts."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from dmarcview.networks import Numbers, address, network
from dmarcview.sources.evidence import Who
from dmarcview.store.facts import Label, SourceFacts

# How exact a label is; a label of a higher rank beats all of lower ranks.
RANK = MappingProxyType({"ip": 5, "network": 4, "dkim": 3, "service": 2, "asn": 1})


class Labels:
    """All labels, ready to be asked. Labels of unknown scope or with an unreadable value fit nothing."""

    def __init__(self, labels: Iterable[Label] = ()) -> None:
        self._exact: dict[tuple[str, str], list[Label]] = {}
        self._spans: dict[tuple[int, int], dict[int, list[Label]]] = {}  # (version, size) -> first -> labels
        for label in labels:
            if label.scope in ("ip", "network"):
                self._add_span(label)
            elif label.scope in RANK:
                self._exact.setdefault((label.scope, _value(label.scope, label.value)), []).append(label)

    def __bool__(self) -> bool:
        return bool(self._exact or self._spans)

    def _add_span(self, label: Label) -> None:
        try:
            span = network(label.value)
        except ValueError:
            return
        size = span.last - span.first + 1
        if size & (size - 1) == 0 and span.first % size == 0:
            self._spans.setdefault((span.version, size), {}).setdefault(span.first // size, []).append(label)

    def find(self, facts: SourceFacts, who: Who) -> Label | None:
        """The label that counts for a source: the most exact scope, then the smaller network, then a label of this
        very domain before one of every domain, then the newest."""
        if not self:
            return None
        best: tuple[tuple[int, int, bool, int], Label] | None = None
        for size, label in self._fitting(facts, who):
            if label.domain and label.domain != facts.domain:
                continue
            rank = (RANK[label.scope], -size, bool(label.domain), label.at)
            if best is None or rank > best[0]:
                best = rank, label
        return best[1] if best else None

    def names(self, scope: str, name: str) -> bool:
        """Does a label of this scope (dkim, service or asn) name it, for whatever domain?"""
        return (scope, _value(scope, name)) in self._exact

    def within(self, wanted: Numbers) -> Any:
        """Per address: does any labelled network, or a label of the very address, hold it?"""
        import numpy as np

        found = np.zeros(len(wanted), dtype=bool)
        for (version, size), blocks in self._spans.items():
            if version == 4:
                places = np.where(wanted.v4 >= 0, wanted.v4 // size, -1)
                found |= np.isin(places, list(blocks))
            else:
                for place, other in wanted.others.items():
                    found[place] |= other.number // size in blocks
        return found

    def _fitting(self, facts: SourceFacts, who: Who) -> Iterable[tuple[int, Label]]:
        where = address(facts.source_ip)
        if where is not None:
            for (version, size), blocks in self._spans.items():
                if version == where.version:
                    for label in blocks.get(where.number // size, ()):
                        yield size, label
        names = [("dkim", signature.name) for signature in facts.dkim if signature.passed]
        names += [("service", match.service.name) for match in (who.operator, who.signer) if match]
        if who.asn is not None:
            names.append(("asn", str(who.asn)))
        for scope, name in names:
            for label in self._exact.get((scope, _value(scope, name)), ()):
                yield 0, label


def _value(scope: str, text: str) -> str:
    folded = text.strip().casefold()
    return folded.removeprefix("as") if scope == "asn" else folded.rstrip(".")
