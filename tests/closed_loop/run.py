"""Runs the loop of one engine in its namespaces, and holds what came out against what must: the rows of a table."""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import need, need_perl, unable

from tests.closed_loop import expect, namespace, opendmarc, rspamd
from tests.closed_loop.expect import Line

ENGINES = ("rspamd", "opendmarc")
PROGRAMS = (("unshare", "util-linux"), ("ip", "iproute2"), ("nsd", "nsd"), ("postfix", "postfix"))
PATIENCE = 240.0  # seconds; on a machine with much else to do it takes several times longer
HEADS = ("engine", "scenario", "sent", "reported", "our commands say", "ok")


@dataclass(frozen=True, slots=True)
class Went:
    """How one engine went: the seconds on the clock, those of CPU, and what our commands said."""

    engine: str
    seconds: float
    cpu: float
    answers: Mapping[str, Any]

    @property
    def lines(self) -> dict[str, tuple[Line, Line]]:
        """By scenario: what must be said, and what is."""
        wanted, found = expect.expected(self.engine), expect.told(self.answers)
        return {name: (wanted[name], found[name]) for name in wanted}


def programs(engine: str) -> None:
    """Skip, or fail in CI, where a program is missing."""
    of_engine = {"rspamd": rspamd.PROGRAMS, "opendmarc": opendmarc.PROGRAMS}[engine]
    for program, package in (*PROGRAMS, *of_engine):
        need(program, package)
    for module, package in opendmarc.MODULES if engine == "opendmarc" else ():
        need_perl(module, package)


def permitted() -> None:
    """Skip, or fail in CI, where namespaces are not permitted."""
    if why := namespace.why_not():
        unable(f"{why}; run it as root, in a container with CAP_SYS_ADMIN")


def around(engine: str) -> Went:
    """Once around the loop. Raises namespace.Lost."""
    begun, used = time.monotonic(), _cpu()
    with tempfile.TemporaryDirectory(prefix="dmarcview-loop-") as folder:
        Path(folder).chmod(0o755)  # its programs run as users of their own
        said = namespace.run("tests.closed_loop.inside", [engine, folder], PATIENCE)
    return Went(engine, time.monotonic() - begun, _cpu() - used, json.loads(said))


def _cpu() -> float:
    of = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of.ru_utime + of.ru_stime


def table(went: Went) -> str:
    """What came out, for people."""
    rows, notes = [HEADS], []
    for name, (wanted, found) in went.lines.items():
        ok = "ok" if found[:3] == wanted[:3] else f"NO: {wanted.sent}, {wanted.reported}, {', '.join(wanted.says)}"
        rows.append((went.engine, name, str(found.sent), str(found.reported), ", ".join(found.says), ok))
        notes += [f"  {name}: {went.engine} {wanted.why}"] if wanted.why else []
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = [
        "  ".join(cell.rjust(width) if head in ("sent", "reported") else cell.ljust(width)
                  for head, cell, width in zip(HEADS, row, widths, strict=True)).rstrip()
        for row in rows
    ]  # fmt: skip
    return "\n".join([*lines, *notes, f"{went.engine}: {went.seconds:.1f} s, {went.cpu:.1f} s of CPU"])
