"""The text of a report: which encoding its bytes are in, handed out in blocks so that no second copy is held."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

BLOCK = 1 << 20  # bytes decoded at a time

_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
_DECLARATION_SEEN = 1024  # an encoding is looked for in so many bytes; nobody writes it later

# Encodings that a report may declare, besides UTF-8 and UTF-16: single bytes and the East Asian ones. Python
# knows others (utf-7, unicode_escape, punycode), which no XML reader does.
_CODECS = {
    "latin1": "latin-1", "cp1252": "cp1252", "gbk": "gbk", "gb2312": "gb18030",
    "gb18030": "gb18030", "big5": "big5", "shift-jis": "cp932", "euc-jp": "euc_jp", "euc-kr": "cp949",
    "koi8-r": "koi8_r", "koi8-u": "koi8_u",
}  # fmt: skip
_CODECS |= {f"iso-8859-{n}": f"iso8859-{n}" for n in range(1, 17) if n != 12}
_CODECS |= {f"windows-{n}": f"cp{n}" for n in range(1250, 1259)}
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_UTF16 = frozenset({"utf-16", "utf16", "utf-16le", "utf-16be", "ucs-2", "unicode", "iso-10646-ucs-2"})

# Bytes that are not in the encoding come out of the decoder as lone surrogates U+DC80 to U+DCFF; these are read as
# Windows-1252, in which the five bytes without a character are C1 controls.
_STRAY = re.compile("[\udc80-\udcff]")
_UNDEFINED_IN_1252 = frozenset({0x81, 0x8D, 0x8F, 0x90, 0x9D})


def _as_1252(match: re.Match[str]) -> str:
    byte = ord(match.group()) - 0xDC00
    return chr(byte) if byte in _UNDEFINED_IN_1252 else bytes((byte,)).decode("cp1252")


class Source:
    """One XML document. `codes` gathers the warnings about its bytes (`bad_encoding`, `bad_declaration`).

    The same text comes out however often `blocks` is called.
    """

    __slots__ = ("_codec", "_data", "_errors", "_start", "codes")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.codes: set[str] = set()
        self._codec, self._start = _sniff(data)
        if not self._codec:
            self._codec, known = _declared(data)
            if not known:
                self.codes.add("bad_declaration")
        # Only single-byte codecs and UTF-8 can hand a stray byte on; the others mark it with U+FFFD.
        self._errors = (
            "replace" if self._codec.startswith(("utf-16", "utf-32", "g", "big5", "euc", "cp9")) else "surrogateescape"
        )

    def blocks(self, size: int = BLOCK) -> Iterator[str]:
        """The text in order, about `size` bytes of it at a time, without byte order mark and leading white space."""
        data, fresh = self._data, True
        decode = codecs.getincrementaldecoder(self._codec)(self._errors).decode
        for at in range(self._start, len(data), size):
            raw = data[at : at + size]
            text = decode(raw, at + size >= len(data))
            if not raw.isascii():
                text = self._settle(text)
            if fresh:
                text = text.lstrip("\ufeff \t\r\n")
                fresh = not text
            if text:
                yield text

    def _settle(self, text: str) -> str:
        if self._errors == "replace":
            if "\ufffd" in text:
                self.codes.add("bad_encoding")
            return text
        settled = _STRAY.sub(_as_1252, text)
        if settled != text:
            self.codes.add("bad_encoding")
        return settled


_BY_ZEROS = {"x0x0": "utf-16-le", "0x0x": "utf-16-be", "x000": "utf-32-le", "000x": "utf-32-be"}


def _sniff(data: bytes) -> tuple[str, int]:
    """Codec and length of a byte order mark, else codec by the zeros of the first character (XML 1.0 Appendix F)."""
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if data.startswith(mark):
            return codec, len(mark)
    zeros = "".join("0" if byte == 0 else "x" for byte in data[:4])
    return _BY_ZEROS.get(zeros, ""), 0


def _declared(data: bytes) -> tuple[str, bool]:
    """Codec that the declaration names, and whether we know it; UTF-8 when there is none (XML 1.0 section 4.3.3)."""
    found = _DECLARED.search(data, 0, _DECLARATION_SEEN)
    if not found:
        return "utf-8", True
    name = found.group(1).decode("ascii").lower()
    if name in _UTF8:
        return "utf-8", True
    if name in _UTF16:  # but the bytes are not: the text was converted and its declaration was not
        return "utf-8", False
    name = name.replace("_", "-")
    return _CODECS.get(name, "utf-8"), name in _CODECS
