"""What the rules ask of very many sources, column by column: what `case.py` and `travel.py` work out for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from dmarcview.geo import Geo, Place
from dmarcview.networks import Numbers
from dmarcview.organisation import aligned, organisational
from dmarcview.services import Directory, Match
from dmarcview.sources.case import ESTABLISHED, ESTABLISHED_DAYS, SIGNED_SHARE, Said
from dmarcview.sources.evidence import Who
from dmarcview.sources.rules import KEPT, VOUCHED
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
)
from dmarcview.store import blocks
from dmarcview.store.arrays import NONE, best, distinct, factored, ranked, summed, words
from dmarcview.store.columns import ENVELOPE, SPF, Columns
from dmarcview.store.facts import NamedAddress, SourceFacts

OLD = ("domain", "source_ip", "source_class", "by", "evidence", "reverse_dns", "messages")  # asked of the old rows
WhoOf = Callable[[SourceFacts, Place, str | None], Who]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is asked about addresses and names, and what people said."""

    geo: Geo
    services: Directory
    said: Said
    who: WhoOf
    names: Mapping[str, NamedAddress]  # fresh answers of reverse DNS


class Numbered(dict[Any, int]):
    """Things by number, in order of arrival."""

    def code(self, thing: Any) -> int:
        return self.setdefault(thing, len(self))


class NameTraits(NamedTuple):
    """What each name carried means: places in tables, NONE where it means nothing. One entry an identity."""

    key: Any  # our own key, whose signature passed
    told: Any  # somebody else's organisation, as the envelope tells it
    checked: Any  # the same, as a passed SPF check tells it
    other: Any  # somebody else's organisation, whose signature passed
    org: Any  # the organisation of a passed signature, ours or not
    operator: Any  # the service that a passed SPF check of somebody else means
    signer: Any  # the service that a passed signature of somebody else means
    approved: Any  # the place in the alphabet of the approved organisation of a passed signature


class Traits:
    """What the rules ask of each source, as arrays.

    `habits` holds those of the domains that are known, and gets those of the others.
    """

    def __init__(self, found: Columns, known: Knowledge, old: Any, habits: dict[str, Habits]) -> None:
        import numpy as np

        self.found, self.known, self.old, self.habits = found, known, old, habits
        self.size = len(found)
        self.orgs, self.keys, self.matches = Numbered(), Numbered(), Numbered()
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

    def _names(self) -> NameTraits:
        import numpy as np

        columns: dict[str, list[int]] = {name: [NONE] * len(self.found.identities) for name in NameTraits._fields}
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
        return NameTraits(**{name: np.array(values, dtype=np.int64) for name, values in columns.items()})

    def _match(self, match: Match | None) -> int:
        return NONE if match is None else self.matches.code(match)

    def first(self, values: Any) -> Any:
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

        self.source = {"domain": words(self.found.domains, self.found.domain), "source_ip": pa.array(self.found.ips)}
        at = pa.nulls(self.size, pa.int32())
        if self.old.num_rows:
            mine = pa.table(self.source).cast(pa.schema([("domain", pa.string()), ("source_ip", pa.string())]))
            at = pc.index_in(blocks.keys(mine), value_set=blocks.keys(self.old))
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
        import numpy as np

        found = self.found
        passed = np.maximum(found.spf_aligned, found.dkim_aligned)
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
        rank, back = ranked(list(self.keys))
        packed, self.own_messages = summed(found.at[mine] * size + rank[of[mine]], found.carried[mine])
        self.own_at, ranks = packed // size, packed % size
        self.key, self.signs = best(self.own_at, ranks, self.own_messages, self.size)
        self.own_key = back[ranks]
        self.key = np.where(self.key == NONE, NONE, np.append(back, NONE)[self.key])
        nameless = (self.key == NONE) & (found.dkim_aligned > 0)
        self.key[nameless] = self.keys.code(ANY_KEY)
        self.signs = np.where(nameless, found.dkim_aligned, self.signs)

    def _other(self) -> None:
        """The envelope's organisation when it is somebody else's and carries most of the messages."""
        import numpy as np

        found, size = self.found, max(len(self.orgs), 1)
        rank, back = ranked(list(self.orgs))
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
        other, most = best(packed // size, packed % size, np.maximum(tells, checks), self.size)
        mostly = (other != NONE) & (most >= OTHER_SHARE * found.messages)
        self.other = np.where(mostly, np.append(back, NONE)[other], NONE)
        self.checked = np.zeros(self.size, dtype=bool)
        often = mostly[packed // size] & (packed % size == other[packed // size])
        often &= checks >= OTHER_SHARE * found.messages[packed // size]
        self.checked[packed[often] // size] = True

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
        operator = np.where(operator == NONE, self.first(self.names.operator), operator)
        for asn in distinct(self.asn[(operator == NONE) & (self.asn != NONE)]).tolist():
            by_asn = services.operator("", asn=asn)
            if by_asn:
                operator[(operator == NONE) & (self.asn == asn)] = self.matches.code(by_asn)
        self.operator = self._not_mine(operator)
        self.signer = self._not_mine(self.first(self.names.signer))
        self.signed_by = np.zeros(self.size, dtype=bool)
        self.carries = self._carried_by_signer()
        aligned_ = np.maximum(np.maximum(found.dkim_aligned, found.spf_aligned), 1)
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
        pairs, inverse = factored(self.signer[at] * size + identity)
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
        place = (found.domain[at] * len(listed) + key) * len(orgs) + org
        packed, sums = summed(place * 2 + self.anchored[at], messages)
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
        pairs, inverse = factored(np.where(self.key == NONE, NONE, found.domain * size + self.key))
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


def _codes(evidence: str) -> frozenset[str]:
    """The codes of stored reasons."""
    found = orjson.loads(evidence)
    return frozenset(str(reason.get("code")) if isinstance(reason, dict) else reason[0] for reason in found)
