"""The log of what runs: one line a message on standard error, for people or as JSON for programs.

What others said (replies, names, addresses) stands in it, so nothing that could steer a terminal or begin a line of its
own is let through.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dmarcview.terminal import safe

if TYPE_CHECKING:
    from dmarcview.config import Config


class Plain(logging.Formatter):
    """`LEVEL logger: message`, with a traceback on lines of its own; a journal adds the time."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        lines = [f"{record.levelname} {record.name}: {safe(record.getMessage())}"]
        if record.exc_info:
            lines += [safe(line) for line in self.formatException(record.exc_info).splitlines()]
        return "\n".join(lines)


class Json(logging.Formatter):
    """One object a line: at (UTC), level, logger, message, and the fields of the message when it has some."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        told: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= getattr(record, "fields", {})
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=True, default=str).replace("\x7f", "\\u007f")


def begin() -> None:
    """Log for people, until the settings are read."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Plain())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd's, which tells of every connection


def choose(config: Config) -> None:
    """Log as the settings say."""
    root = logging.getLogger()
    root.setLevel(config.log.level.upper())
    if config.log.json:
        for handler in root.handlers:
            handler.setFormatter(Json())
