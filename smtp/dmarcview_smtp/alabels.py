"""One way to write a domain: lower case and A-labels, so that what was sent and what is reported compare.

IDNA 2008 (RFC 5890 to 5895): a sharp s and a final sigma are letters of their own, as mail programs and resolvers of
today have it (UTS 46, nontransitional). Python's own codec is IDNA 2003, and makes straße.test strasse.test, which is
another domain.
"""

from __future__ import annotations

import re
import unicodedata

LABEL_OCTETS = 63  # RFC 1035 section 2.3.4
_DOTS = re.compile("[.\u3002]")  # RFC 5895 section 2.3; compatible forms have become one of these
# what UTS 46 ignores: a byte order mark before a name, a soft hyphen, a variation of a letter
_NOTHING = dict.fromkeys([0xAD, 0x34F, *range(0x180B, 0x180E), 0x200B, 0x2060, 0x2064, *range(0xFE00, 0xFE10), 0xFEFF])
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_JOINERS = "\u200c\u200d"  # part of ordinary words in several scripts
_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})


def a_labels(domain: str) -> str:
    """A domain in lower case and A-labels, without its last dot. ASCII is only put in lower case, and not judged.

    Raises UnicodeError for what no A-labels stand for.
    """
    if domain.isascii():
        return domain.lower().rstrip(".")
    # letter by letter: lower() makes another letter of a sigma at the end of a word (UTS 46 never does)
    small = "".join(char.lower() for char in unicodedata.normalize("NFKC", domain.translate(_NOTHING)))
    labels = _DOTS.split(unicodedata.normalize("NFKC", small).rstrip(".\u3002"))
    return ".".join(_a_label(label) for label in labels)


def _a_label(label: str) -> str:
    if not label or len(label) > LABEL_OCTETS:
        raise UnicodeError("a label of a domain has 1 to 63 letters")
    if not all(char in _PLAIN if char.isascii() else _shows(char) for char in label):
        raise UnicodeError("a domain holds a character that no domain has")
    if label.isascii():
        return label
    made = "xn--" + label.encode("punycode").decode("ascii")
    if len(made) > LABEL_OCTETS:
        raise UnicodeError("a label of a domain is too long")
    return made


def _shows(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in _HIDDEN
