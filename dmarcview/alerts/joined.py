"""Findings that only the join of the sent log and the reports can give: broken signatures, and mail never sent. Pure.

What was signed is known, so a bad signature on it is a fault of somebody, not noise of strangers: the same method as
for rates, with a small usual share taken for granted, finds it with the first few. Of days of which the sent log does
not know all, nothing is said: the relay may be new, or its old rows gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, cast

from .causes import window_query
from .cusum import Cells, Method, judge
from .model import Finding, Member
from .said import percent
from .series import as_day, day_number

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.reconcile import Reconciled

    from .likelihood import Bools

# nobody is young: from the first mail on it is known how many were signed
SIGNED = Method(threshold=4.0, prior_failed=0.5, prior_total=200.0, young_days=0, young_messages=0, least_failed=3)
NOT_SENT_LEAST = 5  # messages reported beyond what was sent, and ...
NOT_SENT_SHARE = 0.05  # ... as a share of what was sent
RECENT_DAYS = 14
LEAD_DAYS = 2  # from the day of the first row in the log: the mail of a report may lie on its day and the one before
RELAYED = 0.5  # of a domain's own mail: from there on, what goes around the relay is worth a word
MOST_MEMBERS = 20


def findings(found: Reconciled, today: int, complete: Bools | None = None) -> list[Finding]:
    """Findings of a comparison of sent and reported; `today` in days since 1970."""
    if not found.rows["sent"].any():
        return []
    rows = logged(found)
    return [*signed(rows, today, complete), *not_sent(rows, today), *around(rows, today)]


def logged(found: Reconciled) -> pd.DataFrame:
    """Rows of days of which the log has all: since it knows the source and its From domain, else the From domain."""
    import pandas as pd

    rows = found.rows
    first = rows[["source_ip", "header_from"]].merge(found.logged, how="left", validate="many_to_one")["first"]
    of_domain = rows["header_from"].map(found.logged.groupby("header_from")["domain_first"].min())
    since = of_domain.where(rows["matched_by"] == "", first.set_axis(rows.index)).dt.floor("D")
    known: pd.Series[bool] = rows["day"] >= since + pd.Timedelta(days=LEAD_DAYS)
    return rows[known]


def signed(rows: pd.DataFrame, today: int, complete: Bools | None = None) -> list[Finding]:
    """Signed by us, and reported without a good signature of ours."""
    ours = rows[(rows["matched_by"] != "") & (rows["dkim_domain"] != "") & (rows["reported"] > 0)]
    if ours.empty or not ours["dkim_fail"].any():
        return []
    keys = ours.groupby(["dkim_domain", "dkim_selector"], sort=True)
    names = [tuple(map(str, name)) for name in cast("list[tuple[str, str]]", list(keys.groups))]
    receivers = ours["receiver"].astype("category").cat
    days = ours["day"].dt.date.map(day_number).to_numpy()
    numbers = [keys.ngroup().to_numpy(), days, receivers.codes.to_numpy(), ours["reported"].to_numpy(),
               ours["dkim_fail"].to_numpy()]  # fmt: skip
    verdicts = judge(Cells(*(one.astype("int64") for one in numbers)), len(names), today, complete, SIGNED)
    out = []
    for place in (verdicts.open | (verdicts.cleared >= 0)).nonzero()[0].tolist():
        domain, selector = names[place]
        since, failed, total = as_day(verdicts.since[place]), int(verdicts.failed[place]), int(verdicts.total[place])
        ended = as_day(verdicts.cleared[place]) if verdicts.cleared[place] >= 0 else None
        last = ended or as_day(today - 1)
        within = (days >= verdicts.since[place]) & (days <= day_number(last))
        one = ours[(keys.ngroup() == place).to_numpy() & within]
        out.append(
            Finding(
                kind="signed_broken", domain=domain, cause=f"selector {selector} of {domain}", first_day=since,
                last_day=last, weight=failed, failed=failed, total=total,
                usual=float(verdicts.p0[place]),
                text=f"{failed:,} of {total:,} reported messages that we signed with {selector} of {domain} came "
                f"without a good signature since {since.day} {since:%b %Y}; usual are "
                f"{percent(float(verdicts.p0[place]))}.",
                page="/reconcile", query=window_query(domain, since, last),
                members=_members(one, "dkim_fail", "reported"), fired=as_day(verdicts.fired[place]), cleared=ended,
            )
        )  # fmt: skip
    return out


def not_sent(rows: pd.DataFrame, today: int) -> list[Finding]:
    """Reported from the relay's address beyond what it delivered there, of the newest days."""
    marked = beyond(_recent(rows, today))
    out = []
    for (source, domain), part in marked.groupby(["source_ip", "header_from"], sort=True):
        more, sent = int((part["reported"] - part["sent"]).sum()), int(part["sent"].sum())
        if more < NOT_SENT_LEAST or more < NOT_SENT_SHARE * sent:
            continue
        some = part[part["reported"] > part["sent"]]
        first, last = _days(some)
        out.append(
            Finding(
                kind="not_sent", domain=str(domain), cause=str(source), first_day=first, last_day=last, weight=more,
                failed=more, total=int(part["reported"].sum()),
                text=f"{int(part['reported'].sum()):,} messages are reported from {source}, and the relay's log has "
                f"{sent:,} for these receivers: {more:,} that it never sent.",
                page="/reconcile", query=window_query(str(domain), first, last),
                members=_members(some.assign(more=some["reported"] - some["sent"]), "more", "reported"),
            )
        )  # fmt: skip
    return out


def around(rows: pd.DataFrame, today: int) -> list[Finding]:
    """Own addresses whose mail the relay's log does not have, for domains that mostly send by the relay."""
    recent, past = _recent(rows, today), bypassing(rows)
    bypass = bypassing(recent)
    relayed = recent[recent["matched_by"] != ""].groupby("header_from")["reported"].sum()
    by_domain: Mapping[Any, Any] = bypass.groupby("header_from")["reported"].sum().to_dict()
    out = []
    for (source, domain), part in bypass.groupby(["source_ip", "header_from"], sort=True):
        through = int(relayed.get(domain, 0))
        if part["reported"].sum() < NOT_SENT_LEAST or through < RELAYED * (through + int(by_domain[domain])):
            continue
        whole = _lately(past[(past["source_ip"] == source) & (past["header_from"] == domain)])
        first, last = _days(whole)
        messages = int(whole["reported"].sum())
        out.append(
            Finding(
                kind="bypass", domain=str(domain), cause=str(source), first_day=first, last_day=last,
                weight=messages, failed=messages, total=messages,
                text=f"{messages:,} messages since {first.day} {first:%b %Y} came from {source}, an address of yours, "
                "and are not in the relay's log.",
                page="/reconcile", query=window_query(str(domain), first, last),
                members=_members(part, "reported", "reported"),
            )
        )  # fmt: skip
    return out


def beyond(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of addresses of the relay that tell of more than it delivered."""
    return rows[(rows["matched_by"] != "") & (says(rows, "more_reported") | says(rows, "other_receiver"))]


def bypassing(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of own addresses whose mail the relay's log does not have."""
    return rows[says(rows, "bypass")]


def _lately(rows: pd.DataFrame) -> pd.DataFrame:
    """The newest rows, back to the first pause of more than RECENT_DAYS."""
    days: list[date] = sorted(set(rows["day"].dt.date))
    first = days[-1]
    for day in reversed(days):
        if (first - day).days > RECENT_DAYS:
            break
        first = day
    late: pd.Series[bool] = rows["day"].dt.date >= first
    return rows[late]


def says(rows: pd.DataFrame, code: str) -> pd.Series[bool]:
    """Is this code among the findings of each row?"""
    return rows["findings"].map(lambda codes: code in codes).astype(bool)


def _recent(rows: pd.DataFrame, today: int) -> pd.DataFrame:
    import pandas as pd

    return rows[
        (rows["day"] >= pd.Timestamp(as_day(today - RECENT_DAYS))) & (rows["day"] < pd.Timestamp(as_day(today)))
    ]


def _days(rows: pd.DataFrame) -> tuple[date, date]:
    return rows["day"].min().date(), rows["day"].max().date()


def _members(rows: pd.DataFrame, failed: str, total: str) -> tuple[Member, ...]:
    """By receiver, the most first."""
    sums = rows.groupby("receiver", as_index=False)[list({failed, total})].sum()
    sums = sums[sums[failed] > 0].sort_values([failed, "receiver"], ascending=[False, True])
    return tuple(Member(str(row["receiver"]), int(row[failed]), int(row[total]))
                 for row in sums.head(MOST_MEMBERS).to_dict("records"))  # fmt: skip
