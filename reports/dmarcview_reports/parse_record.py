"""Raw texts of one record become its address, its count and its Shape; pure, and the only place that interprets them.

Every interpretation is a memoised function of one text (or of the texts of one entry) and carries the warnings that it
earned, so that the plain and the fast reader share it and cannot differ.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from dmarcview_smtp.alabels import a_labels

from . import vocab
from .model import DkimResult, Shape, SpfResult
from .parse_reader import (
    AUTH,
    COUNT,
    DISPOSITION,
    DKIM,
    ENVELOPE_FROM,
    ENVELOPE_TO,
    EVAL_DKIM,
    EVAL_SPF,
    EVALUATED,
    HEADER_FROM,
    IDENTIFIERS,
    REASONS,
    ROW,
    SOURCE_IP,
    SPF,
    Node,
)
from .settings import Limits

K = TypeVar("K")
V = TypeVar("V")
Codes = tuple[str, ...]
Entry = tuple[str | None, ...]

# Messages of one record, and of one report: more than all mail of the world in a day, and so small that sums over
# millions of reports stay within 64 bits.
MAX_COUNT = 2**40
MAX_REASONS = 100
MEMO_ENTRIES = 20_000
MEMO_TEXT = 200  # characters; longer texts are rare and not worth their memory

_DIGITS = re.compile(r"[0-9]{1,16}")
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){1,5}")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\]:[0-9]{1,5}|([0-9.]{7,15}):[0-9]{1,5}")
_ORDER = {code: n for n, code in enumerate(vocab.WARNINGS)}


def in_order(codes: Iterable[str]) -> Codes:
    """Each code once, in the order of `vocab.WARNINGS`."""
    return tuple(sorted(set(codes), key=_ORDER.__getitem__))


class Memo(dict[K, V], Generic[K, V]):
    """Remembers the answers of a function; forgets all of them when there are too many."""

    __slots__ = ("_answer", "_cap")

    def __init__(self, answer: Callable[[K], V], cap: int = MEMO_ENTRIES) -> None:
        """Keys are texts, or tuples of texts and None."""
        super().__init__()
        self._answer = answer
        self._cap = cap

    def __missing__(self, key: K) -> V:
        value = self._answer(key)
        if self._size(key) <= MEMO_TEXT:
            if len(self) >= self._cap:
                self.clear()
            self[key] = value
        return value

    @staticmethod
    def _size(key: Any) -> int:
        return len(key) if isinstance(key, str) else sum(len(part) for part in key if part)


class Evaluated(NamedTuple):
    """What `policy_evaluated` says."""

    disposition: str | None
    dkim: bool | None
    spf: bool | None


def source_ip(text: str) -> tuple[str | None, Codes]:
    """Canonical text of an address (RFC 5952 for IPv6; IPv4-mapped becomes IPv4), or None when it is none."""
    plain = text.strip()
    if not plain.isascii() or len(plain) > 100:
        return None, ("bad_source_ip",)
    bare = plain
    with_port = _WITH_PORT.fullmatch(bare)
    if with_port:
        bare = with_port.group(1) or with_port.group(2)
    elif bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1].removeprefix("IPv6:")
    bare = bare.partition("%")[0]
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in bare else socket.AF_INET, bare)
    except (OSError, ValueError):
        return None, ("bad_source_ip",)
    if len(packed) == 4:
        return bare, () if bare == plain else ("odd_source_ip",)
    if packed[:12] == b"\0" * 10 + b"\xff\xff":  # RFC 4291 section 2.5.5.2
        return socket.inet_ntop(socket.AF_INET, packed[12:]), ("odd_source_ip",)
    return socket.inet_ntop(socket.AF_INET6, packed), () if bare == plain else ("odd_source_ip",)


def count(text: str) -> tuple[int, Codes]:
    """A positive whole number, or 0 when it is none."""
    plain = text.strip()
    codes: Codes = ()
    if _GROUPED.fullmatch(plain):
        plain, codes = plain.replace(",", ""), ("odd_count",)
    if not _DIGITS.fullmatch(plain) or not 0 < int(plain) <= MAX_COUNT:
        return 0, ("bad_count",)
    return int(plain), codes


class Normaliser:
    """Interprets texts under the limits of one run; keeps memos, so one may serve many reports."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.source_ip: Memo[str, tuple[str | None, Codes]] = Memo(source_ip)
        self.count: Memo[str, tuple[int, Codes]] = Memo(count)
        self.header_from: Memo[str, tuple[str, Codes]] = Memo(self._header_from)
        self.domain: Memo[str, tuple[str | None, Codes]] = Memo(self._domain)
        self.evaluated: Memo[Entry, tuple[Evaluated, Codes]] = Memo(self._evaluated)
        self.reason: Memo[Entry, tuple[tuple[str, str] | None, Codes]] = Memo(self._reason)
        self.dkim: Memo[Entry, tuple[DkimResult | None, Codes]] = Memo(self._dkim)
        self.dkim_result: Memo[Entry, tuple[Entry, Codes]] = Memo(self._dkim_result)
        self._others: dict[Callable[..., Any], Memo[Entry, Any]] = {}
        self.spf_result: Memo[Entry, tuple[Entry, Codes]] = Memo(self._spf_result)
        self.spf: Memo[Entry, tuple[SpfResult | None, Codes]] = Memo(self._spf)

    def remembered(self, interpret: Callable[[Normaliser, Entry], V]) -> Memo[Entry, V]:
        """The memo of a function that interprets texts by means of this one."""
        memo = self._others.get(interpret)
        if memo is None:
            memo = self._others[interpret] = Memo(partial(interpret, self))
        return memo

    def text(self, raw: str | None, codes: list[str]) -> str | None:
        """Without white space around it and cut to `text_bytes`; None when nothing is left."""
        if not raw:
            return None
        cap = self.limits.text_bytes
        if len(raw) * 4 > cap and len(raw[: cap + 1].encode("utf-8", "replace")) > cap:
            codes.append("long_text")
            raw = raw[: cap + 1].encode("utf-8", "replace")[:cap].decode("utf-8", "ignore")
        return raw.strip() or None

    def word(self, raw: str | None, table: vocab.Words, codes: list[str], alias: str = "old_word") -> str | None:
        """The canonical word of a table; None, with a warning, when the table does not know it."""
        text = self.text(raw, codes)
        if text is None:
            return None
        text = text.lower()
        known = table.get(text)
        if known is None:
            codes.append("unknown_word")
        elif known != text:
            codes.append(alias)
        return known

    def name(self, raw: str | None, codes: list[str]) -> str | None:
        """A domain in lower case and A-labels, without its last dot; `<>` is the null sender and no domain.

        Some reporters write U-labels, as the From had them (RFC 6532); the DNS, and all who look it up, know A-labels.
        """
        text = self.text(raw, codes)
        if text is None:
            return None
        if "@" in text:
            codes.append("odd_domain")
            text = text.rpartition("@")[2]
        name = text.strip("<> ").rstrip(".")
        try:
            return a_labels(name) or None
        except UnicodeError:  # then it is no domain, and is kept as it was said
            codes.append("unreadable_domain")
            return name.lower()

    def shape(self, record: Node, structure: Iterable[str]) -> tuple[Shape, Codes]:
        """Shape of a record's node, `header_from` "" when missing; and its warnings, without those of `row`."""
        codes = list(structure)
        row: Node = record[ROW] or [None] * 3
        names: Node = record[IDENTIFIERS] or [None] * 3
        auth = record[AUTH]
        reasons: Iterable[Node] = ()
        evaluated = Evaluated(None, None, None)
        if row[EVALUATED] is None:
            codes.append("missing_policy_evaluated")
        else:
            said = row[EVALUATED]
            evaluated, found = self.evaluated[(said[DISPOSITION], said[EVAL_DKIM], said[EVAL_SPF])]
            codes += found
            reasons = said[REASONS] or ()
        if auth is None:
            codes.append("missing_auth_results")
            auth = [None, None]
        return self.assemble(
            evaluated,
            [self.reason[tuple(reason)] for reason in reasons],
            names,
            [self.dkim[tuple(entry)] for entry in auth[DKIM] or ()],
            [self.spf[tuple(entry)] for entry in auth[SPF] or ()],
            codes,
        )

    def assemble(  # noqa: PLR0917 - these are the parts of a record
        self,
        evaluated: Evaluated,
        reasons: list[tuple[tuple[str, str] | None, Codes]],
        names: Sequence[str | None],
        dkim: list[tuple[DkimResult | None, Codes]],
        spf: list[tuple[SpfResult | None, Codes]],
        codes: list[str],
    ) -> tuple[Shape, Codes]:
        """Put interpreted columns together; entries past a limit and entries without content are left out."""
        limits = self.limits
        many: list[tuple[list[Any], int, str]] = [
            (reasons, MAX_REASONS, "many_reasons"),
            (dkim, limits.dkim_results, "many_dkim"),
            (spf, limits.spf_results, "many_spf"),
        ]
        kept: list[tuple[Any, ...]] = []
        for entries, cap, code in many:
            if len(entries) > cap:
                codes.append(code)
            for _, found in entries[:cap]:
                codes += found
            kept.append(tuple(value for value, _ in entries[:cap] if value is not None))
        header_from, found = self.header_from[names[HEADER_FROM] or ""]
        codes += found
        envelope_from, found = self.domain[names[ENVELOPE_FROM] or ""]
        codes += found
        envelope_to, found = self.domain[names[ENVELOPE_TO] or ""]
        codes += found
        shape = Shape(
            *evaluated,
            tuple(kind for kind, _ in kept[0]),
            tuple(comment for _, comment in kept[0]),
            header_from,
            envelope_from,
            envelope_to,
            kept[1],
            kept[2],
        )
        return shape, in_order(codes) if codes else ()

    def row(self, record: Node) -> tuple[str | None, int, Codes]:
        """Address, count and their warnings; the address is None or the count 0 when the record must be dropped."""
        row: Node = record[ROW] or [None] * 3
        address, codes = self.source_ip[row[SOURCE_IP] or ""]
        number, more = self.count[row[COUNT] or ""]
        return address, number, codes + more

    def _header_from(self, raw: str) -> tuple[str, Codes]:
        codes: list[str] = []
        name = self.name(raw, codes)
        if name is None:
            codes.append("missing_header_from")
        return name or "", tuple(codes)

    def _domain(self, raw: str) -> tuple[str | None, Codes]:
        codes: list[str] = []
        return self.name(raw, codes), tuple(codes)

    def _evaluated(self, said: Entry) -> tuple[Evaluated, Codes]:
        disposition, dkim, spf = said
        codes: list[str] = []
        if not (disposition or "").strip():
            codes.append("missing_disposition")
        aligned: list[bool | None] = []
        for raw, missing in ((dkim, "missing_evaluated_dkim"), (spf, "missing_evaluated_spf")):
            if not (raw or "").strip():
                codes.append(missing)
            word = self.word(raw, vocab.EVALUATIONS, codes, alias="unknown_word")
            aligned.append(None if word is None else word == "pass")
        return Evaluated(self.word(disposition, vocab.DISPOSITIONS, codes), *aligned), tuple(codes)

    def _reason(self, said: Entry) -> tuple[tuple[str, str] | None, Codes]:
        codes: list[str] = []
        kind, comment, bare = (self.text(raw, codes) for raw in said)
        if bare is not None:
            codes.append("bare_reason")
            if kind is None and bare.lower() in vocab.OVERRIDES:
                kind = bare
            else:
                comment = comment or bare
        if kind is None and comment is None:
            return None, tuple(codes)
        if kind is None:
            return ("other", comment or ""), tuple(codes) if bare else (*codes, "missing_reason_type")
        # RFC 7489 Appendix C: `other` is "some policy exception not covered by the other entries".
        return (self.word(kind, vocab.OVERRIDES, codes) or "other", comment or ""), tuple(codes)

    def _dkim(self, said: Entry) -> tuple[DkimResult | None, Codes]:
        codes: list[str] = []
        domain, selector = self.name(said[0], codes), self.text(said[1], codes)
        (result, human), found = self.dkim_result[said[2:]]
        value = DkimResult(domain, selector, result, human)
        return (None if value == (None, None, None, None) else value), (*codes, *found)

    def _dkim_result(self, said: Entry) -> tuple[Entry, Codes]:
        codes: list[str] = []
        return (self.word(said[0], vocab.DKIM_RESULTS, codes), self.text(said[1], codes)), tuple(codes)

    def _spf(self, said: Entry) -> tuple[SpfResult | None, Codes]:
        codes: list[str] = []
        domain = self.name(said[0], codes)
        (scope, result, human), found = self.spf_result[said[1:]]
        value = SpfResult(domain, scope, result, human)
        return (None if value == (None, None, None, None) else value), (*codes, *found)

    def _spf_result(self, said: Entry) -> tuple[Entry, Codes]:
        codes: list[str] = []
        scope, result = self.word(said[0], vocab.SPF_SCOPES, codes), self.word(said[1], vocab.SPF_RESULTS, codes)
        return (scope, result, self.text(said[2], codes)), tuple(codes)
