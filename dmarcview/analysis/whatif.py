"""Notebook 05: who is hit if the policy were stricter, counted from the mail that was reported."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dmarcview.dashboard import text

from . import charts
from .intervals import by_cell, shares

OWN = ("own", "third_party")
STRONG = ("quarantine", "reject")
_CLASSES = ("own", "third_party", "forwarder", "unknown")
_OTHERS = (
    charts.Series("unknown", "Unknown sources", charts.GREY),
    charts.Series("forwarder", "Forwarded", charts.SKY, "."),
)


@dataclass(frozen=True, slots=True)
class Policy:
    """A DMARC policy: actions for the domain, its subdomains, and names that do not exist; alignment modes r or s."""

    p: str = "none"
    sp: str = ""
    np: str = ""
    adkim: str = "r"
    aspf: str = "r"

    def __str__(self) -> str:
        parts = [f"p={self.p}", *(f"{tag}={value}" for tag, value in (("sp", self.sp), ("np", self.np)) if value)]
        return "; ".join([*parts, *(f"{tag}=s" for tag in ("adkim", "aspf") if getattr(self, tag) == "s")])


def published(told: pd.DataFrame) -> pd.DataFrame:
    """The policy that each domain had published by its newest reports: domain, p, sp, adkim, aspf, day."""
    newest = told.sort_values("day").drop_duplicates("domain", keep="last")
    return newest[["domain", "p", "sp", "adkim", "aspf", "day"]].sort_values("domain", ignore_index=True)


def ladder(now: Policy) -> list[Policy]:
    """The steps to ask about: today's policy, quarantine, reject, and each strict mode of reject."""
    reject = replace(now, p="reject", sp="reject", np="reject")
    steps = [now, replace(now, p="quarantine", sp="quarantine", np="quarantine"), replace(now, p="reject"), reject,
             replace(reject, adkim="s", aspf="r"), replace(reject, adkim="r", aspf="s"),
             replace(reject, adkim="s", aspf="s")]  # fmt: skip
    return list(dict.fromkeys(steps))


def judged(told: pd.DataFrame, policy: Policy, *, absent: Collection[str] = ()) -> pd.DataFrame:
    """`identifiers` with `passes` and `action` (none, quarantine, reject) under a policy.

    In the mode that was published, the receiver's own word counts; in the other, the results decide (RFC 7489 section
    3.1). Where a record tells no results, the receiver's word stands: `guessed`. `absent` are subdomains that do not
    exist, for which np holds (RFC 9990, RFC 9091 section 3.1); without sp, p holds for subdomains, without np, sp.
    """
    dkim, spf = _aligned(told, "dkim", policy.adkim), _aligned(told, "spf", policy.aspf)
    passes, below = dkim | spf, told["header_from"] != told["domain"]
    sub = policy.sp or policy.p
    action = np.select([passes, below & told["header_from"].isin(list(absent)), below], ["none", policy.np or sub, sub],
                       policy.p)  # fmt: skip
    other = (told["adkim"].fillna("r") != policy.adkim) | (told["aspf"].fillna("r") != policy.aspf)
    return told.assign(passes=passes, action=action, guessed=other & ~told["told"])


def compare(told: pd.DataFrame, policies: Sequence[Policy], *, absent: Collection[str] = ()) -> pd.DataFrame:
    """One row a policy: messages that would be quarantined or rejected, by class, and the share of own mail among them.

    Columns: policy; own, third_party, forwarder, unknown (messages hit); own_mail (messages of own and approved
    sources), share, low, high, effect (of these hit); senders (own and approved ones that lose more than 2 % of their
    mail); guessed (messages judged by the receiver's word for want of results). It is an upper bound: receivers let
    some forwarded mail through.
    """
    out = []
    for policy in policies:
        found = judged(told, policy, absent=absent)
        hit = found["count"].where(found["action"].isin(STRONG), 0)
        by_class = hit.groupby(found["source_class"]).sum()
        own = found.assign(hit=hit)[found["source_class"].isin(OWN)]
        days = own.groupby("day")[["hit", "count"]].sum()
        each = own.groupby(["domain", "sender"])[["hit", "count"]].sum()
        out.append(
            (str(policy), *(int(by_class.get(name, 0)) for name in _CLASSES), int(own["count"].sum()),
             *by_cell(days["hit"], days["count"]), int((each["hit"] > 0.02 * each["count"]).sum()),
             int(found.loc[found["guessed"], "count"].sum()))
        )  # fmt: skip
    return pd.DataFrame(out, columns=["policy", *_CLASSES, "own_mail", "share", "low", "high", "effect", "senders",
                                      "guessed"])  # fmt: skip


def hit(told: pd.DataFrame, policy: Policy, *, absent: Collection[str] = ()) -> pd.DataFrame:
    """Who is hit under a policy: class, domain, From, sender; messages, hit, and its interval; most hit first."""
    found = judged(told, policy, absent=absent)
    found["hit"] = found["count"].where(found["action"].isin(STRONG), 0)
    by = ["source_class", "domain", "header_from", "sender"]
    out = shares(found, by, "hit").rename(columns={"part": "hit"})
    out["order"] = out["source_class"].map({name: place for place, name in enumerate(_CLASSES)})
    up = [True, False, *[True] * len(by)]
    out = out[out["hit"] > 0].sort_values(["order", "hit", *by], ascending=up, ignore_index=True)
    return out.drop(columns="order")


def picture(compared: pd.DataFrame, domain: str) -> go.Figure:
    """Own mail lost at each step."""
    title = f"{text.chart(domain)}: own and approved mail that would be quarantined or rejected (95 % interval)"
    rates = compared.rename(columns={"own_mail": "messages"})
    return charts.points(rates["policy"], rates, title, zero=True, colour=charts.ORANGE)


def stopped_picture(compared: pd.DataFrame, domain: str) -> go.Figure:
    """Unknown and forwarded mail stopped at each step."""
    title = f"{text.chart(domain)}: other mail that would be stopped"
    return charts.stacks(compared["policy"], compared, _OTHERS, title, x="Messages")


def _aligned(told: pd.DataFrame, mechanism: str, mode: str) -> pd.Series:
    said, computed = told[f"{mechanism}_aligned"], told[f"{mechanism}_{'strict' if mode == 's' else 'relaxed'}"]
    same = told[f"a{mechanism}"].fillna("r") == mode
    return said.where(same | ~told["told"], computed)
