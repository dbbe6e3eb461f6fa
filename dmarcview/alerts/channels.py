"""Chat and push services by apprise: a name of the user's, and a file that holds the URL, which is a secret.

apprise writes addresses, tokens and payloads into its log. So nothing of its log leaves this module but the status that
a service answered with, and which of a few known faults it was. No picture is named to the services (apprise would
name one on GitHub), nothing is attached, no redirect is followed, and nothing is kept on disk.
"""

from __future__ import annotations

import http
import logging
import re
import threading
from collections.abc import Collection
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .fault import NotTaken
from .text import Message

URL_BYTES = 8_192
SECONDS = 60.0  # longest for one message
# Services for people: chats, pushes to telephones, on-call desks, mail senders. Each is named by its scheme.
COMMON = frozenset({
    "azure", "bark", "barks", "betterstack", "brevo", "bsky", "discord", "fcm", "feishu", "fluxer", "fluxers",
    "gchat", "goalert", "goalerts", "gotify", "gotifys", "groupme", "guilded", "hassio", "hassios", "ilert",
    "incidentio", "irc", "ircs", "join", "lark", "line", "mailersend", "mailgun", "mailto", "mailtos", "mastodon",
    "mastodons", "matrix", "matrixs", "misskey", "misskeys", "mmost", "mmosts", "nctalk", "nctalks", "notifiarr",
    "ntfy", "ntfys", "o365", "onesignal", "opsgenie", "pagerduty", "pagertree", "pbul", "postmark", "pover", "prowl",
    "psafer", "psafers", "pushdeer", "pushdeers", "pushy", "resend", "revolt", "ringc", "rocket", "rockets",
    "sendgrid", "ses", "signal", "signals", "signl4", "simplepush", "slack", "smtp2go", "sns", "sparkpost", "spike",
    "splunk", "spush", "squadcast", "synology", "synologys", "tgram", "threema", "toot", "toots", "twilio", "twist",
    "viber", "victorops", "vonage", "webex", "whatsapp", "workflow", "workflows", "wxteams", "xmpp", "xmpps", "zulip",
})  # fmt: skip
# What shows, prints or writes something on this very machine.
LOCAL = frozenset({
    "blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows",
})  # fmt: skip

_SCHEME = re.compile(r"([A-Za-z0-9]{1,20})://")
_STATUS = re.compile(r"error=([1-5][0-9]{2})\b")
_FAULTS = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate does not hold"),
    ("NameResolutionError", "its name is not in the DNS"),
    ("Connection refused", "it refuses the connection"),
    ("timed out", "it does not answer in time"),
    ("did not finish within", "it does not answer in time"),
    ("onnection", "no connection came about"),
)
_LOGGERS = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")  # all of them write addresses
_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class Channel(NamedTuple):
    """A service as set; the address is read when a message goes out, so that a new one counts at once."""

    name: str
    file: Path
    schemes: Collection[str] = ()  # allowed beside the common ones


def send(channel: Channel, message: Message) -> None:
    """Give a message to the service. Raises NotTaken."""
    url = address(channel)
    scheme = url.partition("://")[0].lower()
    said = _Said()
    # apprise's own limit of time works by a pool of threads that a process waits for at its end
    thread = threading.Thread(target=_told, args=(url, message, said), name=f"alerts-{scheme}", daemon=True)
    thread.start()
    thread.join(SECONDS)
    if thread.is_alive():
        raise NotTaken(f"{scheme}: it does not answer in time")
    if said.fault:
        raise NotTaken(f"{scheme}: a fault in its plug-in ({said.fault})")
    if said.done is None:
        raise NotTaken(f"{_place(channel)}: apprise makes nothing of this {scheme}:// address; look into its manual")
    if not said.done:
        raise NotTaken(f"{scheme}: {_why(said.heard)}")


def address(channel: Channel) -> str:
    """The URL of a channel. Raises NotTaken, with nothing of the file in its text but the scheme."""
    place = _place(channel)
    try:
        with channel.file.open("rb") as file:
            raw = file.read(URL_BYTES + 1)
    except OSError as error:
        raise NotTaken(f"{place} cannot be read: {error.strerror}") from None
    try:
        lines = [line.strip() for line in raw.decode().splitlines()]
    except UnicodeDecodeError:
        lines = []
    lines = [line for line in lines if line and not line.startswith("#")]
    found = _SCHEME.match(lines[0]) if len(lines) == 1 and len(raw) <= URL_BYTES else None
    if found is None:
        raise NotTaken(f"{place} must hold one line, an apprise URL such as ntfys://ntfy.example.org/topic")
    scheme = found[1].lower()
    if scheme in LOCAL:
        raise NotTaken(f"{place}: {scheme}:// works on one desk or machine only, and cannot be used")
    if scheme not in COMMON and scheme not in {one.lower().removesuffix("://") for one in channel.schemes}:
        raise NotTaken(f'{place}: {scheme}:// is not common; [alerts] schemes = ["{scheme}"] allows it')
    return lines[0]


def _place(channel: Channel) -> str:
    return f"the file of [alerts] channels {channel.name} ({channel.file})"


@dataclass(slots=True)
class _Said:
    """What came of a message: whether it was taken (None: the address is none), what was logged, a plug-in's fault."""

    done: bool | None = None
    fault: str = ""
    heard: list[str] = field(default_factory=list)


def _told(url: str, message: Message, said: _Said) -> None:
    """Give it to the service; `said` is filled."""
    _listen()
    _HEARD.set(said.heard)
    try:
        said.done = _notify(url, message)
    except Exception as error:  # 150 plug-ins by many authors
        said.fault = type(error).__name__


def _notify(url: str, message: Message) -> bool | None:
    """Whether it was taken; None when the URL is none."""
    from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType

    asset = AppriseAsset(
        app_id="dmarcview",
        app_desc="dmarcview",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        storage_mode="memory",
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        service_timeout=0,
        secure_logging=True,
        allow_templates=False,
    )
    service = Apprise.instantiate(url, asset=asset)
    if service is None:
        return None
    box = Apprise(asset=asset)
    box.add(service)
    return bool(
        box.notify(
            body=message.text, title=message.title, notify_type=NotifyType.WARNING, body_format=NotifyFormat.TEXT
        )
    )


class _Ear(logging.Handler):
    """Keeps what was logged for the message of this thread, for `_why` alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        heard = _HEARD.get()
        if heard is not None and len(heard) < 100:
            heard.append(record.getMessage()[:4_000])


_EAR = _Ear(1)


def _listen() -> None:
    """Listen to the loggers of apprise; from the first time on, nothing of them reaches our log any more."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.addHandler(_EAR)  # which has it once at most
    logging.getLogger(_LOGGERS[0]).setLevel(logging.DEBUG)


def _why(heard: list[str]) -> str:
    """Which known fault it was; never words of the log."""
    for line in heard:
        if status := _STATUS.search(line):
            code = int(status[1])
            known = {one.value: one.phrase for one in http.HTTPStatus}
            return f"the service answered {code} {known.get(code, '')}".rstrip()
    for mark, words in _FAULTS:
        if any(mark in line for line in heard):
            return words
    return "the service did not take the message"
