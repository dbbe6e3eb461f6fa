"""Very many sources judged at once: equal cases are found column by column, and the rules judge each case once.

What the rules of `rules.py` ask of a source is put into a number, its case. Sources of one case differ only in the
numbers and names of their sentences; those stay columns, and `dmarcview.reasons` tells them when somebody reads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from dmarcview.reasons import HELD
from dmarcview.sources.case import ESTABLISHED, UNLISTED, is_own_name, key_name
from dmarcview.sources.evidence import Finding, Previous, Who
from dmarcview.sources.rules import FORWARDER_SHARE, OVERRIDE_ALONE, OVERRIDE_BESIDE, OVERRIDE_SHARE, classify
from dmarcview.sources.traits import Numbered, Traits
from dmarcview.sources.travel import block
from dmarcview.store import blocks
from dmarcview.store.arrays import NONE, distinct, factored, from_zero, joined, words
from dmarcview.store.columns import DKIM
from dmarcview.store.facts import SourceFacts


class _Judged(NamedTuple):
    """What the rules found for one case."""

    finding: Finding
    evidence: str
    held: frozenset[str]  # columns that its sentences need
    from_envelope: bool  # the service is the one that the envelope names


class Judge(Traits):
    """Puts every source into its case, and lets the rules judge each case."""

    # cases

    def _flags(self) -> Any:
        """Yes and no of each source, as the bits of a number."""
        import numpy as np

        found = self.found
        domain_anchored = np.array([self.habits[domain].has_anchor for domain in found.domains], dtype=bool)
        flags = (
            self.anchored,
            found.spf_aligned > 0,
            found.dkim_aligned > 0,
            found.both > 0,
            found.spf_aligned > found.both,
            found.dkim_aligned > found.both,
            found.forwarded > 0,
            found.forwarded >= OVERRIDE_BESIDE * found.messages,
            found.forwarded >= OVERRIDE_SHARE * found.messages,
            found.forwarded >= OVERRIDE_ALONE * found.messages,
            found.messages >= ESTABLISHED,
            self.other != NONE,
            self.checked,
            self.first(self.names.other) != NONE,
            self.passed_on,
            self.share >= FORWARDER_SHARE,
            self.signed_by,
            domain_anchored[found.domain],
            self._served(),
            self._neighbours(),
            self._signs_too(),
            self._named(),
        )
        out = np.zeros(self.size, dtype=np.int64)
        for bit, flag in enumerate(flags):
            out |= flag.astype(np.int64) << bit
        return out

    def _served(self) -> Any:
        """Does SPF cover other addresses of the service that runs this one?"""
        import numpy as np

        size, listed = len(self.matches) + 1, list(self.matches)
        pairs, inverse = factored(self.found.domain * size + self.operator + 1)
        served = [
            pair % size > 0
            and listed[pair % size - 1].service.name in self.habits[self.found.domains[pair // size]].anchored_services
            for pair in pairs.tolist()
        ]
        return np.array(served, dtype=bool)[inverse]

    def _neighbours(self) -> Any:
        """Does SPF cover a neighbour? Asked only where it decides."""
        import numpy as np

        found, out = self.found, np.zeros(self.size, dtype=bool)
        asked = self.passed_on & ~self.anchored & (self.other == NONE) & (self.operator == NONE)
        blocks_of = [self.habits[domain].anchored_blocks for domain in found.domains]
        for place in np.flatnonzero(asked).tolist():
            near = blocks_of[found.domain[place]]
            if near:
                out[place] = block(found.ips[place]) in near
        return out

    def _signs_too(self) -> Any:
        """Does the organisation of the envelope sign as well?"""
        import numpy as np

        found, out = self.found, np.zeros(self.size, dtype=bool)
        if len(found.at):
            org = self.names.org[found.identity]
            out[found.at[(org != NONE) & (org == self.other[found.at])]] = True
        return out

    def _named(self) -> Any:
        import numpy as np

        out = np.zeros(self.size, dtype=bool)
        for place, name in self.reverse.items():
            domain = self.found.domains[self.found.domain[place]]
            out[place] = is_own_name(domain, self.found.ips[place], name)
        return out

    def _agreed(self) -> Any:
        """The first approved organisation that signs or whose envelope the mail has: its place in the alphabet."""
        import numpy as np

        out = np.full(self.size, len(self.approved), dtype=np.int64)
        if not self.approved:
            return out
        rank = {name: place for place, name in enumerate(self.approved)}
        of_org = np.array([rank.get(org, len(rank)) for org in self.orgs] + [len(rank)], dtype=np.int64)
        out = of_org[self.other]
        approved = self.names.approved[self.found.identity] if len(self.found.at) else self.found.at
        keep = approved != NONE
        np.minimum.at(out, self.found.at[keep], approved[keep])
        return out

    def _labels(self) -> Any:
        """The label of each source, by place among those that were found."""
        import numpy as np

        out, found, labels = np.full(self.size, NONE, dtype=np.int64), self.found, self.known.said.labels
        if not labels:
            return out
        asked = labels.within(self.numbers)
        listed = [labels.names("service", match.service.name) for match in self.matches] + [False]
        asked |= np.array(listed, dtype=bool)[self.operator] | np.array(listed, dtype=bool)[self.signer]
        for asn in distinct(self.asn[self.asn != NONE]).tolist():
            if labels.names("asn", str(asn)):
                asked |= self.asn == asn
        if len(found.at):
            signed = [i.kind == DKIM and bool(i.passed) and labels.names("dkim", i.name) for i in found.identities]
            asked[found.at[np.array(signed, dtype=bool)[found.identity]]] = True
        known = Numbered()
        for place in np.flatnonzero(asked).tolist():
            facts = found.facts(place)
            label = labels.find(facts, self.who(facts, place))
            out[place] = NONE if label is None else known.code(id(label))
        return out

    def who(self, facts: SourceFacts, place: int) -> Who:
        return self.known.who(facts, self.places[self.place[place]], self.reverse.get(place))

    def table(self) -> Any:
        """The new rows, as `blocks.put` takes them."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        nets, _ = self.known.said.own_networks.find(self.numbers)
        parts = (self._flags(), self.confidence, self.operator, self.signer, nets, self._agreed(), self._labels(),
                 self.history)  # fmt: skip
        cases, case = factored(joined([from_zero(part) for part in parts]))
        first = np.empty(len(cases), dtype=np.int64)
        first[case[::-1]] = np.arange(self.size)[::-1]
        judged = [self._judge(place) for place in first.tolist()]
        findings = [one.finding for one in judged]

        def of_case(values: list[Any]) -> Any:
            return words(values, case)

        def held(column: str, values: Any) -> Any:
            """The values of a column where the sentences of the case need it."""
            needed = np.array([column in one.held for one in judged], dtype=bool)
            return np.where(needed[case], values, 0)

        def texts(column: str, listed: list[str], places: Any) -> Any:
            needed = np.array([column in one.held for one in judged], dtype=bool)
            return words(listed, np.where(needed[case], places, NONE))

        key, key_words = self._key_words()
        signature = self.first(self.names.other)
        service = of_case([f.service for f in findings])
        enveloped = np.array([one.from_envelope for one in judged], dtype=bool)
        if enveloped.any():
            by_envelope = words(list(self.orgs), self.other).cast(pa.string())
            service = pc.if_else(pa.array(enveloped[case]), by_envelope, service.cast(pa.string()))
        reverse = pa.nulls(self.size, pa.string())
        if self.reverse:
            reverse = pa.array([self.reverse.get(place) for place in range(self.size)], pa.string())
        found = self.found
        columns = {
            "domain": self.source["domain"],
            "source_ip": self.source["source_ip"],
            "source_class": of_case([f.source_class for f in findings]),
            "by": of_case([f.by for f in findings]),
            "confidence": of_case([f.confidence for f in findings]),
            "evidence": of_case([one.evidence for one in judged]),
            "service": service,
            "service_type": of_case([f.service_type for f in findings]),
            "country": words([p.country for p in self.places], self.place),
            "as_name": words([p.as_name for p in self.places], self.place),
            "asn": pa.array([p.asn for p in self.places], pa.int64()).take(pa.array(self.place)),
            "reverse_dns": reverse,
            "key": texts("key", key_words, key),
            "envelope": texts("envelope", list(self.orgs), self.other),
            "signature": texts("signature", list(self.orgs), signature),
            "first_seen": found.first_seen,
            "last_seen": found.last_seen,
            "messages": found.messages,
            "both": held("both", found.both),
            "spf_aligned": held("spf_aligned", found.spf_aligned),
            "dkim_aligned": held("dkim_aligned", found.dkim_aligned),
            "forwarded": held("forwarded", found.forwarded),
            "permille": held("permille", np.rint(1000 * self.share).astype(np.int64)),
            "before": held("before", self.before),
            "signed": held("signed", self._signed_messages()),
        }
        return pa.table({n: columns[n] for n in blocks.NAMES if n != "changed"})

    def _key_words(self) -> tuple[Any, list[str]]:
        """The busiest key of each source, for a sentence: places among words, and these."""
        import numpy as np

        listed, size = list(self.keys), max(len(self.keys), 1)
        packed = np.where(self.key == NONE, NONE, self.found.domain * size + self.key)
        pairs, inverse = factored(packed)
        sentences = Numbered()
        places = [
            NONE if pair == NONE else sentences.code(key_name(listed[pair % size], self.found.domains[pair // size]))
            for pair in pairs.tolist()
        ]
        return np.array(places, dtype=np.int64)[inverse], list(sentences)

    def _signed_messages(self) -> Any:
        """Messages of the first good signature of somebody else."""
        import numpy as np

        found, out = self.found, np.zeros(self.size, dtype=np.int64)
        if len(found.at):
            places = np.flatnonzero(self.names.other[found.identity] != NONE)[::-1]
            out[found.at[places]] = found.carried[places]
        return out

    def _judge(self, place: int) -> _Judged:
        """Let the rules judge one source for all of its case."""
        facts = self.found.facts(place)
        was = self.was[place]
        previous = None
        if was != NONE and self.old["by"][was].as_py() == "rule":
            codes = self.codes[self.old_codes[was]]
            previous = Previous(self.old["source_class"][was].as_py(), int(self.before[place]), codes)
        finding = classify(facts, self.who(facts, place), self.habits[facts.domain], self.known.said, previous)
        kept = []
        columns: set[str] = set()
        for reason in finding.evidence:
            held = HELD.get(reason.code, {})
            columns.update(held.values())
            kept.append([reason.code, {name: value for name, value in reason.fields.items() if name not in held}])
        approved = any(reason.code == "approved_service" for reason in finding.evidence)
        from_envelope = finding.service_type == UNLISTED and not approved
        return _Judged(finding, orjson.dumps(kept).decode(), frozenset(columns), from_envelope)
