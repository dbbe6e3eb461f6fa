"""The lenient reader: makes the same events as expat of XML that is not well formed, and says what it repaired.

It never guesses a value. A bare `&` or `<` is that character; characters that XML forbids go; an end tag closes what
was left open inside its element, or nothing; a file that ends too early keeps the whole records before the cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .errors import Refused
from .parse_reader import MAX_DEPTH, MAX_TOKEN, TOP, Collector, refuse_doctype

# What may follow a `<`. A name is followed by white space, `/` or `>`; else `<user@example.org>` would be a tag.
_TAG = re.compile(r"<(/?)([A-Za-z_][\w.:-]*)((?:\s[^<>]*)?)(/?)>")
_ATTRIBUTE = re.compile(r"([\w.:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_REFERENCE = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#[xX]([0-9A-Fa-f]{1,6}));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")  # XML 1.0 section 2.2
# Constructs that run to a terminator: (start, terminator, is their content text).
_SPANS = (("<!--", "-->", False), ("<![CDATA[", "]]>", True), ("<?", "?>", False))
MAX_REPAIRS = 100_000
MAX_SPANS = 1_000_000  # comments, CDATA sections and processing instructions
_LONGEST_START = 9
_LONGEST_REFERENCE = 12
_ROOT_ATTRIBUTES = 2000  # characters of the root's tag in which namespaces are looked for


def read_lenient(blocks: Iterable[str], collector: Collector, codes: set[str]) -> None:
    """Feed what can be read to the collector; adds to `codes`. Raises Refused (also when there is no report in it)."""
    _Lenient(collector, codes).run(iter(blocks))


class _Lenient:
    def __init__(self, collector: Collector, codes: set[str]) -> None:
        self._to = collector
        self._codes = codes
        self._open: list[str] = []  # names of the open elements
        self._declared = False
        self._begun = False  # a root was seen
        self._repairs = 0
        self._spans = 0

    def run(self, blocks: Iterator[str]) -> None:
        buffer, final = "", False
        while not final:
            block = next(blocks, None)
            final = block is None
            buffer = self._eat(buffer + (block or ""), blocks, final)
        if not self._begun:
            if self._declared:
                raise Refused("bad_xml", "There is an XML declaration, and no element that can be read.")
            raise Refused("not_a_report", "There is no XML in it.")
        if self._open:
            self._codes.add("truncated")

    def _eat(self, text: str, blocks: Iterator[str], final: bool) -> str:
        """Take the tokens of `text`; gives back the start of one that may go on in the next block."""
        at = 0
        while True:
            tag = text.find("<", at)
            if tag < 0:
                return self._last_text(text, at, final)
            if tag > at:
                self._text(text[at:tag])
            at = tag
            if not final and len(text) - at < _LONGEST_START:
                return text[at:]
            found = _TAG.match(text, at)
            if found:
                self._tag(found)
                at = found.end()
                continue
            span = next((span for span in _SPANS if text.startswith(span[0], at)), None)
            if span:
                text, at = self._span(text, at, span, blocks)
                continue
            if text.startswith("<!", at):
                self._declaration(text[at + 2 : at + 12])
            unfinished = text.find("<", at + 1) < 0 and text.find(">", at) < 0
            if unfinished and final:
                return ""  # cut within a tag
            if unfinished and len(text) - at < MAX_TOKEN:
                return text[at:]
            self._literal()
            at += 1

    def _last_text(self, text: str, at: int, final: bool) -> str:
        """Take text up to a reference that may go on in the next block."""
        cut = len(text)
        if not final:
            reference = text.rfind("&", max(at, cut - _LONGEST_REFERENCE))
            cut = cut if reference < 0 else reference
        self._text(text[at:cut])
        return text[cut:]

    def _span(self, text: str, at: int, span: tuple[str, str, bool], blocks: Iterator[str]) -> tuple[str, int]:
        """Skip or take a comment, a CDATA section or a processing instruction; gives back what is left, and where."""
        start, terminator, is_text = span
        self._spans += 1
        if self._spans > MAX_SPANS:
            raise Refused("too_complex", f"The XML has more than {MAX_SPANS} comments and the like.")
        if text.startswith("<?xml", at):
            if self._declared or self._begun:
                self._codes.add("bad_declaration")
            self._declared = True
        at += len(start)
        while True:
            end = text.find(terminator, at)
            keep = end if end >= 0 else max(at, len(text) - len(terminator) + 1)
            if is_text:
                self._characters(text[at:keep])
            if end >= 0:
                return text, end + len(terminator)
            block = next(blocks, None)
            if block is None:
                self._codes.add("truncated")
                return "", 0
            text, at = text[keep:] + block, 0

    def _declaration(self, word: str) -> None:
        """`<!` that starts neither a comment nor CDATA."""
        if word.upper().startswith("DOCTYPE"):
            refuse_doctype()
        if word.upper().startswith("ENTITY"):
            raise Refused("entity", "The XML declares an entity, which no report needs.")

    def _tag(self, tag: re.Match[str]) -> None:
        if self._to.root_closed:
            self._repaired("junk_after")
            return
        closing, name, attributes, single = tag.groups()
        if closing:
            self._close(name)
            return
        if attributes.endswith("/"):
            single = "/"
        local = name.rpartition(":")[2]
        stray = local == "version" and len(self._open) == 2 and self._open[1].rpartition(":")[2] not in TOP
        if (local in TOP and len(self._open) > 1) or stray:
            # Something before it was not closed: an extension's schema, or the record before.
            self._codes.add("bad_nesting")
            self._close_to(1)
        known = {} if self._begun else {k: a or b for k, a, b in _ATTRIBUTE.findall(attributes[:_ROOT_ATTRIBUTES])}
        self._begun = True
        self._to.start(name, known)
        if single:
            self._to.end(name)
        else:
            self._open.append(name)

    def _close(self, name: str) -> None:
        opened = self._open
        if opened and opened[-1] == name:
            opened.pop()
            self._to.end(name)
            return
        self._repaired("bad_nesting")
        for depth in range(len(opened) - 1, max(-1, len(opened) - 1 - MAX_DEPTH), -1):
            if opened[depth] == name:
                self._close_to(depth)
                return

    def _close_to(self, depth: int) -> None:
        while len(self._open) > depth:
            self._to.end(self._open.pop())

    def _text(self, text: str) -> None:
        if "&" in text and self._to.wants_text:
            text = self._references(text)
        self._characters(text)

    def _references(self, text: str) -> str:
        """Resolve the references that XML knows; any other `&` is itself."""
        parts, at = [], 0
        for found in _REFERENCE.finditer(text):
            parts.append(self._bare(text[at : found.start()]))
            parts.append(self._reference(found))
            at = found.end()
        parts.append(self._bare(text[at:]))
        return "".join(parts)

    def _bare(self, text: str) -> str:
        if "&" in text:
            self._codes.add("bad_markup")
        return text

    def _reference(self, found: re.Match[str]) -> str:
        name, decimal, hexadecimal = found.groups()
        if name:
            return _NAMED[name]
        point = int(decimal) if decimal else int(hexadecimal, 16)
        if point > 0x10FFFF:
            self._codes.add("bad_markup")
            return found.group()
        return chr(point)

    def _repaired(self, code: str) -> None:
        self._codes.add(code)
        self._repairs += 1
        if self._repairs > MAX_REPAIRS:
            raise Refused("bad_xml", f"The XML would need more than {MAX_REPAIRS} repairs.")

    def _literal(self) -> None:
        """A `<` that starts nothing."""
        if self._open:
            self._repaired("bad_markup")
            self._to.data("<")
        else:
            self._repaired("junk_after" if self._begun else "junk_before")
            self._outside("<")

    def _characters(self, text: str) -> None:
        if not self._open:
            self._outside(text)
            return
        kept = _FORBIDDEN.sub("", text)
        if len(kept) != len(text):
            self._codes.add("bad_characters")
        self._to.data(kept.replace("\r\n", "\n").replace("\r", "\n"))

    def _outside(self, text: str) -> None:
        if text.strip():
            self._codes.add("junk_after" if self._begun else "junk_before")
