"""What the numbers mean: the one sentence on top, and what needs a hand. Pure: frames in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from dmarcview.alerts import said
from dmarcview.alerts import text as words_of
from dmarcview.alerts.series import group_of
from dmarcview.alerts.words import ACT
from dmarcview.dashboard import text, url
from dmarcview.query.lateness import ARRIVED, SILENT

if TYPE_CHECKING:
    from dmarcview.alerts.model import Incident

GOOD_SHARE, POOR_SHARE = 0.98, 0.95  # of own mail that passes DMARC
WORTH_MESSAGES = 4  # fewer failures than this are noise
WORTH_SHARE = 0.02  # of a source's mail that fails
ALMOST_NONE, ALMOST_ALL = 0.05, 0.9
MOST_ITEMS = 7
MOST_ENDED = 5
GOOD_WORDS = "Your own mail is in order. "
TITLE_CHARS, WHY_CHARS = 160, 400


class Totals(NamedTuple):
    """Sums over the days of a window."""

    days: int = 0
    messages: int = 0
    own_pass: int = 0
    own_fail: int = 0
    forwarded: int = 0
    unknown_blocked: int = 0
    unknown_delivered: int = 0

    @property
    def own(self) -> int:
        """Messages of own and approved sources."""
        return self.own_pass + self.own_fail

    @property
    def unknown(self) -> int:
        """Messages of sources that nobody vouches for."""
        return self.unknown_blocked + self.unknown_delivered


class Verdict(NamedTuple):
    """`level` is a key of `parts.MARKS`."""

    level: str
    sentence: str
    detail: str


class Item(NamedTuple):
    """One thing that needs attention: what, why, and the first thing to do."""

    level: str
    title: str
    cause: str
    action: str
    source: tuple[str, str] | None = None
    incident: int | None = None
    domain: str = ""  # "": all of them
    names: frozenset[str] = frozenset()  # what it is about, beside the domain: addresses, services, reporters


def totals(daily: pd.DataFrame, *, as_asked: bool = False) -> Totals:
    """Sum the complete days of a daily frame; all of them when a person asked for these days, or none is complete."""
    done = daily if as_asked or not len(daily) or not daily["complete"].any() else daily.loc[daily["complete"]]
    names = Totals._fields[1:]
    return Totals(len(done), *(int(done[n].sum()) if len(done) else 0 for n in names))


def judge(now: Totals, window: str, acts: int = 0) -> Verdict:
    """The sentence of the overview; `window` reads like `in the 30 days to 20 Nov`.

    While `acts` incidents ask for action nothing is simply good, and that is said first.
    """
    asks = f"{acts} incident{'s' * (acts != 1)} ask{'s' * (acts == 1)} for action. " if acts else ""
    found = _judged(now, window)
    if not asks:
        return found
    sentence = asks + found.sentence.removeprefix(GOOD_WORDS)
    return found._replace(level="watch" if found.level in ("good", "none") else found.level, sentence=sentence)


def _judged(now: Totals, window: str) -> Verdict:
    if now.messages == 0:
        return Verdict("none", "No mail was reported " + window + ".", "")
    delivered = now.unknown_delivered
    forged = (
        f"{text.messages(delivered)} from unknown sources failed DMARC and {_were(delivered)} delivered."
        if delivered
        else "No forged message was delivered."
        if now.unknown
        else "Nobody was seen forging your domains."
    )
    if now.own == 0:
        if now.unknown == 0:
            forged = f"{text.messages(now.forwarded)} came by forwarders; they say little about your own servers."
        return Verdict("watch" if delivered else "none", f"No mail of your own was reported {window}.", forged)
    passed = now.own_pass / now.own
    numbers = f"{text.share(now.own_pass, now.own)} of {text.number(now.own)} own messages passed DMARC {window}"
    if passed < POOR_SHARE:
        return Verdict("bad", f"Part of your own mail fails. {numbers}.", forged)
    if passed < GOOD_SHARE:
        return Verdict("watch", f"Your own mail mostly passes. {numbers}.", forged)
    if delivered > now.own_pass * 0.05:
        return Verdict("watch", f"Your own mail is in order, yet forgeries get through. {numbers}.", forged)
    return Verdict("good", f"{GOOD_WORDS}{numbers}.", forged)


def attention(sources: pd.DataFrame, arrivals: pd.DataFrame, policies: dict[str, str]) -> list[Item]:
    """At most `MOST_ITEMS` things to do, the most messages first.

    `sources`: the frame of `frames.Frames.sources`; `arrivals`: the `reporters` of `query.lateness.Judged`;
    `policies`: domain -> the newest published `p`.
    """
    items: list[tuple[float, Item]] = []
    if len(sources):
        vouched = sources["source_class"].isin(["own", "third_party"])
        failing = sources["messages"] - sources["dmarc_pass"]
        worth = vouched & (failing >= WORTH_MESSAGES) & (failing >= WORTH_SHARE * sources["messages"])
        ranked = sources.assign(failing=failing)[worth].sort_values(
            ["failing", "domain", "source_ip"], ascending=[False, True, True]
        )
        for row in ranked.head(MOST_ITEMS).to_dict("records"):
            items.append((float(row["failing"]), _failing(row)))
        items += _forged(sources, policies)
    items += [(2.0, item) for item in _silent(arrivals)]
    items.sort(key=lambda pair: -pair[0])
    return [item for _, item in items[:MOST_ITEMS]]


def incidents(found: Sequence[Incident]) -> list[Item]:
    """Open incidents as such items: what asks for action first, what is acknowledged last."""
    ranked = sorted(found, key=lambda one: (one.acked is not None, one.finding.level != ACT))
    out = []
    for one in ranked:
        finding, view = one.finding, url.parse(one.finding.query)
        names = {finding.kind, finding.cause, *(member.name for member in finding.members)}
        names |= {view.source[1]} if view.source else set()
        state = f"; {said.state(one)}" if one.acked or one.muted_until else ""
        why = f"Since {words_of.day(finding.first_day)}: {said.counts(finding)}{state}."
        level = "none" if one.acked is not None else "bad" if finding.level == ACT else "watch"
        out.append(
            Item(level, text.show(finding.title, TITLE_CHARS), text.show(why, WHY_CHARS),
                 text.show(finding.check, WHY_CHARS), None, one.id, finding.domain, frozenset(names))
        )  # fmt: skip
    return out


def ended(found: Sequence[Incident], since: date, until: date) -> list[Item]:
    """Incidents that are over and were going on within these days, the gravest and newest first, with what they hit."""
    within = [one for one in found if one.finding.first_day <= until and one.finding.last_day >= since]
    ranked = sorted(within, key=lambda one: one.finding.last_day, reverse=True)
    ranked.sort(key=lambda one: one.finding.level != ACT)
    return [
        Item("none", text.show(one.finding.title, TITLE_CHARS),
             text.show(f"{_days(one.finding.first_day, one.finding.last_day)}: {said.counts(one.finding)}.", WHY_CHARS),
             "", None, one.id, one.finding.domain)
        for one in ranked
    ]  # fmt: skip


def _days(first: date, last: date) -> str:
    """`5 Nov`, `5 to 8 Nov`, `29 Oct to 3 Nov`."""
    if first == last:
        return words_of.day(last)
    begin = f"{first.day}" if (first.month, first.year) == (last.month, last.year) else words_of.day(first)
    return f"{begin} to {words_of.day(last)}"


def merged(first: Sequence[Item], rest: Sequence[Item]) -> list[Item]:
    """Incidents, then what no incident tells of already; at most `MOST_ITEMS`."""

    def told(item: Item) -> bool:
        return any(one.names & item.names and ("" in (one.domain, item.domain) or one.domain == item.domain)
                   for one in first)  # fmt: skip

    return [*first, *(item for item in rest if not told(item))][:MOST_ITEMS]


def source_name(row: dict[Any, Any]) -> str:
    """What people call a source: its service, its confirmed name, or its address."""
    for key in ("service", "reverse_dns"):
        name = text.show(row.get(key), 48)
        if name:
            return name
    return text.show(row["source_ip"], 48)


def cause(row: dict[Any, Any]) -> tuple[str, str]:
    """(why mail of a vouched-for source fails, the first thing to do) from the counts of its row."""
    total = max(int(row["messages"]), 1)
    dkim, spf = row["dkim_aligned"] / total, row["spf_aligned"] / total
    domain, ip = text.show(row["domain"], 80), text.show(row["source_ip"], 48)
    where = source_name(row) if row["source_class"] == "third_party" else "your own server"
    if dkim < ALMOST_NONE and spf < ALMOST_NONE:
        return (
            "Neither DKIM nor SPF ever aligns: it signs as another domain or not at all.",
            f"Turn on DKIM signing as {domain} at {where}."
            if row["source_class"] == "third_party"
            else f"Sign with d={domain}, and add {ip} to the SPF record of {domain}.",
        )
    if dkim >= ALMOST_NONE and spf < ALMOST_NONE:
        if row["source_class"] == "own":
            return (
                f"Your signature survives in {dkim:.0%}, SPF never aligns: a server that forwards looks like this.",
                "If it passes on what others received, label it forwarder. If it is yours, "
                f"add {ip} to the SPF record of {domain}.",
            )
        return (
            f"It passes by DKIM alone: {dkim:.0%} of its mail carries a good signature of {domain}, the rest none.",
            f"Ask {where} which mail it does not sign as {domain}.",
        )
    if dkim < ALMOST_NONE:
        return (
            f"It passes by SPF alone, in {spf:.0%}: without an aligned DKIM signature mail fails whenever SPF does.",
            f"Check that {ip} still is in the SPF record of {domain}; then let it sign with d={domain}."
            if row["source_class"] == "own"
            else f"Turn on DKIM signing as {domain} at {where}, so that mail survives forwarding.",
        )
    return (
        f"DKIM aligns for {dkim:.0%}, SPF for {spf:.0%}: part of the mail takes another way out.",
        "Open the source and look at Alignment and Day by day: which selector or envelope fails, and since when.",
    )


def _failing(row: dict[Any, Any]) -> Item:
    failed, total = int(row["failing"]), int(row["messages"])
    why, action = cause(row)
    level = "bad" if failed / total > 1 - POOR_SHARE else "watch"
    title = f"{source_name(row)}: {text.number(failed)} of {text.number(total)} fail for {text.show(row['domain'], 60)}"
    service = text.show(row.get("service")) or None
    names = frozenset({str(row["source_ip"]), group_of(str(row["source_ip"]), service)})
    source = str(row["domain"]), str(row["source_ip"])
    return Item(level, title, why, action, source, domain=source[0], names=names)


def _forged(sources: pd.DataFrame, policies: dict[str, str]) -> list[tuple[float, Item]]:
    unknown = sources[(sources["source_class"] == "unknown") & (sources["delivered"] >= WORTH_MESSAGES)]
    out = []
    for domain, group in unknown.groupby("domain", sort=True):
        count, name = int(group["delivered"].sum()), text.show(domain, 60)
        top = group.sort_values(["delivered", "source_ip"], ascending=[False, True]).iloc[0]
        p = policies.get(str(domain), "")
        if p in ("quarantine", "reject"):
            action = (
                "Open the largest source. If it is yours, label it; if not, there is nothing to mend: "
                "some receivers let mail through in spite of the policy."
            )
        else:
            action = f"When all your own mail of {name} passes, publish p=quarantine; p=none asks nobody to stop these."
        said = f"its policy is p={p}" if p else "no policy was seen"
        why = f"{len(group)} unknown source{'s' if len(group) > 1 else ''} failed DMARC for {name}; {said}."
        level = "watch"
        item = Item(level, f"{text.messages(count)} posing as {name} {_were(count)} delivered", why, action,
                    (str(domain), str(top["source_ip"])), domain=str(domain),
                    names=frozenset({"forged", str(top["source_ip"])}))  # fmt: skip
        out.append((count * 0.5, item))
    return out


def _silent(arrivals: pd.DataFrame) -> list[Item]:
    """Usual reporters that are awaited no more, not even of the newest day: see `query.lateness`."""
    out = []
    newest = arrivals["day"].max()
    for submitter, rows in arrivals.groupby("submitter", sort=True):
        came = rows.loc[rows["state"] == ARRIVED, "day"]
        missed = rows[rows["usual"] & (rows["day"] > came.max() if len(came) else True)].sort_values("day")
        if missed.empty or missed["state"].iloc[-1] != SILENT or missed["day"].iloc[-1] != newest:
            continue
        last = f"last for {came.max():%d %b}" if len(came) else "none in this strip"
        out.append(
            Item(
                "watch",
                f"{text.show(submitter, 60)} stopped reporting",
                f"A usual reporter, {last}, and overdue by its own habit.",
                "While others still report, wait: it is theirs to mend. "
                "If all are silent, check rua in your DMARC record.",
                names=frozenset({str(submitter)}),
            )
        )
    return out


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
