"""The outbox: asks for the messages that are due, and gives each to its channel until that has taken it.

At least once: a process that dies between the channel's yes and our note of it sends that message again, under the same
Message-ID or webhook-id. A channel that fails is tried again after 1, 5 and 30 minutes, 2 and 6 hours, then it is given
up, and its error stays. Channels do not wait for each other.
"""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dmarcview.store import incidents
from dmarcview.store.incidents import DAY, Notice

from . import channels, digest, mail, memory, plan, summary, text, webhook
from .fault import NeverTaken, NotTaken
from .model import OPENED, WORSE, Incident
from .text import Message

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store
    from dmarcview_relay.dns import Resolver
    from dmarcview_smtp.address import Address

log = logging.getLogger(__name__)

MAIL, WEBHOOK = "mail", "webhook"
DIGEST, TEST = "digest", "test"
WAITS = (60, 300, 1_800, 7_200, 21_600)
EACH_STEP = 100  # messages
# While one of these is open, mail that the relay takes may not leave.
RELAY_FAULTS = frozenset({"queue_stuck", "mail_held", "key_missing"})


class _Result(NamedTuple):
    """Of one try: why it was not taken, whether to try again, and whether the channel takes nothing now."""

    error: str = ""
    again: bool = False
    channel_fails: bool = False


class Tested(NamedTuple):
    """What became of a test message: the text says the way it took, or what to do."""

    channel: str
    taken: bool
    text: str


def names(config: Config) -> tuple[str, ...]:
    """The channels that are set."""
    settings = config.alerts
    own = [MAIL] * bool(settings.mail_to) + [WEBHOOK] * bool(settings.webhook)
    return (*own, *settings.channels)


def base(config: Config) -> str:
    """The address of the pages: as set, else where they listen, with the host's name where that is everywhere."""
    if config.alerts.link:
        return config.alerts.link
    pages = config.dashboard
    host = socket.getfqdn() if pages.listen in ("0.0.0.0", "::") else pages.listen  # noqa: S104 (told apart, not bound)
    return f"http://{f'[{host}]' if ':' in host else host}:{pages.port}/{pages.prefix.strip('/')}"


class Post:
    """`ask`, then `step`, again and again, from one thread of one process."""

    def __init__(self, config: Config, store: Store, *, resolver: Resolver | None = None) -> None:
        """`resolver` finds the hosts of recipients where mail goes past the relay; None: as [dns] says."""
        self.config, self.store = config, store
        self._resolver = resolver
        self._had: dict[int, tuple[Address, ...]] = {}  # by notice: recipients that have it while others do not

    def ask(self, now: int) -> int:
        """Put the messages that are due now into the outbox; how many."""
        to = names(self.config)
        if not to:
            return 0
        ledger = self.store.ledger
        new: list[tuple[int | None, str, str, int]] = []
        for row in incidents.lately(ledger, now, now - plan.TOLD_LATE_SECONDS):
            if kind := plan.due(row, incidents.about(ledger, row, now - DAY), now):
                new += [(row.id, kind, name, row.weight) for name in to]
        last = next((one.at for one in incidents.told(ledger, None, DIGEST)), None)
        if digest.due(self.config.alerts, last, now):
            new.append((None, DIGEST, MAIL, 0))
        incidents.ask(ledger, new, now)
        return len(new)

    def step(self, now: int) -> int:
        """Send what is due; how many were taken. Never raises for what a channel does."""
        due = incidents.due(self.store.ledger, now, EACH_STEP)
        by: dict[str, list[Notice]] = {}
        for notice in due:
            by.setdefault(notice.channel, []).append(notice)
        if not by:
            return 0
        with ThreadPoolExecutor(len(by), "alerts") as pool:
            return sum(pool.map(lambda one: self._empty(one, now), by.values()))

    def _empty(self, notices: Sequence[Notice], now: int) -> int:
        """Send the messages of one channel in their order; after one that the channel did not take, the rest waits."""
        taken = 0
        for notice in notices:
            result = self._try(notice, now)
            taken += not result.error
            again = now + WAITS[notice.tries] if result.again and notice.tries < len(WAITS) else None
            incidents.tried(self.store.ledger, notice.id, now=now, error=result.error, again=again)
            if result.error:
                words = "given up" if again is None else f"tried again in {again - now} s"
                log.warning("%s: message %d did not go out, %s: %s", notice.channel, notice.id, words, result.error)
            if result.channel_fails:
                break
        return taken

    def _try(self, notice: Notice, now: int) -> _Result:
        try:
            self._send(notice, now)
        except NeverTaken as error:
            return _Result(str(error))
        except NotTaken as error:
            return _Result(str(error), again=True, channel_fails=True)
        except Exception as error:  # a fault of ours: other channels and messages go on
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name} line {frame.lineno}"
            return _Result(f"a fault of ours: {type(error).__name__} at {place}", again=True)
        return _Result()

    def _send(self, notice: Notice, now: int) -> None:
        """Raises NotTaken."""
        if notice.channel not in names(self.config):
            raise NeverTaken(f"[alerts] names no channel {notice.channel} any more")
        where = base(self.config)
        if notice.kind == DIGEST:
            made = summary.message(digest.gather(self.store, self.config, notice.at), where)
            return self._mail(made, notice, now)
        found = None if notice.incident_id is None else memory.one(self.store.ledger, notice.incident_id, now)
        if found is None:
            raise NeverTaken("the incident is no longer kept")
        before = self._told_before(notice)
        if notice.channel == WEBHOOK:
            content = webhook.body(notice.kind, notice.at, found, where, before)
            return _hook(self.config, f"msg_{notice.at}_{notice.id}", content, now)
        made = text.message(found, notice.kind, where, before)
        if notice.channel == MAIL:
            return self._mail(made, notice, now)
        return channels.send(_channel(self.config, notice.channel), made)

    def _told_before(self, notice: Notice) -> int:
        """The weight that the message before this one said."""
        told = incidents.told(self.store.ledger, notice.incident_id)
        here = [one for one in told if one.channel == notice.channel and one.kind in (OPENED, WORSE)]
        earlier = [one for one in here if (one.at, one.id) < (notice.at, notice.id)]
        return earlier[0].weight if earlier else 0

    def _mail(self, made: Message, notice: Notice, now: int) -> None:
        outcome = mail.send(
            self.config, made, now, f"alert-{notice.at}-{notice.id}", past=_past(self.store, now),
            had=self._had.get(notice.id, ()), resolver=self._resolver,
        )  # fmt: skip
        if outcome.fault:
            self._had[notice.id] = (*self._had.get(notice.id, ()), *outcome.taken)
            raise NotTaken(outcome.fault)
        self._had.pop(notice.id, None)
        log.info("message %d went %s", notice.id, outcome.way)


def try_channels(config: Config, store: Store, *, resolver: Resolver | None = None) -> list[Tested]:
    """Send a test message by every channel, past the outbox, one after the other."""
    now = int(store.clock())
    out = []
    for name in names(config):
        try:
            way = _tests(config, store, now, resolver)[name if name in (MAIL, WEBHOOK) else ""](name)
            out.append(Tested(name, True, way))
        except NotTaken as error:
            out.append(Tested(name, False, str(error)))
    return out


def _tests(config: Config, store: Store, now: int, resolver: Resolver | None) -> dict[str, Callable[[str], str]]:
    where = base(config)

    def by_mail(name: str) -> str:
        made = text.tested(name, where)
        outcome = mail.send(config, made, now, f"test-{now}", past=_past(store, now), resolver=resolver)
        if outcome.fault:
            raise NotTaken(outcome.fault)
        return outcome.way

    def by_webhook(_: str) -> str:
        _hook(config, f"test_{now}", webhook.body(TEST, now, None, where), now)
        return "taken"

    def by_service(name: str) -> str:
        channels.send(_channel(config, name), text.tested(name, where))
        return "taken"

    return {MAIL: by_mail, WEBHOOK: by_webhook, "": by_service}


def _hook(config: Config, name: str, content: bytes, now: int) -> None:
    webhook.send(config.alerts.webhook, webhook.key(config.alerts.webhook_secret_file), name, content, now)


def _channel(config: Config, name: str) -> channels.Channel:
    return channels.Channel(name, Path(config.alerts.channels[name]), config.alerts.schemes)


def _past(store: Store, now: int) -> str:
    """Why mail should not be left to the relay now; "" when it may."""
    open_: list[Incident] = memory.listed(store.ledger, now, open_only=True)
    fault = next((one for one in open_ if one.finding.kind in RELAY_FAULTS), None)
    return "" if fault is None else f"the relay may be the fault ({fault.finding.title})"
