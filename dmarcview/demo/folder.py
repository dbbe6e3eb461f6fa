"""Writes the made-up year into a folder as a user has it: files, mailboxes, some twice, some that are no report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dmarcview.demo import reports
from dmarcview.demo.rhythm import DAY
from dmarcview.demo.traffic import Made, Truth

MAILBOX_REPORTER = "freemail-north.example"  # its reports were kept as mails, one mbox a month
RESENT = 700  # every so many reports one came a second time
CONFLICTS = 2


def write(folder: Path, made: Iterable[Made], rcpt: str) -> Truth:
    """Write every report below `folder` and return what an import of it must say.

    The walk of an import is sorted: months come before `again` and `odd`, so that a conflict meets its original.
    """
    truth = Truth()
    mailboxes: dict[str, list[bytes]] = {}
    again: list[Made] = []
    for n, one in enumerate(made):
        truth.add(one)
        month = datetime.fromtimestamp(one.begin, UTC).strftime("%Y-%m")
        if one.reporter.domain == MAILBOX_REPORTER:
            mailboxes.setdefault(month, []).append(_mbox(reports.mail(one, rcpt), one))
        else:
            _put(folder / month, reports.pack(one))
        if n % RESENT == RESENT // 2:
            again.append(one)
    for month, mails in mailboxes.items():
        (folder / month).mkdir(parents=True, exist_ok=True)
        (folder / month / f"{MAILBOX_REPORTER}.mbox").write_bytes(b"".join(mails))
    truth.duplicates, truth.conflicts = _write_again(folder / "again", again, rcpt)
    if again:
        truth.refused = _write_odd(folder / "odd", again[-1])
    return truth


def _put(folder: Path, file: reports.File) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file.name).write_bytes(file.content)


def _mbox(mail: bytes, one: Made) -> bytes:
    stamp = datetime.fromtimestamp(one.arrives, UTC).strftime("%a %b %e %H:%M:%S %Y")
    body = mail.replace(b"\r\n", b"\n").replace(b"\nFrom ", b"\n>From ")
    return f"From {one.reporter.email} {stamp}\n".encode() + body + b"\n"


def _write_again(folder: Path, again: list[Made], rcpt: str) -> tuple[int, int]:
    """Re-sent reports: equal ones as mails, and the first few once more with another count under the same id."""
    for n, one in enumerate(again):
        _put(folder, reports.File(f"resent-{n:02}.eml", "message/rfc822", reports.mail(one, rcpt)))
    changed = [one for one in again if one.records][:CONFLICTS]
    for one in changed:
        first = one.records[0]
        other = replace(one, records=(replace(first, count=first.count + 7), *one.records[1:]))
        _put(folder / "corrected", reports.pack(other))
    return len(again), len(changed)


def _write_odd(folder: Path, one: Made) -> int:
    """What turns up at a report address and is none; the number of refusals."""
    newsletter = reports.compose(
        sender="offers@letterpress.example",
        rcpt="dmarc@example.org",
        subject="Ten ways to love your inbox",
        message_id="<1@letterpress.example>",
        date=one.arrives,
        text="No report in here.",
    )
    good = reports.xml(one)
    end = f"<end>{one.end}</end>".encode()
    odd = {
        "newsletter.eml": newsletter,
        "doctype.xml": good.replace(b"?>", b'?><!DOCTYPE feedback [<!ENTITY x "y">]>', 1),
        "backwards.xml": good.replace(end, f"<end>{one.begin - DAY}</end>".encode()),
        "next-year.xml": good.replace(end, f"<end>{one.end + 400 * DAY}</end>".encode()),
    }
    for name, content in odd.items():
        _put(folder, reports.File(name, "", content))
    return len(odd)
