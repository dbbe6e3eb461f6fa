"""Notebook 06: the relay's log against the reports, by day, receiver and selector."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from dmarcview.reconcile import COMPLETE, OPEN, SILENT, Reconciled, wilson

from . import charts

NEVER_SENT = ("bypass", "unknown_sender", "forged")
_SENT = (
    charts.Series("matched", "Sent and reported", charts.BLUE),
    charts.Series("missing", "Sent, not reported", charts.ORANGE, "x"),
    charts.Series("awaited", "Reports may still come", charts.SKY, "/"),
    charts.Series("silent", "To receivers that do not report", charts.GREY, "."),
)


@dataclass(frozen=True)
class Totals:
    """Messages of both sides; `counted` were sent in rows that are complete, `matched` of these were reported."""

    sent: int
    reported: int
    counted: int
    matched: int
    open: int
    silent: int
    never_sent: int

    def __str__(self) -> str:
        low, high = wilson(self.matched, self.counted)
        known = f"{self.matched / self.counted:.1%} ({low:.1%} to {high:.1%})" if self.counted else "nothing yet"
        return (
            f"sent {self.sent:,}, {self.counted:,} of them on complete days to receivers that report: {known} in\n"
            f"{self.open:,} may still be reported, {self.silent:,} went to receivers that do not report\n"
            f"{self.reported:,} messages in the reports, of these {self.never_sent:,} the relay never sent"
        )


def totals(found: Reconciled) -> Totals:
    """The sums of a comparison."""
    rows = found.rows
    done = rows[rows["state"] == COMPLETE]
    by_state = rows.groupby("state")["sent"].sum()
    never = found.findings[found.findings["code"].isin(NEVER_SENT)]["messages"].sum()
    return Totals(
        int(rows["sent"].sum()), int(rows["reported"].sum()), int(done["sent"].sum()),
        int(done[["sent", "reported"]].min(axis=1).sum()), int(by_state.get(OPEN, 0)), int(by_state.get(SILENT, 0)),
        int(never),
    )  # fmt: skip


def by_day(rows: pd.DataFrame) -> pd.DataFrame:
    """What was sent, a day: day, sent, and its parts matched, missing, awaited, silent; coverage, low, high.

    coverage is of complete rows alone; it is missing on days that have none.
    """
    least = rows[["sent", "reported"]].min(axis=1)
    done, waits = rows["state"] == COMPLETE, rows["state"] == OPEN
    parts = pd.DataFrame(
        {
            "day": rows["day"],
            "sent": rows["sent"],
            "matched": least.where(rows["sent"] > 0, 0),
            "missing": (rows["sent"] - least).where(done, 0),
            "awaited": (rows["sent"] - least).where(waits, 0),
            "silent": (rows["sent"] - least).where(rows["state"] == SILENT, 0),
            "counted": rows["sent"].where(done, 0),
            "of_them": least.where(done, 0),
        }
    )
    out = parts.groupby("day").sum().reset_index()
    low, high = wilson(out["of_them"], out["counted"])
    share = (out["of_them"] / out["counted"].clip(lower=1)).where(out["counted"] > 0)
    out = out.assign(coverage=share, low=low, high=high)
    out.loc[out["counted"] == 0, ["low", "high"]] = float("nan")
    return out.drop(columns=["counted", "of_them"])[out["sent"] > 0].reset_index(drop=True)


def by_selector(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a signing domain and selector of ours: sent, reported, dkim_fail; share (failed), low, high."""
    mine = rows[rows["matched_by"] != ""]
    out = mine.groupby(["dkim_domain", "dkim_selector"])[["sent", "reported", "dkim_fail"]].sum().reset_index()
    low, high = wilson(out["dkim_fail"], out["reported"])
    share = (out["dkim_fail"] / out["reported"].clip(lower=1)).where(out["reported"] > 0)
    out = out.assign(share=share, low=low, high=high)
    return out.sort_values(["sent", "dkim_domain", "dkim_selector"], ascending=[False, True, True], ignore_index=True)


def never_sent(findings: pd.DataFrame) -> pd.DataFrame:
    """What is reported and was never sent: one row a code, source and From, receivers summed; most messages first."""
    chosen = findings[findings["code"].isin(NEVER_SENT)]
    grouped = chosen.groupby(["code", "source_ip", "header_from"], sort=False)
    out = grouped["messages"].sum().reset_index()
    out["receivers"] = grouped["receiver"].nunique().to_numpy()
    out["first_day"], out["last_day"] = grouped["first_day"].min().to_numpy(), grouped["last_day"].max().to_numpy()
    out["evidence"] = [" ".join(one[0]) if one else "" for one in grouped["evidence"].agg(list).tolist()]
    order = ["messages", "code", "source_ip", "header_from"]
    return out.sort_values(order, ascending=[False, True, True, True], ignore_index=True)


def day_picture(by_day: pd.DataFrame) -> go.Figure:
    """What became of what was sent."""
    return charts.days(by_day, _SENT, "What the relay sent, and what of it is in the reports")


def receiver_picture(receivers: pd.DataFrame, most: int = 15) -> go.Figure:
    """Coverage by receiver; receivers without a complete day are left out."""
    top = receivers[receivers["counted"] > 0].head(most).rename(columns={"counted": "messages"})
    return charts.points(top["receiver"], top, "How much of what each receiver took is in its reports (95 % interval)",
                         key="coverage")  # fmt: skip
