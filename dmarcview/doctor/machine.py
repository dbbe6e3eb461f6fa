"""Checks of the machine: clock, disk, ports, certificates, and the parts of the data folder that every half shares."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dmarcview.certificates import CertificateFault, ends
from dmarcview.doctor.finding import FAIL, OK, WARN, Clock, Finding, day
from dmarcview.room import LOW_BYTES, free_bytes
from dmarcview.supervisor import lives

if TYPE_CHECKING:
    from dmarcview_smtp.settings import Listener

SLOW_FSYNC = 0.2  # seconds
CERTIFICATE_DAYS = 14
GREETING_SECONDS = 5.0
FIRST_DAY = 1_760_000_000  # 2025-10-09: a clock before this version was written is wrong


def clock_is_set(clock: Clock) -> Iterator[Finding]:
    """Whether the clock can be right."""
    now = clock()
    told = day(now)
    if now < FIRST_DAY:
        yield Finding(FAIL, "clock", told, "Set the clock, and let a time service keep it: reports are dated.")
    else:
        yield Finding(OK, "clock", told)


def folder_is_quick(folder: Path) -> Iterator[Finding]:
    """Whether the data folder can be written, and how long that takes."""
    if not folder.exists():
        yield Finding(WARN, "data folder", f"{folder} does not exist", "It is made by the first import or receive.")
        return
    probe = folder / f".doctor-{os.getpid()}"
    try:
        began = time.monotonic()
        with probe.open("wb") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
        took = time.monotonic() - began
    except OSError as error:
        yield Finding(FAIL, "data folder", f"{folder}: {error.strerror}", f"Let {_user()} write there.")
        return
    finally:
        probe.unlink(missing_ok=True)
    if took > SLOW_FSYNC:
        yield Finding(
            WARN, "data folder", f"fsync took {took:.2f} s", "Mails are answered after it: use a quicker disk."
        )
    else:
        yield Finding(OK, "data folder", f"{folder}, fsync in {took * 1000:.0f} ms")


def _user() -> str:
    return f"user {os.geteuid()}"


def space(place: Path, reserve: int, what: str = "free space") -> Iterator[Finding]:
    """Free bytes where a folder is, or will be, against those below which no mail is taken."""
    try:
        free = free_bytes(place)
    except OSError as error:
        yield Finding(FAIL, what, str(error), "Mount the disk of the data folder.")
        return
    told = f"{free / 1e9:.1f} GB"
    if free < reserve:
        yield Finding(FAIL, what, told, "Mail is put off with 452 until there is room: free some.")
    elif free < LOW_BYTES:
        yield Finding(WARN, what, told, "Free some, or set [data] archive_days and run `dmarcview prune`.")
    else:
        yield Finding(OK, what, told)


def running(data: Path, *names: str) -> bool:
    """Whether one of these processes runs, by its status file."""
    return any(lives(data / "run" / f"{name}.json") for name in names)


def port(host: str, number: int, what: str, *, in_use: bool) -> Finding:
    """Whether a port can be had, or is ours already."""
    name = f"port {number} ({what})"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except PermissionError:
            advice = "Give the service CAP_NET_BIND_SERVICE (see docs/operating.md), or take a port above 1023."
            return Finding(FAIL, name, f"{host}: not permitted", advice)
        except OSError as error:
            if in_use:
                return Finding(OK, name, f"{host}: in use, by the running service it seems")
            return Finding(FAIL, name, f"{host}: {error.strerror}", "Stop what listens there, or set another port.")
    return Finding(OK, name, f"{host}: free")


def greeting(host: str, number: int, what: str, *, tls: bool) -> Finding:
    """Whether a listener of a running service answers: with 220, or at least with a connection where TLS is first."""
    name = f"port {number} ({what})" if number else f"{host} ({what})"
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (not bound, looked for)
    family = socket.AF_UNIX if not number else socket.AF_INET6 if ":" in near else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.settimeout(GREETING_SECONDS)
        try:
            probe.connect((near, number) if number else near)
            said = b"220" if tls else probe.recv(512)
        except OSError as error:
            told = error.strerror or "no answer"
            return Finding(FAIL, name, f"{host}: {told}", "It should answer: look at the log of that service.")
    if not said.startswith(b"220"):
        words = said.decode("ascii", "replace").strip()[:80] or "closed at once"
        return Finding(WARN, name, f"{host}: {words}", "It did not greet: too many connections, or a PROXY listener.")
    return Finding(OK, name, f"{host}: answers")


def certificate(
    section: str, files: tuple[str, str], listeners: Sequence[Listener], clock: Clock, what: str = "certificate"
) -> Iterator[Finding]:
    """The certificate of a section's listeners, as (chain, key): readable, and not at its end."""
    if not files[0]:
        if any(one.host not in ("127.0.0.1", "::1") and not one.path for one in listeners):
            yield Finding(WARN, what, "none", f'Set [{section}] certificate and key, and mode = "starttls".')
        return
    try:
        end = ends(*files)
    except CertificateFault as fault:
        yield Finding(FAIL, what, str(fault), f"Name readable PEM files in [{section}] certificate and key.")
        return
    days = (end.timestamp() - clock()) / 86_400
    told = f"valid until {end:%Y-%m-%d}"
    if days < 0:
        yield Finding(FAIL, what, told, "It has ended: renew it. The new file is read without a new start.")
    elif days < CERTIFICATE_DAYS:
        yield Finding(WARN, what, told, "Renew it soon.")
    else:
        yield Finding(OK, what, told)
