"""JSON from outside: how much of it may become Python objects, and how a long file is cut into its objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from .errors import Refused

NODES = 1_000_000  # most values in one object that is parsed; each may cost some 200 bytes of memory

OBJECT_BYTES = 64_000_000  # longest text of one object in a file of many
DEPTH = 200  # most objects inside one another

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}]', re.S)
_TOKEN_OR_END = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\]]', re.S)
_WRAPPER = re.compile(rb'\s*\{\s*"aggregate_reports"\s*:\s*\[')


def checked(text: bytes) -> Any:
    """The value of a JSON text. Raises Refused: bad_json, or too_complex when it has more than NODES values."""
    _weigh(text, 0, len(text))
    try:
        return orjson.loads(text.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise Refused("bad_json", f"The JSON is damaged: {error}. Ask for it again.") from None


def _weigh(text: bytes, start: int, end: int) -> None:
    """Refuse what would cost too much memory, before a byte of it is copied."""
    if end - start > OBJECT_BYTES or sum(text.count(sign, start, end) for sign in (b",", b"[", b"{")) > NODES:
        raise Refused("too_complex", f"The JSON has more than {NODES} values in one object. Split the report up.")


def objects(text: bytes) -> Iterator[bytes]:
    """Texts of the objects in an array, in JSON lines, or in `{"aggregate_reports": [...]}`; or the one object itself.

    Raises Refused, after the objects before it: bad_json when the text ends within an object, too_complex.
    """
    wrapped = _WRAPPER.match(text)
    depth, start = 0, 0
    for token in (_TOKEN_OR_END if wrapped else _TOKEN).finditer(text, wrapped.end() if wrapped else 0):
        sign = text[token.start()]
        if sign == 0x7B:  # {
            if not depth:
                start = token.start()
            depth += 1
            if depth > DEPTH:
                raise Refused("too_complex", f"The JSON has more than {DEPTH} objects inside one another.")
        elif sign == 0x7D:  # }
            depth -= 1
            if depth == 0:
                _weigh(text, start, token.end())
                yield text[start : token.end()]
            elif depth < 0:
                break
        elif sign == 0x5D and not depth:  # ]
            return
    if depth > 0:
        raise Refused("bad_json", "The JSON ends within an object; the whole ones before it were kept.")
