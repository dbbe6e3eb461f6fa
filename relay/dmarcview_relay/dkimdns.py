"""What the DNS must say of a key and whether it does: the record's text, its comparison, and a watch that remembers."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .dns import Answer, DnsFailure, Resolver
from .keys import SigningKey

OK, MISSING, DIFFERS, UNKNOWN = "ok", "missing", "differs", "unknown"
STRING_BYTES = 255  # longest string of a TXT record (RFC 1035 section 3.3)
RECORD_BYTES = 16_384  # longest record that is looked at
HOLD = "dkim "  # how the reason of a mail that waits for the DNS begins

_PIECE = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:([0-9]{3})|(.))", re.DOTALL)


class Sight(NamedTuple):
    """What the DNS shows at a key's name: ok, missing, differs or unknown; `why` is a sentence, "" when ok."""

    state: str
    why: str = ""


def record(key: SigningKey) -> str:
    """The text of a key's record (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
    return f"v=DKIM1; k={key.algorithm}; p={key.public}"


def strings(text: str) -> tuple[str, ...]:
    """A record's text in strings of at most 255 bytes, as TXT holds it."""
    return tuple(text[at : at + STRING_BYTES] for at in range(0, len(text), STRING_BYTES)) or ("",)


def zone_line(name: str, text: str) -> str:
    """A TXT record as a zone file has it (RFC 1035 section 5.1); several strings stand in parentheses."""
    quoted = ['"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in strings(text)]
    if len(quoted) == 1:
        return f"{name}. IN TXT {quoted[0]}"
    return "\n".join([f"{name}. IN TXT (", *(f"    {part}" for part in quoted), ")"])


def txt(presentation: str) -> str:
    """The text of a TXT record in presentation format: its strings joined, without blanks between."""
    parts = [plain or quoted for quoted, plain in _PIECE.findall(presentation[: 4 * RECORD_BYTES])]
    return "".join(
        _ESCAPE.sub(lambda found: chr(int(found[1]) & 255) if found[1] else found[2], part) for part in parts
    )


def compare(key: SigningKey, texts: Sequence[str]) -> Sight:
    """What the records found at the key's name mean for it."""
    found = [text for text in texts if "p=" in text.replace(" ", "")]
    if not found:
        return Sight(MISSING, f"the DNS shows no key at {key.name}")
    if len(found) > 1:  # RFC 6376 section 3.6.2.2: what a receiver does then is undefined
        return Sight(DIFFERS, f"the DNS shows {len(found)} keys at {key.name}; leave one")
    tags = _tags(found[0])
    public = "".join(tags.get("p", "").split())
    if not public:
        return Sight(DIFFERS, f"the DNS says that the key at {key.name} was withdrawn (empty p=)")
    if public != key.public:
        return Sight(DIFFERS, f"the DNS shows another key at {key.name}")
    flaw = _flaw(key, tags, found[0])
    return Sight(DIFFERS, f"the record at {key.name} {flaw}") if flaw else Sight(OK)


def _flaw(key: SigningKey, tags: dict[str, str], text: str) -> str:
    """What keeps the record of the right key from counting (RFC 6376 section 3.6.1)."""
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        return "must begin with v=DKIM1"
    if tags.get("k", "rsa") != key.algorithm:
        return f"says k={tags.get('k', 'rsa')[:20]}, the key is {key.algorithm}"
    if "h" in tags and "sha256" not in _list(tags["h"]):
        return "does not allow sha256 in h="
    if "s" in tags and not {"*", "email"} & _list(tags["s"]):
        return "is not for mail (s=)"
    if len(text) > RECORD_BYTES:
        return "is too long"
    return ""


def _list(value: str) -> set[str]:
    return {part.strip() for part in value.split(":")}


def _tags(text: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for part in text[:RECORD_BYTES].split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip(), value.strip())
    return tags


async def look(key: SigningKey, resolver: Resolver, name: str = "") -> tuple[Sight, Answer | None]:
    """What one resolver shows of the key, at its name or at the one that a CNAME led to."""
    try:
        answer = await resolver.ask("TXT", name or key.name)
    except DnsFailure as failure:
        return Sight(UNKNOWN, f"the DNS does not answer: {failure}"), None
    return compare(key, [txt(one) for one in answer.records]), answer


class KeyWatch:
    """Knows whether receivers would find the keys. Answers are believed for `seconds`; while the DNS cannot be asked,
    a key that was ok stays so: no mail is held for a fault that passes. `seconds` may be set anew at any time."""

    def __init__(self, resolver: Resolver, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._resolver = resolver
        self.seconds = seconds
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, Sight]] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[Sight]] = {}

    async def state(self, key: SigningKey) -> str:
        """ok, missing, differs or unknown."""
        return (await self.sight(key)).state

    async def sight(self, key: SigningKey) -> Sight:
        """The state with its reason. Many callers wait for one question."""
        name = (key.name, key.public)
        if name in self._known:
            asked, known = self._known[name]
            if self._clock() < asked + self._lasts(known):
                return known
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.ensure_future(self._ask(key, name))
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(task)  # one caller may go away; the others still wait

    async def hold(self, keys: Iterable[SigningKey]) -> str:
        """Why a mail with signatures of these keys must wait, "" when one of them would be found.

        The text begins with `dkim <domain> <selector>: ` of the first key, by which `Queue.release` finds it again.
        """
        reason = ""
        for key in keys:
            sight = await self.sight(key)
            if sight.state == OK:
                return ""
            reason = reason or f"{held_for(key)}{sight.why}"
        return reason

    def forget(self) -> None:
        """Ask anew next time, as after a change of the keys."""
        self._known.clear()

    async def _ask(self, key: SigningKey, name: tuple[str, str]) -> Sight:
        sight, _ = await look(key, self._resolver)
        before = self._known.get(name)
        if sight.state == UNKNOWN and before and before[1].state == OK:
            sight = before[1]
        self._known[name] = (self._clock(), sight)
        if len(self._known) > 10_000:
            self._known.pop(next(iter(self._known)))
        return sight

    def _lasts(self, sight: Sight) -> float:
        """What is not well is asked again soon, so that mail leaves as soon as the record is there."""
        return self.seconds if sight.state == OK else min(self.seconds, 30.0)


def held_for(key: SigningKey) -> str:
    """How the reason begins of a mail that waits for this key's record."""
    return f"{HOLD}{key.domain} {key.selector}: "
