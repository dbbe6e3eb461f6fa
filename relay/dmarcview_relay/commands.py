"""What we say in a transaction, and which mails cannot be said to a host.

RFC 1870 (SIZE), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8), RFC 3461 (DSN), RFC 8689 (REQUIRETLS).
"""

from __future__ import annotations

from collections.abc import Mapping

from dmarcview_smtp.address import Address

from .envelope import Mail, Recipient
from .outcome import Link, RemoteReply

Offered = Mapping[str, str]  # keyword of EHLO, upper case -> what stands behind it


def mail_command(mail: Mail, size: int, offered: Offered) -> bytes:
    """MAIL, with the parameters that the host understands. The size is in bytes."""
    parts = [f"MAIL FROM:<{_path(mail.sender, offered) if mail.sender else ''}>"]
    if "SIZE" in offered:
        parts.append(f"SIZE={size}")
    if mail.eight_bit and "8BITMIME" in offered:
        parts.append("BODY=8BITMIME")
    if mail.utf8:
        parts.append("SMTPUTF8")
    if mail.require_tls:
        parts.append("REQUIRETLS")
    if "DSN" in offered:
        parts += [f"{key}={value}" for key, value in (("RET", mail.ret), ("ENVID", mail.envid)) if value]
    return " ".join(parts).encode() + b"\r\n"


def rcpt_command(recipient: Recipient, mail: Mail, offered: Offered) -> bytes:
    """RCPT, with the DSN parameters where the host understands them."""
    line = f"RCPT TO:<{_path(recipient.address, offered)}>"
    if "DSN" in offered:
        if recipient.notify:
            line += " NOTIFY=" + ",".join(recipient.notify)
        if recipient.orcpt and (mail.utf8 or recipient.orcpt.isascii()):
            line += " ORCPT=" + recipient.orcpt
    return line.encode() + b"\r\n"


def is_one_line(command: bytes) -> bool:
    """Whether it is one command and no more, so that no address can smuggle in another."""
    return command.endswith(b"\r\n") and not any(control in command[:-2] for control in (b"\r", b"\n", b"\0"))


def stuffed(content: bytes) -> bytes:
    """The content with its dots doubled where a line begins with one (RFC 5321 section 4.5.2), and the final dot."""
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content + b".\r\n"


def unfit(mail: Mail, content: bytes, offered: Offered, link: Link, *, certain: bool = False) -> RemoteReply | None:
    """Why this host cannot have this mail as it is. It was signed, so it is not changed for anybody.

    `certain` says that no forged MX record can have chosen the host; only then its certificate proves it.
    """
    lines = content.count(b"\r\n")
    if (
        not content.endswith(b"\r\n")
        or content.count(b"\n") != lines
        or content.count(b"\r") != lines
        or b"\0" in content
    ):
        return _no(554, "5.6.0", "the mail holds a bare CR, a bare LF or a NUL, or its last line has no end")
    limit = offered.get("SIZE", "")
    if limit.isascii() and limit.isdigit() and len(limit) < 20 and 0 < int(limit) < len(content):
        return _no(552, "5.3.4", f"{link.host} takes mails of at most {limit} bytes; this one has {len(content)}")
    if mail.utf8 and "SMTPUTF8" not in offered:
        return _no(553, "5.6.7", f"{link.host} takes no internationalised addresses and headers (SMTPUTF8)")
    if mail.eight_bit and "8BITMIME" not in offered:
        text = f"{link.host} takes only 7-bit mails, and this one has 8-bit text: send it as quoted-printable or base64"
        return _no(554, "5.6.3", text)
    return _unprotected(offered, link, certain=certain) if mail.require_tls else None


def _unprotected(offered: Offered, link: Link, *, certain: bool) -> RemoteReply | None:
    """Why a mail with REQUIRETLS may not go this way (RFC 8689 section 4.2.1)."""
    asks = "the mail asks for TLS all the way (REQUIRETLS)"
    if link.tls_trust not in ("mta-sts", "dane") and not (link.tls_trust == "verified" and certain):
        return _no(550, "5.7.10", f"{asks}, and neither DNSSEC nor MTA-STS proves {link.host} with its certificate")
    if "REQUIRETLS" not in offered:
        return _no(550, "5.7.30", f"{asks}, and {link.host} does not go on with that")
    return None


def _path(address: Address, offered: Offered) -> str:
    """The mailbox; its domain in A-labels where the host does not know SMTPUTF8."""
    if not address.domain.isascii() and "SMTPUTF8" not in offered:
        address = Address(address.local, address.ascii_domain)
    return str(address)


def _no(code: int, enhanced: str, text: str) -> RemoteReply:
    return RemoteReply(code, enhanced, text, "policy", said=False)
