"""Very many sources judged at once: equal cases are found column by column, and the rules judge each case once.

What the rules of `rules.py` ask of a source is put into a number, its case. Sources of one case differ only in the
numbers and names of their sentences; those stay columns, and `dmarcview.reasons` tells them when somebody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from dmarcview.geo import Geo, Place
from dmarcview.networks import Numbers
from dmarcview.organisation import aligned, organisational
from dmarcview.reasons import HELD
from dmarcview.services import Directory, Match
from dmarcview.sources.case import (
    ESTABLISHED,
    ESTABLISHED_DAYS,
    SIGNED_SHARE,
    UNLISTED,
    Said,
    is_own_name,
    key_name,
)
from dmarcview.sources.evidence import Finding, Previous, Who
from dmarcview.sources.rules import (
    FORWARDER_SHARE,
    KEPT,
    OVERRIDE_ALONE,
    OVERRIDE_SHARE,
    VOUCHED,
    classify,
)
from dmarcview.sources.travel import (
    ANCHOR_DAYS,
    ANCHOR_LEAST,
    ANCHOR_MESSAGES,
    ANCHOR_SHARE,
    ANY_KEY,
    OTHER_SHARE,
    Habits,
    Home,
    Key,
    block,
)
from dmarcview.store import blocks
from dmarcview.store.columns import DKIM, ENVELOPE, SPF, Columns, distinct, summed
from dmarcview.store.facts import NamedAddress, SourceFacts

NONE = -1  # in arrays of places: there is none
LARGEST = 1 << 62
WhoOf = Callable[[SourceFacts, Place, str | None], Who]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is asked about addresses and names, and what people said."""

    geo: Geo
    services: Directory
    said: Said
    who: WhoOf
    names: Mapping[str, NamedAddress]  # fresh answers of reverse DNS


class _Table(dict[Any, int]):
    """Things by number, in order of arrival."""

    def code(self, thing: Any) -> int:
        return self.setdefault(thing, len(self))


class _Names(NamedTuple):
    """What each name carried means: places in tables, NONE where it means nothing. One entry an identity."""

    key: Any  # our own key, whose signature passed
    told: Any  # somebody else's organisation, as the envelope tells it
    checked: Any  # the same, as a passed SPF check tells it
    other: Any  # somebody else's organisation, whose signature passed
    org: Any  # the organisation of a passed signature, ours or not
    operator: Any  # the service that a passed SPF check of somebody else means
    signer: Any  # the service that a passed signature of somebody else means
    approved: Any  # the place in the alphabet of the approved organisation of a passed signature


class _Judged(NamedTuple):
    """What the rules found for one case."""

    finding: Finding
    evidence: str
    held: frozenset[str]  # columns that its sentences need
    from_envelope: bool  # the service is the one that the envelope names


class Judge:
    """One run over some sources; `habits` holds those of the domains that are known, and gets those of the others."""

    def __init__(self, found: Columns, known: Knowledge, old: Any, habits: dict[str, Habits]) -> None:
        import numpy as np

        self.found, self.known, self.old, self.habits = found, known, old, habits
        self.size = len(found)
        self.orgs, self.keys, self.matches = _Table(), _Table(), _Table()
        self.approved = sorted(known.said.approved)
        self.kinds = np.array([i.kind for i in found.identities], dtype=np.int64)
        self.names = self._names()
        self.numbers = Numbers(found.ips)
        self._before()
        self._places()
        self._facts()
        self._keys()
        self._other()
        self._services()
        self._habits()
        self._ways()

    # what names mean

    def _names(self) -> _Names:
        import numpy as np

        columns: dict[str, list[int]] = {name: [NONE] * len(self.found.identities) for name in _Names._fields}
        rank = {name: place for place, name in enumerate(self.approved)}
        for place, identity in enumerate(self.found.identities):
            domain, name = self.found.domains[identity.domain], identity.name
            passed, mine = identity.passed, aligned(name, domain)
            if identity.kind == ENVELOPE:
                if name and not mine:
                    columns["told"][place] = self.orgs.code(organisational(name))
            elif identity.kind == SPF:
                if passed and not mine:
                    columns["operator"][place] = self._match(self.known.services.operator("", spf=[name]))
                    if name and identity.selector != "helo":
                        columns["checked"][place] = self.orgs.code(organisational(name))
            elif passed:
                org = organisational(name)
                columns["org"][place] = self.orgs.code(org)
                columns["approved"][place] = rank.get(org, NONE) if org else NONE
                if mine:
                    columns["key"][place] = self.keys.code((name.lower(), identity.selector or ""))
                else:
                    columns["other"][place] = self.orgs.code(org)
                    columns["signer"][place] = self._match(self.known.services.signer([name]))
        return _Names(**{name: np.array(values, dtype=np.int64) for name, values in columns.items()})

    def _match(self, match: Match | None) -> int:
        return NONE if match is None else self.matches.code(match)

    def _first(self, values: Any) -> Any:
        """For each source the value of its first name that has one, by an array of a value for each identity."""
        import numpy as np

        out = np.full(self.size, NONE, dtype=np.int64)
        if len(values):
            of = values[self.found.identity]
            places = np.flatnonzero(of != NONE)[::-1]
            out[self.found.at[places]] = of[places]
        return out

    # what is known beside the names

    def _before(self) -> None:
        """The old rows, by source: their place, NONE for a new source."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        domains = pa.array(self.found.domains, pa.string()).take(pa.array(self.found.domain))
        self.source = pa.table({"domain": domains, "source_ip": pa.array(self.found.ips, pa.string())})
        at = pc.index_in(blocks.keys(self.source), value_set=blocks.keys(self.old))
        self.was = at.fill_null(NONE).to_numpy(zero_copy_only=False).astype(np.int64)
        self.reverse = self._reverse(self.old["reverse_dns"].take(at))
        by_rule = pc.equal(self.old["by"], "rule")
        evidence = self.old["evidence"].combine_chunks().dictionary_encode()
        self.codes = [_codes(text) for text in evidence.dictionary.to_pylist()]
        vouched = np.array([bool(codes & VOUCHED) for codes in self.codes], dtype=bool)
        self.old_codes = evidence.indices.to_numpy()
        classes = pc.index_in(self.old["source_class"], value_set=pa.array(KEPT)).fill_null(NONE).to_numpy()
        counts = by_rule.to_numpy() & vouched[self.old_codes] if self.old.num_rows else np.zeros(0, dtype=bool)
        messages = np.append(self.old["messages"].to_numpy(), 0)
        self.before = messages[self.was]
        kept = np.append(np.where(counts, classes, NONE), NONE)[self.was]
        self.history = np.where(self.before > self.found.messages, kept, NONE)

    def _reverse(self, old: Any) -> dict[int, str]:
        """Confirmed names by source: the fresh answer, else what the old row says."""
        found: dict[int, str] = {}
        if old.null_count < len(old):
            found = {place: name for place, name in enumerate(old.to_pylist()) if name}
        names = self.known.names
        if names:
            for place, answer in enumerate(map(names.get, self.found.ips)):
                if answer is not None and answer.reverse_dns:
                    found[place] = answer.reverse_dns
                elif answer is not None:
                    found.pop(place, None)
        return found

    def _places(self) -> None:
        import numpy as np

        self.place, self.places = self.known.geo.find(self.found.ips, self.numbers)
        self.asn = np.array([place.asn or NONE for place in self.places], dtype=np.int64)[self.place]

    def _facts(self) -> None:
        found = self.found
        passed = _larger(found.spf_aligned, found.dkim_aligned)
        enough, often = passed >= ESTABLISHED, found.days >= ESTABLISHED_DAYS
        self.confidence = (enough | often).astype(int) + (enough & often)
        spf = found.spf_aligned
        few = (spf >= ANCHOR_MESSAGES) & (found.days >= ANCHOR_DAYS) & (spf >= ANCHOR_LEAST * found.messages)
        self.anchored = (spf > 0) & ((spf >= ANCHOR_SHARE * found.messages) | few)

    def _keys(self) -> None:
        """Our keys that passed, by source: `own_at`, `own_key`, `own_messages`; and the busiest of each source."""
        import numpy as np

        found, size = self.found, max(len(self.keys), 1)
        of = self.names.key[found.identity] if len(found.at) else found.at
        mine = of != NONE
        rank, back = _ranked(list(self.keys))
        packed, self.own_messages = summed(found.at[mine] * size + rank[of[mine]], found.carried[mine])
        self.own_at, ranks = packed // size, packed % size
        self.key, self.signs = _best(self.own_at, ranks, self.own_messages, self.size)
        self.own_key = back[ranks]
        self.key = np.where(self.key == NONE, NONE, np.append(back, NONE)[self.key])
        nameless = (self.key == NONE) & (found.dkim_aligned > 0)
        self.key[nameless] = self.keys.code(ANY_KEY)
        self.signs = np.where(nameless, found.dkim_aligned, self.signs)

    def _other(self) -> None:
        """The envelope's organisation when it is somebody else's and carries most of the messages."""
        import numpy as np

        found, size = self.found, max(len(self.orgs), 1)
        rank, back = _ranked(list(self.orgs))
        at, org, told, checked = [], [], [], []
        for column, is_told in ((self.names.told, True), (self.names.checked, False)):
            of = column[found.identity] if len(found.at) else found.at
            keep = of != NONE
            at.append(found.at[keep])
            org.append(rank[of[keep]])
            told.append(found.carried[keep] * is_told)
            checked.append(found.carried[keep] * (not is_told))
        packed, tells, checks = summed(
            np.concatenate(at) * size + np.concatenate(org), np.concatenate(told), np.concatenate(checked)
        )
        best, most = _best(packed // size, packed % size, _larger(tells, checks), self.size)
        mostly = (best != NONE) & (most >= OTHER_SHARE * found.messages)
        self.other = np.where(mostly, np.append(back, NONE)[best], NONE)

    def _services(self) -> None:
        """Who runs each address, and who signs: places in `matches`."""
        import numpy as np

        found, services = self.found, self.known.services
        nets, owners = services.networks.find(self.numbers)
        match = np.array([self.matches.code(Match(owner, "network", "")) for owner in owners] + [NONE], dtype=np.int64)
        operator = match[nets]
        for place, name in self.reverse.items():
            if operator[place] == NONE:
                by_name = services.operator("", host=name)
                operator[place] = self.matches.code(by_name) if by_name else NONE
        operator = np.where(operator == NONE, self._first(self.names.operator), operator)
        for asn in distinct(self.asn[(operator == NONE) & (self.asn != NONE)]).tolist():
            by_asn = services.operator("", asn=asn)
            if by_asn:
                operator[(operator == NONE) & (self.asn == asn)] = self.matches.code(by_asn)
        self.operator = self._not_mine(operator)
        self.signer = self._not_mine(self._first(self.names.signer))
        self.signed_by = np.zeros(self.size, dtype=bool)
        self.carries = self._carried_by_signer()
        aligned_ = _larger(_larger(found.dkim_aligned, found.spf_aligned), 1)
        self.signed_by = (self.signer != NONE) & (self.carries >= SIGNED_SHARE * aligned_)

    def _not_mine(self, matches: Any) -> Any:
        """Without the services that look at their own domains."""
        import numpy as np

        from dmarcview.sources.refresh import not_mine

        size = len(self.matches) + 1
        pairs = self.found.domain * size + matches + 1
        listed = list(self.matches)
        out = matches.copy()
        for pair in distinct(pairs[matches != NONE]).tolist():
            match, domain = listed[pair % size - 1], self.found.domains[pair // size]
            if not_mine(match, domain) is None:
                out[pairs == pair] = NONE
        return np.asarray(out)

    def _carried_by_signer(self) -> Any:
        """Messages under a good signature of the service that is the source's signer."""
        import numpy as np

        found, out = self.found, np.zeros(self.size, dtype=np.int64)
        if not len(found.at):
            return out
        signs = (self.signer[found.at] != NONE) & (self.names.org[found.identity] != NONE)
        at, identity, carried = found.at[signs], found.identity[signs], found.carried[signs]
        size = len(found.identities)
        pairs, inverse = np.unique(self.signer[at] * size + identity, return_inverse=True)
        listed = list(self.matches)
        under = [
            f".{found.identities[pair % size].name.lower()}".endswith("." + listed[pair // size].key)
            for pair in pairs.tolist()
        ]
        keep = np.array(under, dtype=bool)[inverse] if len(pairs) else signs[:0]
        sources, sums = summed(at[keep], carried[keep])
        out[sources] = sums
        return out

    # habits

    def _habits(self) -> None:
        """The habits of domains that are not known yet, over all of their sources, which must all be here."""
        found = self.found
        fresh = [place for place, domain in enumerate(found.domains) if domain not in self.habits]
        if not fresh:
            return
        homes: dict[int, dict[Key, dict[str, int]]] = {place: {} for place in fresh}
        anchors: dict[int, dict[Key, int]] = {place: {} for place in fresh}
        for domain, key, org, is_anchor, messages in self._signed():
            if domain not in homes:
                continue
            by_envelope = homes[domain].setdefault(key, {})
            by_envelope[org] = by_envelope.get(org, 0) + messages
            if is_anchor:
                anchors[domain][key] = anchors[domain].get(key, 0) + messages
        found_blocks, services = self._anchors()
        for place in fresh:
            known = {key: Home(anchors[place].get(key, 0), held) for key, held in homes[place].items()}
            where, run_by = frozenset(found_blocks.get(place, ())), frozenset(services.get(place, ()))
            self.habits[found.domains[place]] = Habits(known, where, run_by)

    def _signed(self) -> list[tuple[int, Key, str, bool, int]]:
        """What our keys signed: (domain, key, envelope organisation, from anchored sources, messages)."""
        import numpy as np

        found, listed, orgs = self.found, list(self.keys), [*self.orgs, ""]
        any_key = self.keys.code(ANY_KEY)
        listed = list(self.keys)
        mine = (found.dkim_aligned[self.own_at] > 0) & (self.own_key != any_key)
        signing = np.flatnonzero(found.dkim_aligned > 0)
        at = np.concatenate([self.own_at[mine], signing])
        key = np.concatenate([self.own_key[mine], np.full(len(signing), any_key)])
        messages = np.concatenate([self.own_messages[mine], found.dkim_aligned[signing]])
        org = np.where(self.anchored, NONE, self.other)[at] + 1
        packed, sums = summed(
            _packed([(found.domain[at], len(found.domains)), (key, len(listed)), (org, len(orgs)),
                     (self.anchored[at].astype(int), 2)]), messages
        )  # fmt: skip
        out = []
        for code, total in zip(packed.tolist(), sums.tolist(), strict=True):
            rest, is_anchor = divmod(code, 2)
            rest, name = divmod(rest, len(orgs))
            domain, place = divmod(rest, len(listed))
            out.append((domain, listed[place], orgs[name - 1], bool(is_anchor), total))
        return out

    def _anchors(self) -> tuple[dict[int, set[tuple[int, int]]], dict[int, set[str]]]:
        """By domain, the networks of anchored sources that no service runs, and the services that run the others."""
        found, listed = self.found, list(self.matches)
        where: dict[int, set[tuple[int, int]]] = {}
        services: dict[int, set[str]] = {}
        run = self.anchored & (self.operator != NONE)
        for pair in distinct(found.domain[run] * len(listed) + self.operator[run]).tolist():
            services.setdefault(pair // len(listed), set()).add(listed[pair % len(listed)].service.name)
        alone = self.anchored & (self.operator == NONE)
        v4 = alone & (self.numbers.v4 >= 0)
        for pair in distinct(found.domain[v4] << 24 | self.numbers.v4[v4] >> 8).tolist():
            where.setdefault(pair >> 24, set()).add((4, pair & 0xFFFFFF))
        for place, other in self.numbers.others.items():
            if alone[place]:
                where.setdefault(int(found.domain[place]), set()).add((6, other.number >> 64))
        return where, services

    def _ways(self) -> None:
        """How what our keys signed came by each source: by its busiest key."""
        import numpy as np

        found, listed, orgs = self.found, list(self.keys), list(self.orgs)
        size = max(len(listed), 1)
        pairs, inverse = np.unique(
            np.where(self.key == NONE, NONE, found.domain * size + self.key), return_inverse=True
        )
        anchored, messages, envelope = [], [], []
        places = {name: place for place, name in enumerate(orgs)}
        for pair in pairs.tolist():
            home = None
            if pair != NONE:
                home = self.habits[found.domains[pair // size]].homes.get(listed[pair % size])
            here = home is not None and home.messages > 0
            anchored.append(here and home is not None and home.is_anchored)
            messages.append(home.messages if here and home is not None else 0)
            name = home.envelope if here and home is not None else ""
            envelope.append(places.get(name, len(orgs)) if name else NONE)
        total = np.array(messages, dtype=np.int64)[inverse]
        is_anchored = np.array(anchored, dtype=bool)[inverse]
        elsewhere = np.array(envelope, dtype=np.int64)[inverse] != self.other
        self.passed_on = (total > 0) & (is_anchored | elsewhere)
        share = np.minimum(1.0, self.signs / np.maximum(total, 1))
        self.share = np.where(self.key == NONE, 0.0, np.where(total > 0, share, 1.0))

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
            found.forwarded >= OVERRIDE_SHARE * found.messages,
            found.forwarded >= OVERRIDE_ALONE * found.messages,
            found.messages >= ESTABLISHED,
            self.other != NONE,
            self._first(self.names.other) != NONE,
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
        pairs, inverse = np.unique(self.found.domain * size + self.operator + 1, return_inverse=True)
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
        known = _Table()
        for place in np.flatnonzero(asked).tolist():
            facts = found.facts(place)
            label = labels.find(facts, self._who(facts, place))
            out[place] = NONE if label is None else known.code(id(label))
        return out

    def _who(self, facts: SourceFacts, place: int) -> Who:
        return self.known.who(facts, self.places[self.place[place]], self.reverse.get(place))

    def table(self) -> Any:
        """The new rows, as `blocks.put` takes them."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        nets, _ = self.known.said.own_networks.find(self.numbers)
        parts = (self._flags(), self.confidence, self.operator, self.signer, nets, self._agreed(), self._labels(),
                 self.history)  # fmt: skip
        _, first, case = np.unique(_packed([_from_zero(p) for p in parts]), return_index=True, return_inverse=True)
        judged = [self._judge(place) for place in first.tolist()]
        findings = [one.finding for one in judged]

        def of_case(values: list[Any]) -> Any:
            return pa.array(values, pa.string()).take(pa.array(case))

        def held(column: str, values: Any) -> Any:
            """The values of a column where the sentences of the case need it."""
            needed = np.array([column in one.held for one in judged], dtype=bool)
            return np.where(needed[case], values, 0)

        def texts(column: str, words: list[str], places: Any) -> Any:
            needed = np.array([column in one.held for one in judged], dtype=bool)
            mask = ~(needed[case] & (places != NONE))
            return pa.array(words or [""], pa.string()).take(pa.array(np.where(mask, 0, places), mask=mask))

        key, key_words = self._key_words()
        signature = self._first(self.names.other)
        service = of_case([f.service for f in findings])
        enveloped = np.array([one.from_envelope for one in judged], dtype=bool)
        if enveloped.any():
            by_envelope = pa.array([*self.orgs, None], pa.string()).take(
                pa.array(np.where(self.other == NONE, len(self.orgs), self.other))
            )
            service = pc.if_else(pa.array(enveloped[case]), by_envelope, service)
        reverse = [None] * self.size if not self.reverse else [self.reverse.get(n) for n in range(self.size)]
        place = pa.array(self.place)
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
            "country": pa.array([p.country for p in self.places], pa.string()).take(place),
            "as_name": pa.array([p.as_name for p in self.places], pa.string()).take(place),
            "asn": pa.array([p.asn for p in self.places], pa.int64()).take(place),
            "reverse_dns": pa.array(reverse, pa.string()),
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
        return pa.table({n: columns[n] for n in blocks.NAMES if n != "changed"}).cast(_without_changed())

    def _key_words(self) -> tuple[Any, list[str]]:
        """The busiest key of each source, for a sentence: places among words, and these."""
        import numpy as np

        listed, size = list(self.keys), max(len(self.keys), 1)
        packed = np.where(self.key == NONE, NONE, self.found.domain * size + self.key)
        pairs, inverse = np.unique(packed, return_inverse=True)
        words = _Table()
        places = [
            NONE if pair == NONE else words.code(key_name(listed[pair % size], self.found.domains[pair // size]))
            for pair in pairs.tolist()
        ]
        return np.array(places, dtype=np.int64)[inverse], list(words)

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
        finding = classify(facts, self._who(facts, place), self.habits[facts.domain], self.known.said, previous)
        kept = []
        columns: set[str] = set()
        for reason in finding.evidence:
            held = HELD.get(reason.code, {})
            columns.update(held.values())
            kept.append([reason.code, {name: value for name, value in reason.fields.items() if name not in held}])
        approved = any(reason.code == "approved_service" for reason in finding.evidence)
        from_envelope = finding.service_type == UNLISTED and not approved
        return _Judged(finding, orjson.dumps(kept).decode(), frozenset(columns), from_envelope)


def _codes(evidence: str) -> frozenset[str]:
    """The codes of stored reasons."""
    found = orjson.loads(evidence)
    return frozenset(str(reason.get("code")) if isinstance(reason, dict) else reason[0] for reason in found)


def _without_changed() -> Any:
    import pyarrow as pa

    return pa.schema([field for field in blocks.schema() if field.name != "changed"])


def _larger(one: Any, other: Any) -> Any:
    import numpy as np

    return np.maximum(one, other)


def _ranked(things: list[Any]) -> tuple[Any, Any]:
    """For each thing its place in order, and for each place in order the thing."""
    import numpy as np

    order = np.array(sorted(range(len(things)), key=things.__getitem__), dtype=np.int64)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank, order


def _best(at: Any, rank: Any, weight: Any, size: int) -> tuple[Any, Any]:
    """For each source the rank of most weight, the first among equals, and the weight; `at`, `rank` ascend."""
    import numpy as np

    best, most = np.full(size, NONE, dtype=np.int64), np.zeros(size, dtype=np.int64)
    if len(at):
        starts = np.flatnonzero(np.concatenate([[True], at[1:] != at[:-1]]))
        most[at[starts]] = np.maximum.reduceat(weight, starts)
        places = np.flatnonzero(weight == most[at])[::-1]
        best[at[places]] = rank[places]
    return best, most


def _from_zero(values: Any) -> tuple[Any, int]:
    """Values moved to begin at 0, and how many there may be."""
    if not len(values):
        return values, 1
    low, high = int(values.min()), int(values.max())
    return values - low, high - low + 1


def _packed(parts: list[tuple[Any, int]]) -> Any:
    """Several small numbers of each source as one; (values, bound) each. Equal ones stay equal, others differ."""
    import numpy as np

    out, bound = parts[0]
    for values, size in parts[1:]:
        if bound * size > LARGEST:
            _, out = np.unique(out, return_inverse=True)
            bound = len(out) + 1
        out, bound = out * size + values, bound * size
    return out
