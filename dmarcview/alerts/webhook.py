"""The webhook: each change of an incident as JSON to one address, signed as the Standard Webhooks say.

Three headers: `webhook-id` names the message and stays the same when it is sent again, `webhook-timestamp` is when it
was sent, in seconds, and `webhook-signature` is `v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`. No
redirect is followed, no proxy is used, certificates are verified.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from .fault import NotTaken
from .model import Incident
from .text import link, shown, title

SECONDS = 10.0  # for the connection, and for each piece of the reply's header
WHOLE_SECONDS = 30.0  # for all of it
SECRET_BYTES, SECRET_FILE_BYTES = 16, 4_096  # least that keeps a guess away; most that is read
PREFIX = b"whsec_"
USER_AGENT = "dmarcview"


def key(file: str) -> bytes:
    """The key in a file: its text, or what `whsec_` and base64 stand for. Raises NotTaken."""
    place = "the file of [alerts] webhook_secret_file"
    try:
        with Path(file).open("rb") as source:
            raw = source.read(SECRET_FILE_BYTES + 1).strip()
    except OSError as error:
        raise NotTaken(f"{place} ({file}) cannot be read: {error.strerror}") from None
    if raw.startswith(PREFIX):
        try:
            raw = base64.b64decode(raw.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raise NotTaken(f"{place} has no base64 after whsec_") from None
    if not SECRET_BYTES <= len(raw) <= SECRET_FILE_BYTES:
        raise NotTaken(f"{place} must hold {SECRET_BYTES} bytes or more; `openssl rand -hex 32` makes some")
    return raw


def signature(secret: bytes, name: str, at: int, body: bytes) -> str:
    """The value of webhook-signature."""
    made = hmac.new(secret, b"%s.%d.%s" % (name.encode("ascii"), at, body), hashlib.sha256)
    return "v1," + base64.b64encode(made.digest()).decode("ascii")


def body(event: str, at: int, incident: Incident | None, base: str, before: int = 0) -> bytes:
    """The JSON of an event; without an incident it is a test. Docs: docs/alerts.md."""
    told: dict[str, object] = {"type": f"incident.{event}" if incident else event, "timestamp": _iso(at)}
    if incident is None:
        return orjson.dumps(told | {"data": {}})
    found = incident.finding
    told["data"] = {
        "incident": incident.id,
        "kind": found.kind,
        "level": found.level,
        "domain": shown(found.domain, 253),
        "cause": shown(found.cause, 253),
        "title": title(incident, event),
        "text": shown(found.text, 600),
        "first_day": found.first_day,
        "last_day": found.last_day,
        "known": _iso(incident.known),
        "cleared": _iso(incident.ended) if incident.ended is not None else None,
        "weight": found.weight,
        "weight_counts": found.counts,
        "weight_before": before,
        "failed": found.failed,
        "total": found.total,
        "usual": found.usual,
        "completeness": shown(found.completeness, 600),
        "members": [{"name": shown(m.name), "failed": m.failed, "total": m.total} for m in found.members[:100]],
        "first_check": shown(found.check, 600),
        "clears_by": found.words.clears,
        "link": link(base, found.page, found.query),
    }
    return orjson.dumps(told)


def send(url: str, secret: bytes, name: str, content: bytes, now: int) -> None:
    """Post one message. Raises NotTaken, with the host in its text but not the rest of the address.

    Nor with what was answered: many servers put the address that was asked for into their errors.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": name,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(secret, name, now, content),
    }
    parts = urlsplit(url)
    host = parts.hostname or ""
    made: http.client.HTTPConnection
    if parts.scheme == "https":
        made = http.client.HTTPSConnection(host, parts.port, timeout=SECONDS, context=ssl.create_default_context())
    else:
        made = http.client.HTTPConnection(host, parts.port, timeout=SECONDS)
    late = threading.Event()
    watch = threading.Timer(WHOLE_SECONDS, _cut, (made, late))
    watch.daemon = True
    watch.start()
    try:
        made.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), content, headers)
        status = made.getresponse().status
    except ssl.SSLCertVerificationError as error:
        raise NotTaken(f"the certificate of {host} does not hold: {error.verify_message}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        # what http.client says may hold the address
        known = error.strerror if isinstance(error, OSError) else ""
        why = "timed out" if isinstance(error, TimeoutError) else known or type(error).__name__
        raise NotTaken(f"no answer from {host}: {why}") from None
    finally:
        watch.cancel()
        made.close()
    if late.is_set():  # http.client takes the cut for the end of the header
        raise NotTaken(f"no whole answer from {host} in {WHOLE_SECONDS:g} s")
    if 300 <= status < 400:
        raise NotTaken(f"{host} answered {status}, a redirect, which is not followed; set [alerts] webhook anew")
    if not 200 <= status < 300:
        raise NotTaken(f"{host} answered {status}")


def _cut(made: http.client.HTTPConnection, late: threading.Event) -> None:
    """End a dialogue that takes too long, from another thread."""
    late.set()
    if made.sock is not None:
        with suppress(OSError):
            made.sock.shutdown(2)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
