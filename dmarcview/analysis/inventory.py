"""Notebook 02: who sends in the name of the domains, what each is, and which of them to approve."""

from __future__ import annotations

import shlex
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from dmarcview.dashboard.text import show
from dmarcview.reconcile import wilson

from . import charts
from .identifiers import senders, summed

LEAST = 20  # messages below which nothing is proposed
GOOD = 0.95  # share of mail that passes DMARC: whoever reaches it has been let in by somebody of ours
HALF = 0.5


class Proposal(NamedTuple):
    """What to do about a sender, and why."""

    action: str
    why: str


_OWN = {True: Proposal("keep", "known as yours"), False: Proposal("repair", "yours, and much of it fails")}
_FORWARDER = Proposal("leave", "passes on what others sent; it is nobody to approve")
_FEW = Proposal("wait", f"fewer than {LEAST} messages tell nothing")
_SERVICE = {
    True: Proposal("approve", "sends with your signature or from your SPF record: somebody set it up"),
    False: Proposal("ask", "a known service that mostly fails: who of you signed up for it?"),
}
_STRANGER = {
    True: Proposal("ask", "most of it passes for your domain, yet nobody has named it"),
    False: Proposal("ignore", "fails and is nobody you know: a forger, or a sender without set-up"),
}


def inventory(sources: pd.DataFrame, told: pd.DataFrame | None = None) -> pd.DataFrame:
    """Addresses of `Library.sources` put together: one row a domain, class and sender, most messages first.

    With `identifiers` of the same mail, addresses without any name are known by whose signature they mostly carry.

    Columns: domain, source_class, sender, service; addresses; messages, dmarc_pass, spf_aligned, dkim_aligned,
    forwarded, delivered_fail; share, low, high (DMARC pass, Wilson); reporters (most that saw one of its addresses);
    first_day, last_day.
    """
    sums = ["messages", "dmarc_pass", "spf_aligned", "dkim_aligned", "forwarded", "delivered_fail"]
    grouped = sources.assign(sender=_names(sources, told)).groupby(["domain", "source_class", "sender"], sort=False)
    out = grouped[sums].sum()
    out.insert(0, "addresses", grouped["source_ip"].nunique())
    out.insert(0, "service", grouped["service"].first())
    low, high = wilson(out["dmarc_pass"], out["messages"])
    out = out.assign(share=out["dmarc_pass"] / out["messages"].clip(lower=1), low=low, high=high)
    out["reporters"] = grouped["reporters"].max()
    out["first_day"], out["last_day"] = grouped["first_day"].min(), grouped["last_day"].max()
    order = ["messages", "domain", "source_class", "sender"]
    return out.reset_index().sort_values(order, ascending=[False, True, True, True], ignore_index=True)


def by_class(inventory: pd.DataFrame) -> pd.DataFrame:
    """Messages, senders, addresses and pass share of each class."""
    grouped = inventory.groupby("source_class")
    out = grouped[["messages", "dmarc_pass", "addresses"]].sum()
    out.insert(2, "senders", grouped.size())
    out["share"] = out["dmarc_pass"] / out["messages"].clip(lower=1)
    return out.reindex([name for name in charts.CLASS_NAMES if name in out.index]).reset_index()


def approve_list(inventory: pd.DataFrame) -> pd.DataFrame:
    """The inventory with `action` and `why`: what is known, what to approve, what to look into, what to leave alone."""
    said = [_propose(row) for row in inventory.itertuples()]
    out = inventory.assign(action=[one.action for one in said], why=[one.why for one in said])
    return out[["action", "domain", "sender", "source_class", "addresses", "messages", "share", "low", "high",
                "first_day", "last_day", "why"]]  # fmt: skip


def commands(listed: pd.DataFrame, inventory: pd.DataFrame) -> list[str]:
    """The `dmarcview label set` lines that approve what is proposed, for a person to read and run."""
    chosen = inventory[(listed["action"] == "approve").to_numpy()]
    services = sorted({(str(r.service), str(r.domain)) for r in chosen.itertuples() if isinstance(r.service, str)})
    return [f"dmarcview label set {_quoted(name)} third_party --domain {_quoted(domain)}" for name, domain in services]


def picture(inventory: pd.DataFrame, most: int = 15) -> go.Figure:
    """The largest senders and how much of their mail passes."""
    top = inventory.head(most).assign(failing=lambda one: one["messages"] - one["dmarc_pass"])
    names = charts.who(top)
    parts = [charts.Series("dmarc_pass", "DMARC pass", charts.BLUE), charts.Series("failing", "DMARC fail",
                                                                                charts.ORANGE, "x")]  # fmt: skip
    figure = charts.stacks(names, top, parts, "The largest senders, by what became of their mail", x="Messages")
    return figure.update_xaxes(type="linear")


def _names(sources: pd.DataFrame, told: pd.DataFrame | None) -> pd.Series:
    if told is None:
        return senders(sources)
    keys = ["domain", "source_ip"]
    most = summed(told, [*keys, "sender"]).drop_duplicates(keys)
    return senders(sources).where(sources[["service", "reverse_dns"]].notna().any(axis=1),
                                  sources[keys].merge(most, on=keys, how="left")["sender"].to_numpy())  # fmt: skip


def _propose(row: Any) -> Proposal:
    passes = row.low >= HALF
    if row.source_class == "own":
        return _OWN[row.high >= GOOD]
    if row.source_class == "forwarder":
        return _FORWARDER
    if row.messages < LEAST:
        return _FEW
    return (_SERVICE if row.source_class == "third_party" else _STRANGER)[passes]


def _quoted(text: str) -> str:
    return shlex.quote(show(text))
