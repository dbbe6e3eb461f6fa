"""Notebook 04: forwarders set apart; what then still fails is ours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from . import charts
from .intervals import by_cell, shares

ROUTES = ("direct", "forwarded", "unknown")
_FAILS = (
    charts.Series("direct", "Own and approved senders", charts.ORANGE, "x"),
    charts.Series("forwarded", "Forwarded", charts.SKY, "."),
    charts.Series("unknown", "Unknown sources", charts.GREY),
)


def split(told: pd.DataFrame) -> pd.DataFrame:
    """`identifiers` with `route` (of ROUTES), by the same rule as the outcomes of the pages, and `failed` messages.

    forwarded: from a forwarder, or failed and the receiver itself names a detour. unknown: failed, of a source that
    nobody vouches for. direct: all else, so also mail of an unknown source that passes for our domain.
    """
    away = (told["source_class"] == "forwarder") | (~told["dmarc_pass"] & told["detour"])
    known = told["source_class"].isin(["own", "third_party"]) | told["dmarc_pass"]
    route = np.select([away, known], ["forwarded", "direct"], "unknown")
    return told.assign(route=route, failed=told["count"].where(~told["dmarc_pass"], 0))


def rates(routed: pd.DataFrame) -> pd.DataFrame:
    """One row a route: messages, and the shares that pass DMARC, SPF and DKIM, with the interval of DMARC's."""
    found = []
    for route in ROUTES:
        one = routed[routed["route"] == route]
        days = one.assign(passed=one["count"] - one["failed"]).groupby("day")[["passed", "count"]].sum()
        total, share = int(one["count"].sum()), by_cell(days["passed"], days["count"])
        spf, dkim = (one.loc[one[name], "count"].sum() / max(total, 1) for name in ("spf_aligned", "dkim_aligned"))
        found.append((route, total, int(one["failed"].sum()), *share, spf, dkim))
    return pd.DataFrame(found, columns=["route", "messages", "failed", "share", "low", "high", "effect", "spf", "dkim"])


def own_rate(routed: pd.DataFrame) -> pd.DataFrame:
    """The pass rate of your mail, with forwarded mail in it and without it: what the split changes."""
    mine = routed[routed["route"] != "unknown"]
    out = []
    for name, chosen in (("with forwarded mail", mine), ("without it", mine[mine["route"] == "direct"])):
        days = chosen.assign(passed=chosen["count"] - chosen["failed"]).groupby("day")[["passed", "count"]].sum()
        out.append((name, int(chosen["count"].sum()), *by_cell(days["passed"], days["count"])))
    return pd.DataFrame(out, columns=["what", "messages", "share", "low", "high", "effect"])


def forwarders(routed: pd.DataFrame) -> pd.DataFrame:
    """One row a forwarder: messages, and the share whose DKIM signature survives (part, share, low, high, effect)."""
    away = routed[routed["route"] == "forwarded"]
    return shares(away.assign(alive=away["count"].where(away["dkim_aligned"], 0)), ["sender"], "alive")


def failing(routed: pd.DataFrame) -> pd.DataFrame:
    """Failing messages a day, a column a route."""
    out = routed.pivot_table(index="day", columns="route", values="failed", aggfunc="sum", fill_value=0)
    out = out.reindex(columns=list(ROUTES), fill_value=0)
    if len(out):
        out = out.reindex(pd.date_range(out.index.min(), out.index.max(), freq="D", unit="s"), fill_value=0)
    return out.rename_axis(index="day", columns=None).reset_index()


def ours(routed: pd.DataFrame) -> pd.DataFrame:
    """What is left to repair: direct mail that failed, by domain and sender; part is what failed, most first."""
    direct = routed[routed["route"] == "direct"]
    found = shares(direct, ["domain", "sender"], "failed").rename(columns={"part": "failed"})
    return found[found["failed"] > 0].sort_values(["failed", "domain", "sender"], ascending=[False, True, True],
                                                 ignore_index=True)  # fmt: skip


def failing_picture(failing: pd.DataFrame) -> go.Figure:
    """Failing mail by day and route."""
    return charts.days(failing, _FAILS, "Mail that failed DMARC, by the way it came", y="Failed messages a day")


def survival_picture(forwarders: pd.DataFrame, most: int = 15) -> go.Figure:
    """Whose forwarding leaves the signature whole."""
    top = forwarders.head(most)
    return charts.points(top["sender"], top, "DKIM signatures that survive forwarding (95 % interval)", zero=True,
                         colour=charts.SKY)  # fmt: skip
