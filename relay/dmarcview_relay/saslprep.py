"""SASLprep: names and passwords in one spelling, however the client's keyboard made them (RFC 4013, RFC 3454)."""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable

LONGEST = 1_024  # characters of a name or password


class PrepError(ValueError):
    """The text holds what no name or password may hold; the reason may be shown."""


_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str, *, stored: bool = False) -> str:
    """The prepared text. Stored text may not hold characters that Unicode 3.2 did not know (RFC 3454 section 7).

    Raises PrepError.
    """
    if len(text) > LONGEST:
        raise PrepError("too long")
    if text.isascii():
        prepared = text
    else:
        spaced = "".join(" " if stringprep.in_table_c12(char) else char for char in text)  # RFC 4013 section 2.1
        kept = "".join(char for char in spaced if not stringprep.in_table_b1(char))
        prepared = unicodedata.ucd_3_2_0.normalize("NFKC", kept)  # section 2.2
    if len(prepared) > LONGEST:  # a single character may become eighteen
        raise PrepError("too long")
    if not prepared:
        raise PrepError("empty")
    for char in prepared:
        if any(table(char) for table in _PROHIBITED):  # section 2.3
            raise PrepError(f"U+{ord(char):04X} is not allowed")
        if stored and stringprep.in_table_a1(char):
            raise PrepError(f"U+{ord(char):04X} is too new a character to be typed alike everywhere")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """RFC 3454 section 6: text from right to left holds nothing from left to right, and is so at both ends."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    if not ends or any(map(stringprep.in_table_d2, text)):
        raise PrepError("letters from right to left and from left to right are mixed")
