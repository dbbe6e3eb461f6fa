"""`dmarcview test loop --local`: one probe through the whole house on this machine, each step with its time.

Real parts: our relay, a far host that verifies SPF, DKIM and DMARC as we do, the report of what it verified, our
receiver, ingest, store and pages. Made up are the names and the DNS. A smoke test for users, and part of `make test`.
"""

from __future__ import annotations

import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dmarcview.config import load
from dmarcview.demo import outgoing
from dmarcview.demo.mailbox import DOMAIN, REPORTER, Arrived
from dmarcview.demo.rhythm import midnight
from dmarcview.demo.story import DOMAINS
from dmarcview.demo.traffic import Made
from dmarcview.demo.world import DemoError, World
from dmarcview.dns.records import resolver
from dmarcview.terminal import print_json
from dmarcview_reports import treewalk, trust
from dmarcview_reports.model import DkimResult, Record, Shape, SpfResult
from dmarcview_reports.trust_dkim import signatures
from dmarcview_reports.trust_dns import Resolver

RCPT = f"anna@{DOMAIN}"
OTHERS = 2  # letters beside the probe: the far host counts them in the same row
PATIENCE = 60.0
LOOK_SECONDS = 0.3


class Step(NamedTuple):
    """One step of the way, the second at which it was done, and what was found."""

    name: str
    seconds: float
    found: str


class Steps:
    """What was done so far; told to people as it happens."""

    def __init__(self, quiet: bool) -> None:
        self.done: list[Step] = []
        self._quiet, self._begun = quiet, time.monotonic()

    def __call__(self, name: str, found: str) -> None:
        self.done.append(Step(name, round(time.monotonic() - self._begun, 2), found))
        if not self._quiet:
            print(f"{self.done[-1].seconds:6.2f} s  {name:9}  {found}", flush=True)


def run(*, as_json: bool = False) -> int:
    """Run the loop in a folder that is gone afterwards: 0 when it closed, 1 when a step did not give what it should."""
    step, fault = Steps(as_json), ""
    with tempfile.TemporaryDirectory(prefix="dmarcview-loop-") as folder:
        try:
            _close(Path(folder), step)
        except (LoopError, DemoError, OSError) as error:
            fault = str(error)
    if as_json:
        print_json({"closed": not fault, "fault": fault, "steps": [one._asdict() for one in step.done]})
    else:
        print(f"The loop is open: {fault}" if fault else "The loop is closed.", flush=True)
    return 1 if fault else 0


class LoopError(Exception):
    """A step did not give what it should; the text says what."""


def _close(folder: Path, step: Steps) -> None:
    with World(folder) as world:
        places = world.start()
        step("start", f"relay on port {places.relay[1]}, receiver on port {places.smtp[1]}, pages at {places.url}")
        with _settings(world) as config:
            for number in range(OTHERS):
                world.hand_over(number)
            sent = world.ask("test", "loop", RCPT, "--config", config)
            if sent["state"] not in ("awaited", "unexpected"):
                raise LoopError(f"the probe was not delivered: {sent['state']} {sent['reply']}")
            step("relay", f"probe {sent['tag']} to {RCPT}, delivered: {sent['reply']}")
            arrived = _until(lambda: _arrived(world, sent["tag"]), "the far host has not all of the mails")
            probe = next(one for one in arrived if _subject(sent["tag"]) in one.data)
            dns = resolver(load(world.config))
            found = trust.verify(probe.data, probe.origin, dns)
            if found.auth != "pass":
                raise LoopError(f"the far host does not believe the probe: {found.detail}")
            step("far host", found.detail)
            made = report(arrived, dns, sent["tag"])
            code, text = world.send(world.mail(made, sent=int(time.time())), REPORTER.email)
            if code != 250:
                raise LoopError(f"the receiver answered {code} {text.decode('utf-8', 'replace')} to the report")
            step("receiver", f"report {made.report_id} on {made.messages} messages: {code}")
            known = _until(lambda: _reported(world, config, sent["tag"]), "no report of the store counts the probe")
            told = known["reports"][0]
            step(
                "store",
                f"report {told['report_key'][:10]}: the probe is 1 of the {told['messages']} messages of its row",
            )
            if told["messages"] != OTHERS + 1 or told["dmarc"] != {"pass": OTHERS + 1}:
                raise LoopError(f"of the row {OTHERS + 1} messages were to pass, it says {told['dmarc']}")
            shown = _until(lambda: _shown(places.url, sent["tag"]), "the pages do not show the probe as reported")
            step("pages", f"{shown} says so")


@contextmanager
def _settings(world: World) -> Iterator[str]:
    """The world's settings with the port that its relay took, for commands that hand in mail."""
    file = world.folder / "loop.toml"
    text = world.config.read_text(encoding="utf-8")
    file.write_text(text.replace("listeners = [{ port = 0 }]", f"listeners = [{{ port = {world.places.relay[1]} }}]"))
    yield str(file)


def _subject(tag: str) -> bytes:
    return f"Subject: dmarcview test {tag}\r\n".encode()


def _arrived(world: World, tag: str) -> list[Arrived] | None:
    """What the far host has, once that is all of it."""
    found = [one for one in world.mailbox.arrived if trust.author_domain(one.data) == outgoing.FROM_DOMAIN]
    return found if len(found) > OTHERS and any(_subject(tag) in one.data for one in found) else None


def _reported(world: World, config: str, tag: str) -> dict[str, Any] | None:
    found = [one for one in world.ask("test", "loop", "--config", config) if one["tag"] == tag]
    return found[0] if found and found[0]["state"] == "reported" else None


def _shown(url: str, tag: str) -> str | None:
    address = f"{url}export/probes.csv"
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:  # noqa: S310 - our own page
        lines = answer.read().decode().splitlines()
    return address if any(line.startswith(f"{tag},") and ",reported," in line for line in lines) else None


def _until(look: Callable[[], Any], fault: str) -> Any:
    """What `look` finds, as soon as it finds anything. Raises LoopError."""
    deadline = time.monotonic() + PATIENCE
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise LoopError(f"{fault} after {PATIENCE:.0f} s")
        time.sleep(LOOK_SECONDS)
    return found


def report(arrived: list[Arrived], dns: Resolver, tag: str) -> Made:
    """The far host's report on what it took, of today until now: judged by SPF, DKIM and DMARC."""
    counts = Counter((one.origin.client, judged(one, dns)) for one in arrived)
    domain = next(one for one in DOMAINS if one.name == outgoing.FROM_DOMAIN)
    now = int(time.time())
    records = tuple(Record(client, number, shape) for (client, shape), number in counts.items())
    begin = midnight(datetime.fromtimestamp(now - 3_600, UTC).date())  # shortly after midnight: of yesterday, too
    return Made(REPORTER, domain, domain.policy(0), f"loop-{tag}", begin, now + 1, now, records)


def judged(one: Arrived, dns: Resolver) -> Shape:
    """A mail as a report tells of it."""
    author = trust.author_domain(one.data)
    sender, signed = trust.check_spf(one.origin, dns), signatures(one.data, dns)
    aligned = {
        name: treewalk.aligned(author, name, False, dns) for name in {sender.domain, *(s.domain for s in signed)}
    }
    dkim = any(s.result == "pass" and aligned[s.domain] for s in signed)
    spf = sender.result == "pass" and aligned[sender.domain]
    policy = treewalk.policy_of(author, dns)
    return Shape(
        disposition="none" if dkim or spf or policy is None else policy.policy,
        dkim_aligned=dkim,
        spf_aligned=spf,
        override_types=(),
        override_comments=(),
        header_from=author,
        envelope_from=sender.domain,
        envelope_to=None,
        dkim=tuple(DkimResult(s.domain, s.selector, s.result, None) for s in signed),
        spf=(SpfResult(sender.domain, "mfrom", sender.result, None),),
    )
