"""The outbox: asks for the messages that are due, and gives each to its channel until that has taken it.

At least once: a process that dies between the channel's yes and our note of it sends that message again, under the same
Message-ID or webhook-id. Each channel has a lane of its own, and none waits for another.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dmarcview.store import incidents
from dmarcview.store.incidents import DAY, PARTLY, Notice
from dmarcview_smtp.address import read_address

from . import bundle, channels, digest, mail, memory, plan, relayfault, summary, text, webhook
from .bundle import Told
from .fault import NeverTaken, NotTaken
from .lane import Batch, Lane
from .text import Message

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store
    from dmarcview_relay.dns import Resolver
    from dmarcview_smtp.address import Address

log = logging.getLogger(__name__)

MAIL, WEBHOOK = "mail", "webhook"
DIGEST, TEST = "digest", "test"
EACH_STEP = 1_000  # messages of one channel
PATIENCE = 1.0  # seconds that a step waits for the channels; one that takes longer goes on by itself
STOP_SECONDS = 3.0
ASK_SECONDS = 60
BUNDLE = 10  # most messages about incidents that are due at once and go out one by one
HOOK_PAUSE = 0.2  # seconds between two posts of the webhook, when it has more of them


Had = dict[int, frozenset["Address"]]  # by the number of a message: who of its recipients has it while others do not


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


def own(config: Config) -> frozenset[str]:
    """Domains that are ours by the settings: in messages they may be written as names."""
    addresses = [*config.relay.senders, *config.receive.rua, config.alerts.mail_from]
    domains = [*config.domains.watched, *(one.rpartition("@")[2] for one in addresses if "@" in one)]
    return frozenset(one.lower() for one in domains)


class Post:
    """`ask`, then `step`, again and again, from one thread of one process; `stop` from any."""

    def __init__(self, config: Config, store: Store, *, resolver: Resolver | None = None) -> None:
        """`resolver` finds the hosts of recipients where mail goes past the relay; None: as [dns] says."""
        self.config, self.store = config, store
        self._resolver = resolver
        self._lanes: dict[str, Lane] = {}
        self._ended = threading.Event()
        self._asked: tuple[int, int] | None = None  # version of the incidents, and when
        self._had: Had = {}

    def ask(self, now: int) -> int:
        """Put the messages that are due now into the outbox; how many. Looks when incidents or mutes have changed, and
        once a minute for what comes with time."""
        to = names(self.config)
        if not to:
            return 0
        ledger = self.store.ledger
        version = incidents.version(ledger)
        if self._asked is not None and self._asked[0] == version and 0 <= now - self._asked[1] < ASK_SECONDS:
            return 0
        new: list[tuple[int | None, str, str, int]] = []
        for row, said in incidents.about(ledger, now, now - max(DAY, plan.TOLD_LATE_SECONDS)):
            for name in to:
                if kind := plan.due(row, [one for one in said if one.channel == name], now):
                    new.append((row.id, kind, name, row.weight))
        last = next((one.at for one in incidents.told(ledger, None, DIGEST)), None)
        if digest.due(self.config.alerts, last, now):
            new.append((None, DIGEST, MAIL, 0))
        incidents.ask(ledger, new, now)
        self._asked = version, now
        return len(new)

    def step(self, now: int, wait: float = PATIENCE) -> int:
        """Start each channel that has something due and neither works nor rests; how many messages were taken by those
        that were done within `wait` seconds. Never raises for what a channel does. Raises StoreError.
        """
        busy = [name for name, lane in self._lanes.items() if not lane.free(now)]
        by: dict[str, list[Notice]] = {}
        for notice in incidents.due(self.store.ledger, now, EACH_STEP, busy):
            by.setdefault(notice.channel, []).append(notice)
        if self._had and MAIL in by:  # its lane is free, so nobody else has this in hand
            waiting = incidents.waits(self.store.ledger, self._had)
            self._had = {number: had for number, had in self._had.items() if number in waiting}
        begun = [self._lane(name) for name in by]
        for lane in begun:
            batches = _batches(by[lane.name], self._had)
            lane.start(batches, now, HOOK_PAUSE if len(batches) > BUNDLE else 0.0)
        self._wait(begun, wait)
        return sum(lane.taken for lane in begun)

    def stop(self) -> None:
        """Let each channel end after the message under way; what takes longer is left to itself."""
        self._ended.set()
        self._wait(list(self._lanes.values()), STOP_SECONDS)

    def _lane(self, name: str) -> Lane:
        return self._lanes.setdefault(name, Lane(name, self.store.ledger, self._send, self._still, self._ended))

    @staticmethod
    def _wait(lanes: Iterable[Lane], seconds: float) -> None:
        until = time.monotonic() + seconds
        for lane in lanes:
            lane.join(until - time.monotonic())

    def _still(self, batch: Batch, now: int) -> Batch:
        """Those that are still to be said; the others leave the outbox, and are asked for again when they are due."""
        gone = [one.id for one in batch if not self._wanted(one, now)]
        if gone:
            incidents.withdraw(self.store.ledger, gone)
        return [one for one in batch if one.id not in gone]

    def _wanted(self, notice: Notice, now: int) -> bool:
        if notice.incident_id is None:
            return True
        row = incidents.one(self.store.ledger, notice.incident_id, now)
        return row is None or plan.wanted(row, notice.kind, self._about(notice), now)

    def _about(self, notice: Notice) -> list[Notice]:
        """The messages of its channel about its incident, newest first."""
        told = incidents.told(self.store.ledger, notice.incident_id)
        return [one for one in told if one.channel == notice.channel]

    def _send(self, batch: Batch, now: int) -> None:
        """Raises NotTaken."""
        first = batch[0]
        if first.channel not in names(self.config):
            raise NeverTaken(f"[alerts] names no channel {first.channel} any more")
        where = base(self.config)
        if first.kind == DIGEST:
            made = summary.message(digest.gather(self.store, self.config, first.at), where, own(self.config))
            return self._mail(made, batch, now)
        told = [
            Told(one.kind, found, self._told_before(one))
            for one in batch
            if one.incident_id is not None and (found := memory.one(self.store.ledger, one.incident_id, now))
        ]
        if not told:
            raise NeverTaken("the incident is no longer kept")
        one = told[0]
        if first.channel == WEBHOOK:
            content = webhook.body(one.event, first.at, one.incident, where, one.before)
            return _hook(self.config, f"msg_{first.at}_{first.id}", content, now)
        ours = own(self.config)
        if len(told) > 1:
            made = bundle.message(told, where, ours)
        else:
            made = text.message(one.incident, one.event, where, one.before, ours)
        if first.channel == MAIL:
            return self._mail(made, batch, now)
        return channels.send(_channel(self.config, first.channel), made)

    def _told_before(self, notice: Notice) -> int:
        """The weight that the message before this one said."""
        told = [one for one in self._about(notice) if one.kind in plan.ALARMS and one.told]
        return next((one.weight for one in told if (one.at, one.id) < (notice.at, notice.id)), 0)

    def _mail(self, made: Message, batch: Batch, now: int) -> None:
        first, last = batch[0], batch[-1]
        name = f"alert-{last.at}-{first.id}" + (f"-{last.id}" if last is not first else "")
        had = self._had.get(first.id, frozenset())  # of the others the same
        try:
            outcome = mail.send(
                self.config, made, now, name, past=_past(self.config, self.store, now), had=had,
                resolver=self._resolver,
            )  # fmt: skip
        except NotTaken as error:
            raise NotTaken(f"{PARTLY if had else ''}{error}") from None
        if outcome.fault:
            self._had |= {one.id: had.union(outcome.taken) for one in batch}
            raise NotTaken(f"{PARTLY}{outcome.fault}")
        for one in batch:
            self._had.pop(one.id, None)
        log.info("%s went %s", name, outcome.way)


def _batches(notices: Sequence[Notice], had: Had) -> list[Batch]:
    """The messages of one channel: one each, but very many about incidents are one, except for programs.

    What some recipients have already stays apart from what none has, so that nobody gets anything twice.
    """
    many = [one for one in notices if one.incident_id is not None and one.channel != WEBHOOK]
    if len(many) <= BUNDLE:
        return [(one,) for one in notices]
    alike: dict[frozenset[Address], list[Notice]] = {}
    for one in many:
        alike.setdefault(had.get(one.id, frozenset()), []).append(one)
    return [*alike.values(), *((one,) for one in notices if one not in many)]


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
        outcome = mail.send(config, made, now, f"test-{now}", past=_past(config, store, now), resolver=resolver)
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


def _past(config: Config, store: Store, now: int) -> str:
    """Why mail should not be left to the relay now; "" when it may. Raises NotTaken."""
    open_ = [one.finding for one in memory.listed(store.ledger, now, open_only=True)]
    to = {read_address(one).ascii_domain for one in config.alerts.mail_to}
    return relayfault.why(open_, mail.sender(config).ascii_domain, to)
