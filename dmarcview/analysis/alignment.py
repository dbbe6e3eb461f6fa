"""Notebook 03: why mail fails SPF, DKIM or both, by identifier, selector and mechanism."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from . import charts
from .identifiers import summed
from .intervals import shares

OWN = ("own", "third_party")
MECHANISMS = ("both", "SPF alone", "DKIM alone", "neither")
_DKIM_WHY = ("aligned", "not signed", "signature failed", "signed by another domain", "the receiver says otherwise")
_SPF_WHY = ("aligned", "no SPF result", "SPF did not pass", "envelope of another domain", "the receiver says otherwise")
_SIGNS = (
    charts.Series("both", "Both", charts.BLUE),
    charts.Series("SPF alone", "SPF alone", charts.YELLOW, "/"),
    charts.Series("DKIM alone", "DKIM alone", charts.PINK, "."),
    charts.Series("neither", "Neither: DMARC fails", charts.ORANGE, "x"),
)


def explained(told: pd.DataFrame) -> pd.DataFrame:
    """`identifiers` with `mechanism` (of MECHANISMS), `dkim_why` and `spf_why`: why each is, or is not, aligned."""
    dkim, spf = told["dkim_aligned"], told["spf_aligned"]
    out = told.assign(mechanism="neither", dkim_why=_DKIM_WHY[4], spf_why=_SPF_WHY[4])
    for name, chosen in (("both", dkim & spf), ("SPF alone", spf & ~dkim), ("DKIM alone", dkim & ~spf)):
        out.loc[chosen, "mechanism"] = name
    signed, passed = out["signatures"] > 0, out["dkim_result"] == "pass"
    for word, chosen in zip(_DKIM_WHY, (dkim, ~dkim & ~signed, ~dkim & signed & ~passed,
                                        ~dkim & passed & ~out["dkim_relaxed"]), strict=False):  # fmt: skip
        out.loc[chosen, "dkim_why"] = word
    some, passed = out["spf_result"] != "", out["spf_result"] == "pass"
    for word, chosen in zip(_SPF_WHY, (spf, ~spf & ~some, ~spf & some & ~passed,
                                       ~spf & passed & ~out["spf_relaxed"]), strict=False):  # fmt: skip
        out.loc[chosen, "spf_why"] = word
    return out


def mechanisms(explained: pd.DataFrame) -> pd.DataFrame:
    """One row a domain, class and sender: messages, and how many passed by each of MECHANISMS; most first."""
    by = ["domain", "source_class", "sender"]
    out = explained.pivot_table(index=by, columns="mechanism", values="count", aggfunc="sum", fill_value=0)
    out = out.reindex(columns=list(MECHANISMS), fill_value=0)
    out.insert(0, "messages", out.sum(axis=1))
    return out.reset_index().rename_axis(columns=None).sort_values(
        ["messages", *by], ascending=[False, True, True, True], ignore_index=True
    )  # fmt: skip


def reasons(explained: pd.DataFrame, *, failing: bool = True) -> pd.DataFrame:
    """Messages by the reason of DKIM (rows) and of SPF (columns); by default of mail that fails DMARC."""
    chosen = explained[explained["mechanism"] == "neither"] if failing else explained
    out = chosen.pivot_table(index="dkim_why", columns="spf_why", values="count", aggfunc="sum", fill_value=0)
    return out.rename_axis(index="DKIM", columns="SPF")


def identities(explained: pd.DataFrame, source_class: tuple[str, ...] = OWN) -> pd.DataFrame:
    """The three identifiers side by side: From, DKIM d= and selector, SPF domain, with results and messages."""
    chosen = explained[explained["source_class"].isin(source_class)]
    return summed(chosen, ["header_from", "dkim_domain", "selector", "dkim_result", "dkim_why", "spf_domain",
                           "spf_result", "spf_why", "mechanism"])  # fmt: skip


def selectors(records: pd.DataFrame) -> pd.DataFrame:
    """One row a signing domain and selector, of every signature in `Library.records`: most messages first.

    Columns: dkim_domain, selector; messages; part (of these, passed); share, low, high, effect (see
    `intervals.by_cell`); worst (the result that is most frequent among the others, or empty).
    """
    each = records[["begin", "count", "dkim"]].explode("dkim").dropna(subset="dkim")
    if each.empty:
        return pd.DataFrame(columns=["dkim_domain", "selector", "messages", "part", "share", "low", "high", "effect",
                                     "worst"])  # fmt: skip
    flat = pd.DataFrame(
        {
            "day": each["begin"].dt.floor("D"),
            "dkim_domain": [(one["domain"] or "").lower() for one in each["dkim"]],
            "selector": [one["selector"] or "" for one in each["dkim"]],
            "result": [one["result"] or "" for one in each["dkim"]],
            "count": each["count"],
        }
    )
    flat["passed"] = flat["count"].where(flat["result"] == "pass", 0)
    out = shares(flat, ["dkim_domain", "selector"], "passed")
    bad = summed(flat[flat["result"] != "pass"], ["dkim_domain", "selector", "result"])
    worst = bad.drop_duplicates(["dkim_domain", "selector"]).set_index(["dkim_domain", "selector"])["result"]
    keys = pd.MultiIndex.from_frame(out[["dkim_domain", "selector"]])
    return out.assign(worst=worst.reindex(keys).fillna("").to_numpy())


def mechanism_picture(mechanisms: pd.DataFrame, most: int = 15) -> go.Figure:
    """The largest senders: what carried their mail, in percent."""
    top = mechanisms.head(most)
    percent = top.assign(**{name: 100 * top[name] / top["messages"] for name in MECHANISMS})
    names = charts.who(top)
    return charts.stacks(names, percent, _SIGNS, "What carried the mail of each sender", x="Share of its messages, %")


def reason_picture(reasons: pd.DataFrame) -> go.Figure:
    """Why mail failed DMARC: reasons of DKIM against reasons of SPF."""
    title = "Why mail failed DMARC: DKIM (left) against SPF (below), messages"
    figure = charts.heat(reasons, title, hover="%{z:,}", scale=[[0, "#f1f5f9"], [1, "#8fbfe0"]])
    figure.update_traces(texttemplate="%{z:,.0f}", textfont={"color": "#1b1f27", "size": 14}, showscale=False)
    return figure.update_layout(height=320)


def selector_picture(selectors: pd.DataFrame, most: int = 15) -> go.Figure:
    """Which selector passes how often."""
    top = selectors.head(most)
    names = [f"{row.selector} · {row.dkim_domain}" for row in top.itertuples()]
    return charts.points(names, top, "Signatures that verified, by selector (95 % interval)",
                         x="Share of signatures, %")  # fmt: skip
