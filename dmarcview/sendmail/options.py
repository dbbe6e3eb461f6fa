"""The options of sendmail, as programs have used them for forty years; what makes no sense here is ignored."""

from __future__ import annotations

import getopt
import re
from collections.abc import Sequence
from typing import NamedTuple

from dmarcview_relay.author import AuthorError, read_mailboxes
from dmarcview_smtp.address import Address, AddressError, read_address

_LETTERS = "A:B:C:F:GIL:N:O:R:UV:X:ab:ce:f:h:imno:p:r:tv"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOTIFY = ("NEVER", "SUCCESS", "FAILURE", "DELAY")
_ENVID = re.compile(r"[\x21-\x7e]{1,100}")
ELSEWHERE = {
    "d": "`dmarcview relay` runs the relay",
    "p": "`dmarcview queue list` shows what waits",
    "q": "the relay tries by itself; `dmarcview queue retry all` makes it try now",
    "i": "there are no aliases",
}


class UsageError(Exception):
    """An option or a recipient that cannot be used; the text says why."""


class Options(NamedTuple):
    """What was asked for. `sender` is None for the null sender, and "" when nothing was said."""

    sender: Address | str | None = ""
    full_name: str = ""
    recipients: tuple[Address, ...] = ()
    from_header: bool = False  # -t
    dots: bool = False  # -i: a line with a single dot is text
    verbose: bool = False
    speaks_smtp: bool = False  # -bs
    notify: tuple[str, ...] = ()
    ret: str = ""
    envid: str = ""
    config: str = ""


def read_options(words: Sequence[str]) -> Options:
    """Read the command line. Raises UsageError."""
    for word in words:
        if _CONTROL.search(word):
            raise UsageError("control bytes in the command line")
    if any(re.fullmatch(r"-q[0-9a-zA-Z!]*", word) for word in words):
        raise UsageError(f"-q: {ELSEWHERE['q']}")
    try:
        pairs, rest = getopt.gnu_getopt(list(words), _LETTERS)
    except getopt.GetoptError as error:
        raise UsageError(str(error)) from None
    found = Options()
    for letter, value in pairs:
        found = _with(found, letter[1], value)
    return found._replace(recipients=tuple(address for word in rest for address in recipients(word)))


def _with(found: Options, letter: str, value: str) -> Options:
    """What one option adds. Raises UsageError."""
    if letter in "fr":
        return found._replace(sender=_sender(value))
    if letter == "b":
        if value not in ("m", "s"):
            raise UsageError(f"-b{value}: {ELSEWHERE.get(value, 'not known')}")
        return found._replace(speaks_smtp=value == "s")
    if letter == "N":
        return found._replace(notify=_notify(value))
    if letter == "R":
        if value.upper() not in ("FULL", "HDRS"):
            raise UsageError("-R is full or hdrs")
        return found._replace(ret=value.upper())
    if letter == "V":
        if not _ENVID.fullmatch(value):
            raise UsageError("-V takes up to 100 visible ASCII characters")
        return found._replace(envid="".join(f"+{ord(char):02X}" if char in "+=" else char for char in value))
    changes: dict[str, dict[str, bool | str]] = {
        "F": {"full_name": value},
        "C": {"config": value},
        "t": {"from_header": True},
        "i": {"dots": True},
        "v": {"verbose": True},
        "o": {"dots": found.dots or value == "i"},
    }
    return found._replace(**changes.get(letter, {}))  # type: ignore[arg-type]


def _sender(text: str) -> Address | None:
    if text in ("", "<>"):
        return None
    try:
        return read_address(text[1:-1] if text.startswith("<") and text.endswith(">") else text)
    except AddressError as error:
        raise UsageError(f"-f {text}: {error}") from None


def _notify(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(text.upper().split(",")))
    if not all(word in _NOTIFY for word in words) or ("NEVER" in words and len(words) > 1):
        raise UsageError("-N is never, or some of success,failure,delay")
    return words


def recipients(text: str) -> tuple[Address, ...]:
    """The addresses in a word of the command line, or in a field of the header. Raises UsageError."""
    try:
        return read_mailboxes(text)
    except AuthorError as error:
        raise UsageError(f"recipient {text}: {error}") from None
