"""The life of a DKIM key, moved by what the DNS shows: published, then signing; the old one retiring, then retired.

`advance` is pure; it makes no key and asks nobody.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from .dkimdns import DIFFERS, MISSING, OK, UNKNOWN
from .keyfile import ED25519, RSA, KeyFault
from .keys import NEW, PUBLISHED, RETIRED, RETIRING, SIGNING, SigningKey, choices, moved
from .settings import DAY, HOUR, Keys

Signature = tuple[str, str]  # d= and s=

_WHY = {
    NEW: "the DNS no longer shows it",
    PUBLISHED: "the DNS shows it",
    SIGNING: "the DNS has shown it for long enough",
    RETIRING: "a newer key signs",
    RETIRED: "no mail that it signed is on its way any more; its record may go",
}


class Change(NamedTuple):
    """A key before and after a step of its life."""

    old: SigningKey
    new: SigningKey

    def __str__(self) -> str:
        """One line for the log; "" when only the time changed at which the DNS was seen to show it."""
        if self.old.state == self.new.state:
            return ""
        return f"key {self.new.selector} of {self.new.domain} is {self.new.state}: {_WHY[self.new.state]}"


def advance(
    keys: Sequence[SigningKey],
    sights: Mapping[Signature, str],
    now: float,
    settings: Keys,
    *,
    queue_life: float,
    queued: Collection[Signature] = (),
) -> list[Change]:
    """The keys that move now. `sights` has ok, missing, differs or unknown by (domain, selector); `queue_life` is the
    age in seconds at which a mail is given up; `queued` names the signatures of mails that still wait."""
    changes = []
    for group in groups(keys):
        after = [_seen(key, sights.get((key.domain, key.selector), UNKNOWN), now) for key in group]
        shown = [sights.get((key.domain, key.selector)) == OK for key in group]
        after = _switched(after, shown, now, settings.settle_hours * HOUR)
        wait = max(settings.retire_days * DAY, queue_life)
        after = [_retired(key, now, wait, queued) for key in after]
        changes += [Change(old, new) for old, new in zip(group, after, strict=True) if old != new]
    return changes


def groups(keys: Sequence[SigningKey]) -> list[list[SigningKey]]:
    """The keys that follow one another: those of one domain and one algorithm."""
    domains = sorted({key.domain for key in keys})
    found = [[k for k in keys if (k.domain, k.algorithm) == (d, a)] for d in domains for a in (RSA, ED25519)]
    return [group for group in found if group]


def due(keys: Sequence[SigningKey], now: float, rotate_days: int) -> list[SigningKey]:
    """Signing keys so old that a new one should be made, where none is on its way; 0 days is never."""
    return [
        key
        for group in groups(keys)
        if rotate_days and not any(key.state in (NEW, PUBLISHED) for key in group)
        for key in group
        if key.state == SIGNING and now - key.created >= rotate_days * DAY
    ]


def withdraw(keys: Sequence[SigningKey], key: SigningKey, now: float) -> Change:
    """Take a key out of use by hand. Raises KeyFault when nothing else would sign for its domain."""
    if key.state in (RETIRING, RETIRED):
        raise KeyFault(f"key {key.selector} of {key.domain} is {key.state} already")
    signs = key in choices(keys).get(key.domain, ())
    if not choices([one for one in keys if one is not key]).get(key.domain):
        raise KeyFault(
            f"key {key.selector} is the only one of {key.domain}: make its successor with "
            f"`dmarcview key rotate {key.domain}`, or move {key.path} away to sign no more"
        )
    return Change(key, moved(key, RETIRING if signs else RETIRED, now))


def selector_for(hostname: str, now: float, taken: Collection[str], ending: str = "") -> str:
    """A selector for a new key: this host's first label and the day, so that each machine has its own."""
    host = re.sub(r"[^a-z0-9-]", "", hostname.partition(".")[0].lower()).strip("-")[:40] or "dkim"
    base = f"{host}-{datetime.fromtimestamp(now, UTC):%Y%m%d}"
    number = 1
    while (selector := f"{base}{f'-{number}' if number > 1 else ''}{ending}") in taken:
        number += 1
    return selector


def _seen(key: SigningKey, sight: str, now: float) -> SigningKey:
    """New keys become published when they are seen, and new again when they are gone. No answer changes nothing."""
    if sight == OK and not key.seen:
        key = replace(key, seen=now)
    elif sight in (MISSING, DIFFERS):
        key = replace(key, seen=0.0)
    if key.state == NEW and key.seen:
        return moved(key, PUBLISHED, now)
    if key.state == PUBLISHED and not key.seen:
        return moved(key, NEW, now)
    return key


def _switched(group: list[SigningKey], shown: list[bool], now: float, settle: float) -> list[SigningKey]:
    """Let the newest key sign that has settled and is shown now. None waits where no key signs that the DNS shows."""
    signing = [key for key in group if key.state == SIGNING]
    at_once = not any(key.seen for key in signing)
    ready = [
        key
        for key, is_shown in zip(group, shown, strict=True)
        if is_shown and key.state == PUBLISHED and (at_once or now - key.seen >= settle)
    ]
    if not ready:
        return group
    chosen = max(ready, key=lambda key: key.created)
    gone = [key for key in (*signing, *ready) if key is not chosen]
    return [
        moved(key, SIGNING, now)
        if key is chosen
        else moved(key, RETIRING, now)
        if any(key is one for one in gone)
        else key
        for key in group
    ]


def _retired(key: SigningKey, now: float, wait: float, queued: Collection[Signature]) -> SigningKey:
    """A receiver looks for the record when it gets the mail, which may be as late as the queue lives."""
    if key.state == RETIRING and now - key.since >= wait and (key.domain, key.selector) not in queued:
        return moved(key, RETIRED, now)
    return key
