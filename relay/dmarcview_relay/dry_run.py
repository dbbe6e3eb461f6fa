"""The dry run: signed mails are written into a folder instead of being delivered."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from .envelope import Mail, Recipient
from .outcome import Link, RemoteReply


class FolderSession:
    """A session whose other side is a folder: NAME.eml holds the mail, NAME.envelope what MAIL and RCPT would say."""

    usable = True
    dsn = False

    def __init__(self, folder: Path) -> None:
        self.link = Link(host="dry run", address=str(folder), tls_trust="none")
        self._folder = folder

    async def send(self, mail: Mail, recipients: Sequence[Recipient], content: bytes) -> list[RemoteReply]:
        """Write it; a folder that cannot be written is a reply to try again."""
        try:
            path = await asyncio.to_thread(self._write, mail, recipients, content)
            reply = RemoteReply(250, "2.0.0", f"dry run: written to {path}, not delivered", "body", said=False)
        except OSError as error:
            text = f"dry run: cannot write to {self._folder}: {error.strerror or error}"
            reply = RemoteReply(451, "4.3.0", text, "body", said=False)
        return [reply] * len(recipients)

    async def close(self) -> None:
        """Nothing is open."""

    def _write(self, mail: Mail, recipients: Sequence[Recipient], content: bytes) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(6)}"
        lines = [f"MAIL FROM:<{mail.sender or ''}>", *(f"RCPT TO:<{entry.address}>" for entry in recipients)]
        (self._folder / f"{name}.envelope").write_text("\n".join(lines) + "\n", "utf-8")
        unfinished = self._folder / f".{name}"
        unfinished.write_bytes(content)
        return unfinished.rename(self._folder / f"{name}.eml")
