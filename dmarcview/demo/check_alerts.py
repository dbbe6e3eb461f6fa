"""What alerts must say of the demo's story: each thing that happened, since the right day, and nothing else."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, NamedTuple

from dmarcview.demo.story import EPISODES, REPORTERS, SENDERS, Episode


class Told(NamedTuple):
    """One incident: its kind, domain and cause, the age of its first day, and whether it goes on."""

    kind: str
    domain: str
    cause: str
    age: int | None  # None: not held, it is always so
    open: bool


def wanted() -> set[Told]:
    """The incidents of the story, out of its tables."""
    (outside,) = _sender("web1.example.org").addresses
    survey = _sender("Quick Survey (new)")
    signer, selector = _sender("mail.example.org").signatures[-1]
    lost, wave = (_newest(name) for name in ("mail.example.org", "strangers"))
    return {
        Told("dmarc_failing", "example.org", outside, _newest("web1.example.org").first, True),
        Told("bypass", "example.org", outside, None, True),
        Told("new_source", survey.domain, survey.signatures[0][0], survey.since, True),
        *(Told("reporter_silent", "", one.domain, one.silent_since, True) for one in REPORTERS if one.silent_since),
        Told("signed_broken", lost.domain, f"selector {selector} of {signer}", lost.first, False),
        Told("forged", wave.domain, "unknown sources", wave.first, False),
    }


def differs(told: Any, today: date) -> list[str]:
    """What the JSON of `dmarcview alerts list --all` says other than it should."""
    always = {one[:3] for one in wanted() if one.age is None}
    said = {
        Told(
            one["kind"], one["domain"], one["cause"],
            None if (one["kind"], one["domain"], one["cause"]) in always
            else (today - date.fromisoformat(one["first_day"])).days,
            one["ended"] is None,
        )
        for one in told
    }  # fmt: skip
    missing = [f"alerts: nothing says {_words(one, today)}" for one in sorted(wanted() - said, key=str)]
    return missing + [
        f"alerts: {_words(one, today)} is told, and is not so" for one in sorted(said - wanted(), key=str)
    ]


def _words(one: Told, today: date) -> str:
    since = "" if one.age is None else f" since {today - timedelta(days=one.age)}"
    return f"{one.kind} of {one.domain or 'all domains'} by {one.cause}{since}" + ("" if one.open else ", ended")


def _sender(name: str) -> Any:
    return next(one for one in SENDERS if one.name == name)


def _newest(sender: str) -> Episode:
    return min((one for one in EPISODES if one.sender == sender), key=lambda one: one.last)
