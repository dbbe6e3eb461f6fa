"""One line for each mail that is taken and for each try, as the people who run mail hosts search for them.

The facts are also fields of the record (`record.fields`), for logs that programs read. Recipients are named as in the
sent log: hashed, unless the settings say otherwise.
"""

from __future__ import annotations

import logging

from .envelope import Mail, Queued
from .outcome import Attempt

log = logging.getLogger("dmarcview_relay.mail")


def taken(queued: Queued) -> None:
    """A mail was queued."""
    if not log.isEnabledFor(logging.INFO):
        return
    mail = queued.mail
    fields = {"event": "taken", "queue_id": queued.id, **_facts(mail), "recipients": len(mail.recipients)}
    if mail.hold:
        fields["hold"] = mail.hold
    log.info(
        "%s: taken from=<%s> message-id=%s client=%s user=%s size=%d recipients=%d signed=%s%s",
        queued.id,
        fields["sender"],
        mail.message_id,
        mail.client or "local",
        mail.user or "-",
        mail.size,
        len(mail.recipients),
        fields["dkim"] or "-",
        f" held: {mail.hold}" if mail.hold else "",
        extra={"fields": fields},
    )


def tried(attempt: Attempt) -> None:
    """A recipient was tried, and this came of it."""
    if not log.isEnabledFor(logging.INFO):
        return
    link, reply = attempt.link, " ".join(str(attempt.reply).split())
    fields = {
        "event": attempt.outcome,
        "queue_id": attempt.queue_id,
        "to": attempt.recipient,
        "host": link.host,
        "address": link.address,
        "tls": " ".join(part for part in (link.tls_version, link.tls_cipher, link.tls_trust) if part),
        "tries": attempt.tries,
        "code": attempt.reply.code,
        "reply": reply,
        "stage": attempt.reply.stage,
    }
    log.info(
        "%s: %s to=<%s> host=%s[%s] tls=%s try=%d: %s",
        attempt.queue_id,
        attempt.outcome,
        attempt.recipient,
        link.host or "none",
        link.address,
        link.tls_trust or "none",
        attempt.tries,
        reply,
        extra={"fields": fields},
    )


def _facts(mail: Mail) -> dict[str, object]:
    return {
        "sender": str(mail.sender) if mail.sender else "",
        "from_domain": mail.from_domain,
        "message_id": mail.message_id,
        "client": mail.client,
        "user": mail.user,
        "size": mail.size,
        "kind": mail.kind,
        "dkim": ",".join(f"{domain}/{selector}" for domain, selector in mail.dkim),
    }
