"""What a front door asks the one who runs it: who may come in, what may be sent, and where a mail goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiosmtpd.smtp import Session

from .address import Address
from .content import Content
from .replies import Reply


class Client(Session):
    """Who is on the other side: facts of the connection, not claims (but for `helo`)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, protocol: str) -> None:
        super().__init__(loop)
        self.address = address  # IP address, the real one behind a PROXY header; "" on a unix socket
        self.is_known = True  # False behind a balancer that did not say whose connection it is: `address` is its own
        self.protocol = protocol  # smtp or lmtp
        self.helo = ""
        self.extended = False  # by EHLO or LHLO, not HELO
        self.tls = ""  # version, such as TLSv1.3
        self.tls_cipher = ""  # by its OpenSSL name
        self.user = ""  # who has logged in; "" is nobody
        self.may_log_in = False  # whether logins are taken on this listener


@dataclass(slots=True)
class Transaction:
    """One mail on its way in. The null sender is None, with `begun` set."""

    begun: bool = False
    sender: Address | None = None
    recipients: list[Address] = field(default_factory=list)
    parameters: dict[str, str | None] = field(default_factory=dict)  # of MAIL
    recipient_parameters: list[dict[str, str | None]] = field(default_factory=list)  # of RCPT, one for each recipient

    @property
    def utf8(self) -> bool:
        """SMTPUTF8 was declared (RFC 6531)."""
        return "SMTPUTF8" in self.parameters

    @property
    def declared_size(self) -> int:
        """SIZE as declared (RFC 1870), 0 when not."""
        return int(self.parameters.get("SIZE") or 0)


class Policy:
    """Decides; every hook gives None for yes or the reply that refuses. The door has checked all syntax before.

    Only `on_message` may take its time. It answers for a mail that must be safe when it returns 2xx: it runs
    on when the client goes away. With LMTP one reply stands for all recipients, or one is given for each.
    """

    def on_connect(self, client: Client) -> Reply | None:
        """Before the greeting."""

    def on_helo(self, client: Client) -> Reply | None:
        """After HELO, EHLO or LHLO; `client.helo` is set."""

    def on_mail(self, client: Client, mail: Transaction) -> Reply | None:
        """After MAIL; `mail.sender` and `mail.parameters` are set."""

    def on_rcpt(self, client: Client, mail: Transaction, recipient: Address) -> Reply | None:  # noqa: ARG002 (a hook)
        """For each recipient; the default refuses, so that no door is an open relay by mistake."""
        return Reply(550, "5.7.1", "No mail is taken for this address", "not_ours")

    async def on_message(self, client: Client, mail: Transaction, content: Content) -> Reply | Sequence[Reply]:
        """The whole mail. The content is closed by the door afterwards."""
        raise NotImplementedError

    def on_reply(self, client: Client, reply: Reply) -> None:
        """Every reply with a reason that was sent, for counters and logs."""
