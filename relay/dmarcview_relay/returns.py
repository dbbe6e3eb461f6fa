"""Makes the mails that tell a sender what became of its mail, signed where there is a key, ready to be queued."""

from __future__ import annotations

import dataclasses
import logging

from .bounce import DELAYED, FAILED, RELAYED, Author, report
from .envelope import Mail, Queued
from .settings import HOUR, Schedule
from .sign import NoKey, Signer, SignError
from .verdicts import Verdict

log = logging.getLogger(__name__)


class Returns:
    """The author of bounces, of delay warnings and of success reports."""

    def __init__(self, signer: Signer, author: Author, schedule: Schedule) -> None:
        self._signer = signer
        self._author = author
        self._schedule = schedule

    def make(self, queued: Queued, verdict: Verdict, content: bytes, now: float) -> list[tuple[Mail, bytes]]:
        """One mail for each kind of news in the verdict."""
        full = self._schedule.return_content == "full"
        until = queued.mail.accepted + self._schedule.expire_hours * HOUR
        news = ((FAILED, verdict.failed), (DELAYED, verdict.delayed), (RELAYED, verdict.relayed))
        return [
            self._signed(*report(queued, content, told, action, self._author, now=now, full=full, until=until))
            for action, told in news
            if told
        ]

    def _signed(self, mail: Mail, content: bytes) -> tuple[Mail, bytes]:
        """A report leaves unsigned rather than not at all."""
        try:
            signed = self._signer.sign(content, mail.from_domain)
        except NoKey:
            return mail, content
        except SignError as error:
            log.warning("a report for %s is not signed: %s", mail.recipients[0].address.domain, error)
            return mail, content
        return dataclasses.replace(mail, dkim=signed.dkim, size=len(signed.content)), signed.content
