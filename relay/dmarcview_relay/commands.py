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
