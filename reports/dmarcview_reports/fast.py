"""The fast reader: records that repeat what an earlier record said, or at least its tags, are not read again.

A regular document is `head (<record><row> <source_ip>A</source_ip> <count>N</count> rest)* tail`. It is cut at every
`<source_ip>`; what lies between one count and the next address, the *rest* of a record, is looked up:

1. the same rest was read before: same shape;
2. a skeleton fits: an expression made of an earlier rest, its tags and white space literal and its texts free;
3. else the strict plain reader reads it, and it may become a skeleton.

This equals reading the whole, because each rest was shown to be well formed by itself, by an XML parser or by an
expression that admits only characters that cannot change its structure, and so was the document without its records.
Whatever is not regular (`read` gives None) is left to the plain reader as a whole.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from .errors import Refused
from .fast_pause import undisturbed
from .fast_skeleton import WHITE, Frame, Outline, Skeleton, Tight, outline
from .model import Shape
from .parse_reader import COUNT, ROW, SOURCE_IP, Damaged, Node, Rest, read_strict
from .parse_record import Codes, Memo, Normaliser, in_order
from .parse_rows import Builder, Rows, collector
from .parse_source import Source

BLOCK = 1 << 20
MAX_SKELETONS = 48
SIGHTINGS = 3  # of an outline before it becomes a skeleton: compiling costs as much as reading some hundred records
MAX_OUTLINES = 512
MAX_LEARNT = 64  # expressions made of one report
MAX_RESTS = 2048  # rests remembered of one report
LONGEST_REST = 4096  # characters; a longer one is neither remembered nor made a skeleton
UNDISTURBED_FROM = 200  # records at a time
_LONGEST_IPV6 = 39
TRIAL = 2000  # records after which remembering must have paid

_FIRST = re.compile(r"<((?:[A-Za-z_][\w.-]{0,40}:)?)source_ip>")
_PLAIN_TEXT = r"[^<>&\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]*"
_SUSPECT = re.compile(r"[<>&\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]")


class _Irregular(Exception):
    """The document is not of the form that this reader knows."""


class Learnt:
    """Skeletons, the last used first: what one report teaches about the next. Never changes an answer."""

    __slots__ = ("frames", "outlines", "skeletons")

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.skeletons: list[Skeleton] = []
        self.outlines: Counter[str] = Counter()


def read(source: Source, normal: Normaliser, learnt: Learnt) -> Rows | None:
    """The records and the rest of a regular document, exactly as the plain reader gives them; None for any other."""
    blocks = source.blocks(BLOCK)
    text = next(blocks, "")
    found = _FIRST.search(text)
    if not found:
        return None
    reader = _Reader(normal, learnt, found.group(1))
    try:
        head, tail = reader.run(text, found.start(), blocks)
        rest = reader.frame(head, tail)
    except (_Irregular, Damaged, Refused):  # which refusal it is, the plain reader says
        return None
    return Rows(reader.builder, rest, source.codes)


class _Tokens(NamedTuple):
    """The tags that a report with one prefix is cut at."""

    open_ip: str
    close_ip: str
    close_count: str
    open_record: str
    close_record: str
    start: str
    stop: str
    gap: re.Pattern[str]
    middle: re.Pattern[str]


@lru_cache(maxsize=64)
def _tokens(prefix: str) -> _Tokens:
    name = re.escape(prefix)
    return _Tokens(
        f"<{prefix}source_ip>",
        f"</{prefix}source_ip>",
        f"</{prefix}count>",
        f"<{prefix}record>",
        f"</{prefix}record>",
        f"<{prefix}record><{prefix}row>",
        f"</{prefix}row></{prefix}record>",
        re.compile(f"{WHITE}<{name}record>{WHITE}<{name}row>{WHITE}"),
        re.compile(f"{WHITE}<{name}count>({_PLAIN_TEXT})"),
    )


class _Reader:
    def __init__(self, normal: Normaliser, learnt: Learnt, prefix: str) -> None:
        self.normal = normal
        self.builder = Builder(normal)
        self._learnt = learnt
        self._cap = normal.limits.text_bytes
        self._tokens = tokens = _tokens(prefix)
        middle, cap, count = tokens.middle, self._cap, normal.count

        def read_count(text: str) -> tuple[int, Codes]:
            found = middle.fullmatch(text)
            if not found or len(text) > cap:
                raise _Irregular
            return count[found.group(1)]

        self._counts: Memo[str, tuple[int, Codes]] = Memo(read_count)
        self._remembered: dict[str, tuple[int, Codes]] = {}
        self._remember = True
        self._learnt_here = 0
        self._read = 0  # rests that were not remembered

    def run(self, text: str, first: int, blocks: Iterator[str]) -> tuple[str, str]:
        """Take all records; gives back the document's text before the first and after the last one."""
        lead = text[:first]
        at = lead.rfind(self._tokens.open_record)
        if at < 0 or not self._tokens.gap.fullmatch(lead, at):
            raise _Irregular
        head, gap = lead[:at], lead[at:]
        carry = text[first + len(self._tokens.open_ip) :]
        while True:
            pieces = carry.split(self._tokens.open_ip)
            carry = pieces.pop()
            if len(pieces) > UNDISTURBED_FROM:
                with undisturbed():
                    self._take(pieces)
            else:
                self._take(pieces)
            block = next(blocks, None)
            if block is None:
                break
            if len(carry) > BLOCK:
                raise _Irregular
            carry += block
        end = carry.find(self._tokens.close_record)
        if end < 0:
            raise _Irregular
        end += len(self._tokens.close_record)
        self._take([carry[:end] + gap])
        return head, carry[end:]

    def frame(self, head: str, tail: str) -> Rest:
        """Read the document with one empty record in place of all of them."""
        whole = f"{head}{self._tokens.start}{self._tokens.stop}{tail}"
        frames = self._learnt.frames
        for place, known in enumerate(frames):
            match = known.match(whole)
            if match:
                if place:
                    frames.insert(0, frames.pop(place))
                return known.rest(match)
        rest = self._frame(whole)
        drawn = self._sighted(whole)
        if drawn:
            frame = Frame(drawn, self._frame(drawn.marked()))
            match = frame.match(whole)
            if match and frame.rest(match) == rest:
                frames.insert(0, frame)
                del frames[MAX_SKELETONS:]
        return rest

    def _frame(self, whole: str) -> Rest:
        records: list[Node] = []
        reader = collector(self.normal, lambda node, _: records.append(node))
        read_strict((whole,), reader)
        if len(records) != 1:
            raise _Irregular
        return reader.rest()

    def _take(self, pieces: list[str]) -> None:
        """The hot loop: one piece is `A</source_ip> <count>N</count> rest`."""
        builder, counts, remembered = self.builder, self._counts, self._remembered
        addresses, numbers, shapes = builder.records.source_ip, builder.records.count, builder.records.shape
        close_ip, close_count = self._tokens.close_ip, self._tokens.close_count
        pton, v4 = socket.inet_pton, socket.AF_INET
        room = self.normal.limits.records - builder.number
        if len(pieces) > room:
            raise _Irregular
        remember = self._remember
        for piece in pieces:
            address, _, rest = piece.partition(close_ip)
            middle, _, rest = rest.partition(close_count)
            builder.number += 1
            number, codes = counts[middle]
            try:
                pton(v4, address)  # takes canonical texts only
            except (OSError, ValueError):
                other, more = self._address(address)
                codes = more + codes
                number, address = (number, other) if other else (0, "")
            if not number:
                self._interpret(rest)
                builder.warn(codes)
                continue
            known = remembered.get(rest) if remember else None
            if known is None:
                known = self._new(rest)
            addresses.append(address)
            numbers.append(number)
            index, more = known
            shapes.append(index)
            if more or codes:
                builder.warn(in_order(codes + more))

    def _new(self, rest: str) -> tuple[int, Codes]:
        """Place of a rest that is not remembered."""
        shape, codes = self._interpret(rest)
        known = self.builder.place(shape), codes
        if self._remember:
            self._read += 1
            if self.builder.number > TRIAL and self._read * 4 > self.builder.number:
                self._remember = False
                self._remembered.clear()
            elif len(rest) <= LONGEST_REST and len(self._remembered) < MAX_RESTS:
                self._remembered[rest] = known
        return known

    def _interpret(self, rest: str) -> tuple[Shape, Codes]:
        """Shape and warnings of a rest, by a skeleton that fits, else by the strict reader."""
        if len(rest) > self._cap:
            raise _Irregular
        skeletons = self._learnt.skeletons
        for place, skeleton in enumerate(skeletons):
            match = skeleton.match(rest)
            if match:
                if place:
                    skeletons.insert(0, skeletons.pop(place))
                return skeleton.shape(match, self.normal)
        end = rest.find(self._tokens.close_record)
        if end < 0:
            raise _Irregular
        end += len(self._tokens.close_record)
        if not self._tokens.gap.fullmatch(rest, end):
            raise _Irregular
        node, structure = self._strictly(rest[:end])
        if node[ROW][SOURCE_IP] is not None or node[ROW][COUNT] is not None:
            raise _Irregular
        answer = self.normal.shape(node, structure)
        self._learn(rest, answer)
        return answer

    def _strictly(self, body: str) -> tuple[Node, set[str]]:
        """Read a rest up to its `</record>` by itself."""
        records: list[tuple[Node, set[str]]] = []

        def take(node: Node, codes: set[str]) -> None:
            records.append((node, codes))

        rest = collector(self.normal, take)
        read_strict(("<feedback>", self._tokens.start, body, "</feedback>"), rest)
        if len(records) != 1:
            raise _Irregular
        return records[0]

    def _sighted(self, piece: str) -> Outline | None:
        """The outline of a piece when it just came often enough to be worth an expression."""
        if len(piece) > min(self._cap, LONGEST_REST) or self._learnt_here >= MAX_LEARNT:
            return None
        drawn = outline(piece)
        if drawn is None:
            return None
        outlines = self._learnt.outlines
        if len(outlines) >= MAX_OUTLINES:
            outlines.clear()
        outlines[drawn.key] += 1
        if outlines[drawn.key] != SIGHTINGS:
            return None
        self._learnt_here += 1
        return drawn

    def _learn(self, rest: str, answer: tuple[Shape, Codes]) -> None:
        """Make skeletons of a rest whose outline came often enough, if they then give the same answer."""
        drawn = self._sighted(rest)
        if drawn is None:
            return
        skeletons = self._learnt.skeletons
        marked, close = drawn.marked(), self._tokens.close_record
        node, structure = self._strictly(marked[: marked.index(close) + len(close)])
        for make in (Skeleton, Tight):
            skeleton = make(drawn, node, structure)
            match = skeleton.match(rest)
            if match and skeleton.shape(match, self.normal) == answer:
                skeletons.insert(0, skeleton)
                del skeletons[MAX_SKELETONS:]

    def _address(self, text: str) -> tuple[str | None, Codes]:
        v6 = socket.AF_INET6
        if len(text) <= _LONGEST_IPV6 and text.isascii():
            try:
                if socket.inet_ntop(v6, socket.inet_pton(v6, text)) == text and "." not in text:
                    return text, ()
            except (OSError, ValueError):
                pass
        if len(text) > self._cap or _SUSPECT.search(text):
            raise _Irregular
        return self.normal.source_ip[text]
