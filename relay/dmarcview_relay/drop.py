"""The drop folder: where the sendmail command leaves mails, also while no relay runs.

One file is one mail: a line of JSON, the envelope, then the bytes. It appears whole, by rename. The relay takes the
files in the order of their names through the same rules as mails from the net: what is refused for good goes to `bad`
beside a file with the reason (the newest of them are kept), what is refused for now stays. A relay that dies between
queue and folder takes a mail twice; it never loses one. Whoever may write into the folder may send like a client on
this machine.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dmarcview_smtp.address import Address, read_address
from dmarcview_smtp.content import Content, judge_header
from dmarcview_smtp.files import sync_folder
from dmarcview_smtp.policy import Client, Policy, Transaction
from dmarcview_smtp.replies import NUL_BYTE, TOO_BIG, Reply
from dmarcview_smtp.settings import DoorSettings

from .envelope import Recipient
from .message import LOCAL, normalised

log = logging.getLogger(__name__)

MAIL, REASON, BAD = ".mail", ".reason", "bad"
FOLDER_MODE = 0o3730  # its group may add files, which get this group; only their owners and ours remove them
FILE_MODE = 0o640
ENVELOPE_BYTES = 1_000_000
RECIPIENTS = 1_000
WORD_CHARS = 600  # ORCPT with its type, and more than an ENVID (RFC 3461 section 4)
LOOK_SECONDS = 0.5
AGAIN_SECONDS = 60.0  # after a refusal for now
STALE_SECONDS = 3_600.0  # age at which an unfinished file is nobody's any more
BAD_MAILS, BAD_BYTES = 1_000, 500_000_000  # of refused mails so much is kept


class DropError(Exception):
    """A mail cannot be left, or a file is no mail; the text says why."""


class _Dropped(NamedTuple):
    mail: Transaction  # without recipients
    recipients: tuple[Recipient, ...]
    content: bytes


def leave(
    folder: Path,
    sender: Address | None,
    recipients: Sequence[Recipient],
    content: bytes,
    *,
    ret: str = "",
    envid: str = "",
    clock: Callable[[], float] = time.time,
) -> str:
    """Leave a mail of a local program, durable when this returns; the name of its file.

    Line ends become CR LF. Raises DropError, and OSError when the folder cannot be written.
    """
    if not recipients or len(recipients) > RECIPIENTS:
        raise DropError(f"a mail has 1 to {RECIPIENTS} recipients")
    if b"\0" in content:
        raise DropError("the mail holds a NUL byte")
    envelope = {
        "sender": str(sender) if sender else "",
        "recipients": [{"address": str(to), "notify": notify, "orcpt": orcpt} for to, notify, orcpt in recipients],
        "ret": ret,
        "envid": envid,
    }
    name = f"{int(clock() * 1_000_000):018d}-{os.getpid()}-{secrets.token_hex(4)}{MAIL}"
    draft = folder / f".{name}"
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        with os.fdopen(file, "wb") as out:
            os.fchmod(file, FILE_MODE)  # whatever the umask
            out.write(json.dumps(envelope).encode() + b"\n")
            out.write(normalised(content))
            out.flush()
            os.fsync(file)
        draft.rename(folder / name)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(folder)
    return name


class Drop:
    """The relay's side of the folder."""

    def __init__(
        self,
        folder: Path,
        policy: Policy,
        limits: DoorSettings,
        hostname: str,
        *,
        expire_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A mail that is refused for now is given up after `expire_seconds`. Makes the folder. Raises OSError."""
        self.folder = folder
        self.bad = folder / BAD
        self.limits = limits
        self._policy = policy
        self._hostname = hostname
        self.expire_seconds = expire_seconds
        self._clock = clock
        self._later: dict[str, float] = {}  # when to try a file again
        self._taken: set[str] = set()  # queued, but their files cannot be removed
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(FOLDER_MODE)
        self.bad.mkdir(mode=0o700, exist_ok=True)
        self._sweep()
        self._forget_oldest()

    async def run(self) -> None:
        """Take what comes, until cancelled."""
        while True:
            try:
                await self.take()
            except OSError as error:
                log.error("the drop folder %s cannot be used: %s", self.folder, error)
            await asyncio.sleep(LOOK_SECONDS)

    async def take(self) -> int:
        """Take what is there now; how many mails were accepted. Raises OSError."""
        now = self._clock()
        with os.scandir(self.folder) as entries:
            found = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
        names = sorted(name for name in found if name.endswith(MAIL) and name[0] != ".")
        self._later = {name: self._later[name] for name in names if name in self._later}
        self._taken.intersection_update(names)
        accepted = 0
        for name in names:
            if self._later.get(name, 0.0) > now:
                continue
            try:
                accepted += await self._take_one(name, now)
            except Exception:  # whatever it is, the files behind this one are not to wait for it
                log.exception("%s in %s cannot be taken now", name, self.folder)
                self._later[name] = now + AGAIN_SECONDS
        return accepted

    async def _take_one(self, name: str, now: float) -> bool:
        path = self.folder / name
        if name in self._taken:
            path.unlink(missing_ok=True)
            return False
        try:
            dropped, age = await asyncio.to_thread(self._read, path, now)
        except FileNotFoundError:
            return False
        except (DropError, OSError) as error:
            self._set_aside(name, str(error))
            return False
        reply = await self._submit(dropped)
        if not reply.refused:
            self._taken.add(name)  # it may be that its file cannot be removed: it leaves once all the same
            log.info("%s: %s", name, reply.text)
            path.unlink(missing_ok=True)
            self._taken.discard(name)  # another mail may come by this name
            return True
        if reply.code >= 500 or age > self.expire_seconds:
            self._set_aside(name, f"{reply.code} {reply.enhanced} {reply.text}")
        else:
            log.info("%s waits: %s %s", name, reply.code, reply.text)
            self._later[name] = now + AGAIN_SECONDS
        return False

    def _read(self, path: Path, now: float) -> tuple[_Dropped, float]:
        """The mail and its age. Raises DropError, OSError."""
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        state = os.fstat(file)
        if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
            os.close(file)
            raise DropError("not a plain file of its own")
        with os.fdopen(file, "rb") as source:
            line = source.readline(ENVELOPE_BYTES)
            content = source.read(self.limits.message_bytes + 1)
        return _parsed(line, content), now - state.st_mtime

    async def _submit(self, dropped: _Dropped) -> Reply:
        """Say to the policy what a client would; the reply that refuses, or the one to the whole mail."""
        client = Client(asyncio.get_running_loop(), "", LOCAL)
        mail, content = dropped.mail, dropped.content
        refusal = self._judge(content) or self._policy.on_mail(client, mail)
        for recipient in dropped.recipients:
            if refusal:
                break
            refusal = self._policy.on_rcpt(client, mail, recipient.address)
            mail.recipients.append(recipient.address)
            mail.recipient_parameters.append(
                {"NOTIFY": ",".join(recipient.notify) or None, "ORCPT": recipient.orcpt or None}
            )
        answer = refusal or await self._policy.on_message(client, mail, Content(content, len(content), None))
        reply = answer if isinstance(answer, Reply) else answer[0]
        if reply.reason:
            self._policy.on_reply(client, reply)
        return reply

    def _judge(self, content: bytes) -> Reply | None:
        """What the door judges of a mail that comes by SMTP."""
        if len(content) > self.limits.message_bytes:
            return TOO_BIG
        if b"\0" in content:
            return NUL_BYTE
        return judge_header(content, len(content), self.limits, self._hostname, utf8=True)

    def _set_aside(self, name: str, reason: str) -> None:
        self._later.pop(name, None)
        log.error("the mail %s in %s is refused: %s", name, self.folder, reason)
        aside = re.sub(r"[^0-9A-Za-z.-]", "_", name.removesuffix(MAIL))[:100]  # whoever left it chose its name
        if (self.bad / f"{aside}{MAIL}").exists():
            aside += f"-{secrets.token_hex(4)}"
        with suppress(FileNotFoundError):
            (self.folder / name).rename(self.bad / f"{aside}{MAIL}")
            (self.bad / f"{aside}{MAIL}{REASON}").write_text(f"{reason}\n", "utf-8")
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Keep as many refused mails as there is room for, the newest."""
        with os.scandir(self.bad) as entries:
            found = [(entry.stat(follow_symlinks=False), entry.name) for entry in entries if entry.name.endswith(MAIL)]
        found.sort(key=lambda each: each[0].st_ctime_ns, reverse=True)  # the time of the rename
        size = 0
        for at, (state, name) in enumerate(found):
            size += state.st_size
            if at >= BAD_MAILS or size > BAD_BYTES:
                log.warning("the refused mail %s in %s makes room for newer ones", name, self.bad)
                for each in (name, f"{name}{REASON}"):
                    (self.bad / each).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what commands that died have left unfinished."""
        for draft in self.folder.glob(f".*{MAIL}"):
            with suppress(OSError):
                if self._clock() - draft.lstat().st_mtime > STALE_SECONDS:
                    draft.unlink()


def _parsed(line: bytes, content: bytes) -> _Dropped:
    """Raises DropError."""
    try:
        tree = json.loads(line)
        sender = read_address(tree["sender"]) if tree["sender"] else None
        recipients = tuple(_recipient(entry) for entry in tree["recipients"])
        parameters: dict[str, str | None] = {key: _word(tree[key.lower()]) for key in ("RET", "ENVID")}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DropError(f"the envelope cannot be read: {error}") from None
    if not 0 < len(recipients) <= RECIPIENTS:
        raise DropError(f"a mail has 1 to {RECIPIENTS} recipients")
    content = normalised(content)
    parameters |= {"SMTPUTF8": None, "SIZE": str(len(content))}
    return _Dropped(Transaction(True, sender, [], parameters), recipients, content)


def _recipient(entry: dict[str, Any]) -> Recipient:
    notify = tuple(_word(word).upper() for word in entry["notify"])
    if notify != ("NEVER",) and not set(notify) <= {"SUCCESS", "FAILURE", "DELAY"}:  # RFC 3461 section 4.1
        raise ValueError("notify is NEVER, or some of SUCCESS, FAILURE and DELAY")
    return Recipient(read_address(entry["address"]), notify, _word(entry["orcpt"]))


def _word(value: str) -> str:
    """A parameter of SMTP: no blank and no control byte may get into a dialogue."""
    if len(value) > WORD_CHARS or not re.fullmatch(r"[!-~]*", value):
        raise ValueError("a parameter is printable ASCII without blanks")
    return value
