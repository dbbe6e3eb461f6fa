"""Takes mail for sending: who may send what, then completed, signed, durable in the queue, and only now 250.

Nothing is allowed that the settings do not allow. The rules are applied in the dialogue, so that the client hears of
a fault early, and once more on what is queued.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from dmarcview_smtp.address import Address, read_address
from dmarcview_smtp.content import Content
from dmarcview_smtp.gate import Network, client_key, is_within
from dmarcview_smtp.policy import Client, Policy, Transaction
from dmarcview_smtp.replies import NO_ROOM, Reply

from . import maillog
from .allow import AllowError, AllowList
from .envelope import Mail, Queued, Recipient
from .message import Prepared, Refused, Trace, prepare
from .queue import Queue, QueueError
from .rates import HourlyRates, Use
from .settings import RelaySettings
from .sign import NoKey, Signed, Signer, SignError
from .users import User, UserRules, Users

log = logging.getLogger(__name__)

TEXT_CHARS = 400  # of a reply, well below the 512 of RFC 5321 section 4.5.3.1.5
LARGE = 128 * 1024  # a larger mail is worked on in a thread, so that it stops nobody
THIS_MACHINE = "127.0.0.1"  # who comes by a unix socket or the drop folder counts as this address

LOG_IN = Reply(530, "5.7.0", "Log in first", "login_needed")
NOT_FROM_HERE = Reply(550, "5.7.1", "No mail is taken from your address", "client_not_allowed")
NO_NULL_SENDER = Reply(550, "5.7.1", "The null sender is not allowed here", "sender_not_allowed")
NO_DOMAIN = Reply(550, "5.7.1", "Write the recipient with its domain", "recipient_not_allowed")
LITERAL = Reply(550, "5.7.1", "No mail is sent to address literals", "recipient_not_allowed")
BROKEN_RULES = Reply(451, "4.3.5", "The rules of this user cannot be read, try again later", "user_rules")
OWN_HOST = Reply(554, "5.4.6", "This host only sends; mail to itself would go in a circle", "own_host")

Result = TypeVar("Result")
KeyHold = Callable[[Sequence[tuple[str, str]]], Awaitable[str]]


class _Rights(NamedTuple):
    """What a client may use: an address must be on every list."""

    senders: tuple[AllowList, ...]
    froms: tuple[AllowList, ...]
    recipients: tuple[AllowList, ...]
    rate: int = 0


class Rules(NamedTuple):
    """What some settings allow; its files are read."""

    settings: RelaySettings
    rights: _Rights
    networks: tuple[Network, ...]
    redirect: Address | None


class RelayPolicy(Policy):
    """The rules of the relay for all its listeners."""

    def __init__(  # noqa: PLR0917 (what it works with, all of it at once)
        self,
        settings: RelaySettings,
        hostname: str,
        signer: Signer,
        queue: Queue,
        worker_add: Callable[[Queued, bytes], None],
        clock: Callable[[], float],
        counters: Counter[str],
        *,
        users: Users | None = None,
        key_hold: KeyHold | None = None,
    ) -> None:
        """`key_hold` says of signatures (d=, s=) why the mail must wait for the DNS, "" when it need not.

        Raises AllowError and ValueError for settings that cannot be used.
        """
        self._hostname = hostname
        self._signer = signer
        self._queue = queue
        self._worker_add = worker_add
        self._clock = clock
        self._counters = counters
        self._users = users
        self._key_hold = key_hold
        self._rates = HourlyRates(clock)
        self.configure(settings)

    def configure(self, settings: RelaySettings) -> None:
        """Use these settings from now on. Raises AllowError and ValueError, and then the old ones stay."""
        self.use(self.rules(settings))

    @staticmethod
    def rules(settings: RelaySettings) -> Rules:
        """What these settings allow. Raises AllowError and ValueError."""
        senders = AllowList(settings.senders)
        froms = AllowList(settings.froms) if settings.froms else senders
        rights = _Rights((senders,), (froms,), (AllowList(settings.recipients),))
        networks: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in settings.networks)
        redirect = read_address(settings.care.redirect_all) if settings.care.redirect_all else None
        return Rules(settings, rights, networks, redirect)

    def use(self, rules: Rules) -> None:
        """Judge by these from now on."""
        self._settings, self._rights, self._networks, self._redirect = rules
        self._of_users: dict[str, tuple[UserRules, _Rights]] = {}

    # the dialogue

    def on_mail(self, client: Client, mail: Transaction) -> Reply | None:
        """Whether this client may send, as this sender, now."""
        rights = self._rights_of(client)
        if isinstance(rights, Reply):
            return rights
        if refusal := self._judge_sender(rights, mail.sender):
            return refusal
        return None if self._queue.has_room(mail.declared_size) else NO_ROOM

    def on_rcpt(self, client: Client, mail: Transaction, recipient: Address) -> Reply | None:
        """Whether this client may send to this recipient, now."""
        rights = self._rights_of(client)
        if isinstance(rights, Reply):
            return rights
        if refusal := self._judge_recipient(rights, recipient):
            return refusal
        if held := self._queue.suppressed(recipient):
            return Reply(
                550, "5.7.1", f"No mail is sent to this address for now: {_one_line(held.reason)}", "suppressed"
            )
        return self._judge_rates(self._uses(rights, client, [*mail.recipients, recipient]))

    async def on_message(self, client: Client, mail: Transaction, content: Content) -> Reply:
        """Answers after the queue has synced the mail."""
        trace = Trace(
            self._queue.new_id(),
            client.helo,
            client.address,
            client.protocol,
            client.extended,
            client.tls,
            client.tls_cipher,
            bool(client.user),
            mail.utf8,
        )
        try:
            return await self._take(client, mail, content, trace)
        except Refused as refused:
            return refused.reply
        except NoKey as error:
            return Reply(550, "5.7.20", _one_line(str(error)), "no_key")  # RFC 7372 section 3.1
        except SignError as error:
            return Reply(550, "5.6.0", _one_line(str(error)), "not_signable")
        except QueueError as error:
            log.error("%s: mail not taken: %s", client.address, error)
            return NO_ROOM

    async def _take(self, client: Client, mail: Transaction, content: Content, trace: Trace) -> Reply:
        """Raises Refused, NoKey, SignError, QueueError."""
        now = self._clock()

        def prepared() -> Prepared:
            return prepare(content.data, trace, hostname=self._hostname, now=now)

        ready = await _work(content.size, prepared)
        if refusal := self._judge(client, mail, ready):
            return refusal
        signed = await _work(content.size, lambda: self._signer.sign(ready.content, ready.from_domain))
        whole = await self._whole(client, mail, ready, signed, now)
        queued = await self._queue.put(whole, signed.content, trace.queue_id)
        maillog.taken(queued)
        if not whole.hold:
            self._worker_add(queued, signed.content)
        self._counters["accepted"] += 1
        self._counters["bytes"] += content.size
        return Reply(250, "2.0.0", f"Queued as {queued.id}")

    def on_reply(self, client: Client, reply: Reply) -> None:
        """Count refusals."""
        self._counters[reply.reason] += 1
        log.debug("%s: %s %s", client.address, reply.code, reply.text)

    # the rules

    def _rights_of(self, client: Client) -> _Rights | Reply:
        """A login narrows what a client may do, also when it comes from one of the networks."""
        user = self._users.find(client.user) if self._users is not None and client.user else None
        if user is not None:
            return self._rights_of_user(user)
        near = client.is_known and is_within(client.address or THIS_MACHINE, self._networks)
        if near and not client.user:
            return self._rights
        return LOG_IN if client.may_log_in else NOT_FROM_HERE

    def _rights_of_user(self, user: User) -> _Rights | Reply:
        rules, rights = self._of_users.get(user.name, (None, self._rights))
        if rules != user.rules:
            try:
                rights = _narrowed(self._rights, user.rules)
            except AllowError as error:
                log.error("the rules of user %s cannot be used: %s", user.name, error)
                return BROKEN_RULES
            self._of_users[user.name] = (user.rules, rights)
        return rights

    def _judge(self, client: Client, mail: Transaction, ready: Prepared) -> Reply | None:
        """All of it once more, on what would be queued: lists may have changed since, and now the authors are known."""
        rights = self._rights_of(client)
        if isinstance(rights, Reply):
            return rights
        if refusal := self._judge_sender(rights, mail.sender):
            return refusal
        for author in ready.froms:
            if not _on_all(rights.froms, author):
                return Reply(550, "5.7.1", f"From {author} is not allowed here", "from_not_allowed")
        for recipient in mail.recipients:
            if refusal := self._judge_recipient(rights, recipient):
                return refusal
        uses = self._uses(rights, client, mail.recipients)
        if refusal := self._judge_rates(uses):
            return refusal
        self._rates.count(uses)  # no other session comes between, so that many at once stay within the limit
        return None

    def _judge_sender(self, rights: _Rights, sender: Address | None) -> Reply | None:
        if sender is None:
            return None if self._settings.null_sender else NO_NULL_SENDER
        if _on_all(rights.senders, sender):
            return None
        return Reply(550, "5.7.1", f"Sender {sender} is not allowed here", "sender_not_allowed")

    def _judge_recipient(self, rights: _Rights, recipient: Address) -> Reply | None:
        if not recipient.domain:
            return NO_DOMAIN
        if recipient.domain.startswith("["):
            return LITERAL
        if not _on_all(rights.recipients, recipient):
            return Reply(550, "5.7.1", f"Recipient {recipient} is not allowed here", "recipient_not_allowed")
        return OWN_HOST if recipient.ascii_domain == self._hostname.lower() else None

    def _uses(self, rights: _Rights, client: Client, recipients: Sequence[Address]) -> list[Use]:
        """What these recipients mean for the limits by the hour; nothing where there is no limit."""
        rates = self._settings.rates
        uses = [Use("client", client_key(client.address), len(recipients), rates.client_hour)]
        if client.user:
            limit = min(filter(None, (rates.user_hour, rights.rate)), default=0)
            uses.append(Use("user", client.user, len(recipients), limit))
        if rates.domain_hour:
            domains = Counter(recipient.ascii_domain for recipient in recipients)
            uses += [Use("domain", domain, count, rates.domain_hour) for domain, count in domains.items()]
        return [use for use in uses if use.limit]

    def _judge_rates(self, uses: Sequence[Use]) -> Reply | None:
        if full := self._rates.full(uses):
            return Reply(450, "4.7.1", f"The hour's limit of this {full.kind} is reached, try again later", "rate")
        return None

    # what is queued

    async def _whole(self, client: Client, mail: Transaction, ready: Prepared, signed: Signed, now: float) -> Mail:
        recipients = _recipients(mail)
        if self._redirect is not None:
            log.info(
                "redirected to %s: a mail to %s", self._redirect, ", ".join(str(each.address) for each in recipients)
            )
            recipients = (Recipient(self._redirect),)
        addresses = [each.address for each in recipients] + ([mail.sender] if mail.sender else [])
        return Mail(
            sender=mail.sender,
            recipients=recipients,
            accepted=now,
            size=len(signed.content),
            user=client.user,
            client=client.address,
            from_domain=ready.from_domain,
            message_id=ready.message_id,
            dkim=signed.dkim,
            eight_bit=ready.eight_bit,
            utf8=ready.utf8 or not all(address.is_ascii for address in addresses),
            require_tls="REQUIRETLS" in mail.parameters,
            ret=(mail.parameters.get("RET") or "").upper(),
            envid=mail.parameters.get("ENVID") or "",
            hold=await self._hold(recipients, signed),
        )

    async def _hold(self, recipients: Sequence[Recipient], signed: Signed) -> str:
        """Why the mail must wait, "" when it need not. What a person must free goes before what the DNS may free."""
        care = self._settings.care
        if care.hold_all:
            return "hold_all is set"
        if care.recipient_day:
            full = [each for each in recipients if not self._queue.within_day(each.address, care.recipient_day)]
            if full:
                return f"recipient_day: {full[0].address} has had {care.recipient_day} mails today"
        check = self._settings.keys.check
        if self._key_hold is None or check == "off":
            return ""
        reason = await self._key_hold(signed.dkim)
        if reason and check == "warn":
            log.warning("a mail is sent all the same: %s", reason)
            return ""
        return reason


def _narrowed(rights: _Rights, rules: UserRules) -> _Rights:
    """Raises AllowError."""
    senders = _and(rights.senders, rules.senders)
    return _Rights(
        senders,
        _and(rights.froms, rules.froms or rules.senders),
        _and(rights.recipients, rules.recipients),
        rules.rate,
    )


def _and(lists: tuple[AllowList, ...], patterns: tuple[str, ...]) -> tuple[AllowList, ...]:
    return (*lists, AllowList(patterns)) if patterns else lists


def _on_all(lists: tuple[AllowList, ...], address: Address) -> bool:
    return all(each.allows(address) for each in lists)


def _recipients(mail: Transaction) -> tuple[Recipient, ...]:
    """Each mailbox once, with what was said of it first."""
    found: dict[tuple[str, str], Recipient] = {}
    for address, said in zip(mail.recipients, mail.recipient_parameters, strict=True):
        notify = (said.get("NOTIFY") or "").upper()
        recipient = Recipient(address, tuple(notify.split(",")) if notify else (), said.get("ORCPT") or "")
        found.setdefault((address.local, address.ascii_domain), recipient)
    return tuple(found.values())


def _one_line(text: str) -> str:
    return " ".join(text.split())[:TEXT_CHARS]


async def _work(size: int, work: Callable[[], Result]) -> Result:
    return await asyncio.to_thread(work) if size > LARGE else work()
