"""Mail about incidents: through our own relay, and past it to the recipients' hosts when that does not take it.

The relay signs, queues and tries for days, so it comes first. It may be the fault that the mail is about: then, and
when it is silent or declines, the mail goes to the hosts that the recipients' domains name, by the routes of [relay],
with as much TLS as they offer (DANE and MTA-STS still demand theirs), signed when there is a key. Its subject says so.
Where [relay] senders is empty there is no relay to speak of, and mail goes that way at once.
"""

from __future__ import annotations

import asyncio
import html
import logging
import socket
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING, NamedTuple

from dmarcview.config import Config, data_dir, server
from dmarcview.sendmail.session import Declined, Handed, Session, Unreachable, Wishes, connect
from dmarcview_smtp.address import Address, AddressError, read_address

from .fault import NotTaken
from .text import MUTED, Message, shown

if TYPE_CHECKING:
    from dmarcview_relay.dns import Resolver
    from dmarcview_relay.settings import RelaySettings

log = logging.getLogger(__name__)

RELAY_SECONDS = 60.0  # for one reply of our relay
DIRECT_SECONDS = 180.0  # for all of a delivery past it
CONNECT_SECONDS, COMMAND_SECONDS, FINAL_SECONDS = 15.0, 30.0, 60.0  # of it: for one step, at most
MARK, MARK_PAST = "[dmarcview]", "[dmarcview, past the relay]"


class Envelope(NamedTuple):
    """A message with its people; `name` makes the Message-ID, so a mail that comes twice has the same."""

    author: Address
    to: tuple[Address, ...]
    message: Message
    now: int
    name: str


class Outcome(NamedTuple):
    """Who of the recipients has it now, by which way, and why some have not; "" when all have."""

    taken: tuple[Address, ...]
    way: str
    fault: str = ""


def sender(config: Config) -> Address:
    """Who such mails are from: as set; else `alerts@` what [relay] senders allows first, or one address that it names;
    else `alerts@` the first watched domain, or this host. Raises NotTaken.
    """
    senders = config.relay.senders
    domains = [one for one in senders if one.startswith("@")]
    addresses = [one for one in senders if "@" in one and not one.startswith(("@", "/", "./", "../"))]
    places = [*config.domains.watched, config.relay.hostname or socket.getfqdn()]
    allowed = [*(f"alerts{one}" for one in domains), *addresses, *(f"alerts@{one}" for one in places)]
    first = config.alerts.mail_from or allowed[0]
    try:
        return read_address(first)
    except AddressError as error:
        raise NotTaken(f"{first} is no sender: {error}; set [alerts] mail_from") from None


def send(
    config: Config,
    message: Message,
    now: int,
    name: str,
    *,
    past: str = "",
    had: Collection[Address] = (),
    resolver: Resolver | None = None,
) -> Outcome:
    """Send a message to all of [alerts] mail_to but those who `had` it. `past` says why the relay comes last this time.

    Raises NotTaken when nobody has it.
    """
    to = tuple(address for one in config.alerts.mail_to if (address := read_address(one)) not in had)
    if not to:
        raise NotTaken("[alerts] mail_to names nobody")
    mail = Envelope(sender(config), to, message, now, name)
    if not config.relay.senders:  # nobody may send through a relay here: there is none to go past
        only = _directly(config, mail, "", resolver)
        if not only.taken:
            raise NotTaken(only.fault)
        return only
    if past:
        direct = _directly(config, mail, past, resolver)
        through = direct if direct.taken else _relayed(config, mail)
    else:
        through = _relayed(config, mail)
        direct = through if through.taken else _directly(config, mail, through.fault, resolver)
    done = next((one for one in (through, direct) if one.taken), None)
    if done is None:
        raise NotTaken(f"{through.fault}; past the relay: {direct.fault}")
    return done


def letter(mail: Envelope, past: str = "") -> bytes:
    """The mail, with CR LF line ends; `past` says why it did not come by the relay."""
    text, page = mail.message.text, mail.message.html
    if past:
        own = [one.ascii_domain for one in (mail.author, *mail.to)]
        why = f"This mail came past the relay: {shown(past, 300, own)}"
        text += f"\n{why}\n"
        said = f'<p class="muted" style="{MUTED}">{html.escape(why)}</p>'
        page = page.replace("</div></body>", f"{said}</div></body>")
    made = EmailMessage(SMTP.clone(utf8=_international(mail)))
    made["From"] = f"dmarcview <{mail.author}>"
    made["To"] = ", ".join(str(one) for one in mail.to)
    made["Subject"] = f"{MARK_PAST if past else MARK} {mail.message.title}"
    made["Date"] = format_datetime(datetime.fromtimestamp(mail.now, UTC))
    made["Message-ID"] = f"<{mail.name}@{mail.author.ascii_domain}>"
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834 section 5: no vacation program answers it
    made.set_content(text)
    made.add_alternative(page, subtype="html")
    return made.as_bytes()


def _international(mail: Envelope) -> bool:
    return not all(one.is_ascii for one in (mail.author, *mail.to))


def _relayed(config: Config, mail: Envelope) -> Outcome:
    """Hand it to the relay: for all or for none."""
    handed = Handed(mail.author, mail.to, letter(mail))
    hostname = config.relay.hostname or socket.getfqdn()
    try:
        sock = connect(config.relay.listeners)
        sock.settimeout(RELAY_SECONDS)
        talk = Session(sock, log.debug)
        try:
            reply = talk.hand_in(handed, Wishes(), hostname)
        finally:
            talk.close()
    except Unreachable as error:
        return Outcome((), "", f"no relay answers ({error})")
    except Declined as error:
        return Outcome((), "", f"it declines {_stage(error, mail.to)}: {error}")
    return Outcome(mail.to, f"by the relay: {reply.text}")


def _stage(error: Declined, to: Sequence[Address]) -> str:
    """What a person must allow."""
    match error.reply.stage:
        case "mail":
            return "the sender (allow it in [relay] senders)"
        case "rcpt":
            return f"a recipient (allow {', '.join(str(one) for one in to)} in [relay] recipients)"
        case stage:
            return stage


def _directly(config: Config, mail: Envelope, past: str, resolver: Resolver | None) -> Outcome:
    """To the hosts of the recipients, without our relay."""
    from dmarcview_relay.dns import SystemResolver

    care = config.relay.care
    if care.hold_all:
        return Outcome((), "", "[relay.care] hold_all lets no mail leave")
    if care.redirect_all:
        mail = mail._replace(to=(read_address(care.redirect_all),))
    signed = _signed(config, letter(mail, past), mail.author)
    dns, dnssec = config.dns, config.relay.delivery.dnssec
    asked = resolver or SystemResolver([server(one) for one in dns.servers], dns.timeout, dnssec=dnssec)
    try:
        found = asyncio.run(asyncio.wait_for(_delivered(config, mail, signed, asked), DIRECT_SECONDS))
    except TimeoutError:
        return Outcome((), "", f"not delivered in {DIRECT_SECONDS:g} s")
    return found._replace(way=f"past the relay: {past}" if past else "to the recipients' hosts")


def _signed(config: Config, content: bytes, author: Address) -> bytes:
    """With our signature when there is a key that can be read; a mail without it is better than none."""
    from dmarcview_relay.keyfile import KeyFault
    from dmarcview_relay.keys import KeyRing
    from dmarcview_relay.sign import NoKey, Signer, SignError

    try:
        return Signer(KeyRing(data_dir(config) / "relay" / "keys")).sign(content, author.ascii_domain).content
    except (NoKey, SignError, KeyFault, OSError) as error:
        log.info("a mail of alerts leaves without a signature: %s", error)
        return content


def offered(settings: RelaySettings) -> RelaySettings:
    """The relay's settings with as much TLS as hosts offer where it demands it of all, and with short waits."""
    delivery = settings.delivery
    return replace(
        settings,
        delivery=replace(
            delivery,
            tls="opportunistic" if delivery.tls in ("verify", "encrypt") else delivery.tls,
            connect=min(delivery.connect, CONNECT_SECONDS),
            command=min(delivery.command, COMMAND_SECONDS),
            final=min(delivery.final, FINAL_SECONDS),
        ),
    )


async def _delivered(config: Config, mail: Envelope, content: bytes, resolver: Resolver) -> Outcome:
    from dmarcview_relay.deliver import Courier, NotConnected
    from dmarcview_relay.envelope import Mail, Recipient
    from dmarcview_relay.routes import Hop, RouteError, hop

    settings = offered(config.relay)
    own = [(one.path or one.host, one.port) for one in settings.listeners]
    courier = Courier(settings, settings.hostname or socket.getfqdn(), resolver, lambda: own)
    facts = Mail(
        mail.author, tuple(Recipient(one) for one in mail.to), mail.now, len(content),
        from_domain=mail.author.ascii_domain, utf8=_international(mail),
    )  # fmt: skip
    hops: dict[Hop, list[Recipient]] = {}
    taken: list[Address] = []
    faults: list[str] = []
    for address in mail.to:
        try:
            hops.setdefault(hop(address.ascii_domain, settings), []).append(Recipient(address))
        except RouteError as error:
            faults.append(str(error))
    for there, recipients in hops.items():
        try:
            session = await courier.connect(there)
        except NotConnected as error:
            faults.append(f"{there.domain or there.host}: {error.reply}")
            continue
        try:
            replies = await session.send(facts, recipients, content)
        finally:
            await session.close()
        for recipient, reply in zip(recipients, replies, strict=True):
            if reply.taken:
                taken.append(recipient.address)
            else:
                faults.append(f"{recipient.address}: {reply}")
    return Outcome(tuple(taken), "", shown("; ".join(faults), 600))
