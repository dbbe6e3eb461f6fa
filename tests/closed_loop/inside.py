"""Once around the loop with one engine, as the first process of its namespaces: `inside ENGINE FOLDER`.

Prints what our commands said as JSON, and on standard error where it is and, after a fault, every log.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from tests.closed_loop import scenarios
from tests.closed_loop.engine import Engine, wait
from tests.closed_loop.hop import hop
from tests.closed_loop.namespace import MX, furnished
from tests.closed_loop.opendmarc import opendmarc
from tests.closed_loop.ours import Ours
from tests.closed_loop.rspamd import rspamd
from tests.closed_loop.scenarios import AFTER, BEFORE, CONSENTED, FIRST, SELECTOR, SUBDOMAIN, TWO_KEYS, WITHHELD
from tests.closed_loop.zone import PUBLISHED, Zone, to_publish
from tests.peer_postfix import Postfix, postfix

ENGINES: dict[str, Callable[[Path], AbstractContextManager[Engine]]] = {"rspamd": rspamd, "opendmarc": opendmarc}
LOGS, LINES = ("*.log", "*.out", "maillog"), 60  # what is shown after a fault
BEGUN = time.monotonic()


def step(text: str) -> None:
    """Say where we are."""
    print(f"{time.monotonic() - BEGUN:6.1f} s  {text}", file=sys.stderr, flush=True)


def around(name: str, folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Everything in order; what our commands say at the end."""
    ours = Ours(folder / "ours", scenarios.DOMAINS, scenarios.RECIPIENTS)
    zone = Zone(folder / "nsd")
    publish(ours, zone)
    stack.enter_context(zone.served())
    step("keys made, records published")
    (folder / "engine").mkdir()
    engine = stack.enter_context(ENGINES[name](folder / "engine"))
    step(f"{name} is up")
    receiver = stack.enter_context(receiving(engine))
    stack.enter_context(hop())
    stack.enter_context(ours.service("receive"))
    step("Postfix and our receiver are up")
    with ours.service("relay"):
        for sending in FIRST:
            ours.hand_over(sending.sender, sending.recipient, scenarios.mails(sending))
        receiver.mails(scenarios.SENT - AFTER.count)
        step("the first mails have arrived")
    step("the relay has stopped")
    turn_key(ours, zone)
    step("a new key is published")
    with ours.service("relay"):
        wait(lambda: signing(ours), "the relay to see the new key's record")
        step("the new key signs")
        ours.hand_over(AFTER.sender, AFTER.recipient, scenarios.mails(AFTER))
        scenarios.pass_on(receiver.mails(scenarios.SENT))
        scenarios.spoof()
        receiver.mails(scenarios.MAILS)
    wait(lambda: engine.judged() == scenarios.MAILS, f"the engine to have judged {scenarios.MAILS} mails")
    step("all mails have arrived")
    said = engine.report(receiver.port)
    print(said, file=sys.stderr)
    wait(lambda: idle(receiver), "the reports to leave")
    step("the reports have arrived")
    ours.run("ingest", "--once")
    step("stored")
    return answers(ours)


def publish(ours: Ours, zone: Zone) -> None:
    """Make a key for each domain and publish what our command says, but for one consent that is withheld."""
    for domain in scenarios.DOMAINS:
        kinds = PUBLISHED
        if domain == SUBDOMAIN.domain:  # its parent's key and DMARC record are there
            kinds = ("SPF", "MX")
        else:
            more = ("--ed25519",) if domain == TWO_KEYS.domain else ()
            ours.run("key", "new", domain, "--selector", SELECTOR, *more)
        lines = to_publish(ours.ask("dns", "show", domain), kinds)
        zone.add(enforced(domain, line) for line in lines if not line.startswith(f"{WITHHELD.domain}._report."))


def enforced(domain: str, line: str) -> str:
    """The main domain has raised its policy, as our `dns check` advises."""
    return line.replace("p=none", "p=quarantine") if domain == scenarios.ALIGNED.domain else line


def receiving(engine: Engine) -> AbstractContextManager[Postfix]:
    """The real receiver: what comes from the world passes the engine, what the engine itself mails does not."""
    return postfix(
        {
            "myhostname": "mx.example.net",
            "inet_interfaces": f"127.0.0.1, {MX}",
            "mynetworks": "127.0.0.1/32",
            "smtpd_peername_lookup": "yes",
            "smtp_bind_address": MX,
            "virtual_mailbox_domains": "example.net, changed.example.net",
            "milter_default_action": "tempfail",
            "world_milters": engine.milters,
        },
        (f"{MX}:25 inet n - n - - smtpd -o smtpd_milters=$world_milters",),
    )


def turn_key(ours: Ours, zone: Zone) -> None:
    """Rotate one key as a user does: a new one, its record, and the next look of the relay at the DNS."""
    ours.run("key", "rotate", BEFORE.domain)
    zone.add(to_publish(ours.ask("dns", "show", BEFORE.domain), ("DKIM",)))
    zone.again()


def signing(ours: Ours) -> bool:
    """Does the new key of the rotated domain sign?"""
    keys = [one for one in ours.ask("key", "list") if one["domain"] == BEFORE.domain]
    return any(one["signs"] and one["selector"] != SELECTOR for one in keys)


def idle(receiver: Postfix) -> bool:
    """Has everything left Postfix?"""
    queue = receiver.folder / "queue"
    return not any(path.is_file() for name in ("maildrop", "incoming", "active", "deferred")
                   for path in (queue / name).rglob("*"))  # fmt: skip


def answers(ours: Ours) -> dict[str, Any]:
    """What our commands say."""
    [two_keys] = ours.ask("reports", "--domain", TWO_KEYS.domain)
    found = {
        "reconcile": ours.ask("reconcile", "--rows", "--limit", "0"),
        "sent": ours.ask("sent", "--limit", "0"),
        "sources": ours.ask("sources", "--limit", "0"),
        "summary": ours.ask("summary"),
        "two keys": ours.ask("report", two_keys["report_key"]),
        "keys": ours.ask("key", "list"),
        "dns": {name: ours.ask("dns", "check", name, allowed=(0, 1)) for name in (CONSENTED.domain, WITHHELD.domain)},
        "doctor": ours.ask("doctor", allowed=(0, 1)),
    }
    step("asked")
    return found


def main() -> None:
    """See the head of the file."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    with furnished(folder), ExitStack() as stack:
        try:
            found = around(name, folder, stack)
        except BaseException:
            for path in (path for pattern in LOGS for path in sorted(folder.rglob(pattern))):
                lines = path.read_text(errors="replace").splitlines()[-LINES:]
                print(f"--- {path}", *lines, sep="\n", file=sys.stderr)
            raise
    print(json.dumps(found))


if __name__ == "__main__":
    main()
