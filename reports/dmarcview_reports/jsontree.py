"""JSON from outside: how much of it may become Python objects, and how a long file is cut into its objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from .errors import Refused

NODES = 1_000_000  # most values in one object that is parsed; each may cost some 200 bytes of memory

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\]]', re.S)
_WRAPPER = re.compile(rb'\s*\{\s*"aggregate_reports"\s*:\s*\[')


def checked(text: bytes) -> Any:
    """The value of a JSON text. Raises Refused: bad_json, or too_complex when it has more than NODES values."""
    if text.count(b",") + text.count(b"[") + text.count(b"{") > NODES:
        raise Refused("too_complex", f"The JSON has more than {NODES} values in one object. Split the report up.")
    try:
        return orjson.loads(text.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise Refused("bad_json", f"The JSON is damaged: {error}. Ask for it again.") from None


def objects(text: bytes) -> Iterator[bytes]:
    """Texts of the objects in an array, in JSON lines, or in `{"aggregate_reports": [...]}`; or the one object itself.

    Raises Refused bad_json, after the whole ones, when the text ends within an object.
    """
    wrapped = _WRAPPER.match(text)
    depth, start = 0, 0
    for token in _TOKEN.finditer(text, wrapped.end() if wrapped else 0):
        sign = token[0]
        if sign == b"{":
            if not depth:
                start = token.start()
            depth += 1
        elif sign == b"}":
            depth -= 1
            if depth == 0:
                yield text[start : token.end()]
            elif depth < 0:
                break
        elif wrapped and not depth and sign == b"]":
            return
    if depth > 0:
        raise Refused("bad_json", "The JSON ends within an object; the whole ones before it were kept.")
