"""Notebook 10: many domains side by side: a league table that does not rank noise, and the outliers that are real."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from . import charts

OUTLIER = 3.0  # standard deviations from what its size explains
MANY = 8  # domains from which on a fleet tells something of its kind
ROUNDS = 50  # of the search for the prior; it stands still long before
MADE_UP_DOMAINS = 80


class Prior(NamedTuple):
    """What the fleet is like: the failing share of a typical domain, and how many messages that knowledge is worth."""

    share: float
    weight: float


def own(domains: pd.DataFrame) -> pd.DataFrame:
    """`query.domains` as the league needs it: domain, messages (own mail), failed (of it); domains with own mail."""
    mail = domains["own_pass"] + domains["own_fail"]
    out = pd.DataFrame({"domain": domains["domain"], "messages": mail, "failed": domains["own_fail"]})
    return out[out["messages"] > 0].reset_index(drop=True)


def prior(fleet: pd.DataFrame) -> Prior:
    """The beta prior of the fleet by moments (empirical Bayes): `messages` and `failed` a domain.

    Weighted by n / (n + weight) and repeated until it stands still (Kleinman 1973). Of MANY domains or more, outliers
    are left out: what is true of most is asked. A fleet whose domains differ no more than chance gets a heavy prior;
    fewer than 2 domains get the weight 0: no domain says anything of another.
    """
    if len(fleet) >= MANY:
        found = outliers(fleet)
        fleet = found[~found["outlier"]]
    n, f = fleet["messages"].to_numpy(float), fleet["failed"].to_numpy(float)
    if len(n) < 2:
        return Prior(float(f.sum() / n.sum()) if n.sum() else 0.0, 0.0)
    rates, weight = f / n, 100.0
    for _ in range(ROUNDS):
        w = n / (n + weight)
        share = float((w * rates).sum() / w.sum())
        room = share * (1 - share)
        if room <= 0:
            return Prior(share, 1e6)
        spread = (w * (rates - share) ** 2).sum()
        noise = (w * (1 - w / w.sum()) / n).sum() * room
        most = (w * (1 - w / w.sum()) * (1 - 1 / n)).sum() * room
        rho = min(max((spread - noise) / most if most > 0 else 0.0, 1e-6), 0.999)
        weight = (1 - rho) / rho
    return Prior(share, float(weight))


def league(fleet: pd.DataFrame) -> pd.DataFrame:
    """The domains, worst first, by the failing share that is believed of each.

    Columns: domain, messages, failed, raw (failed / messages), share (drawn towards the fleet), low, high (95 % of
    what is believed, normal on the log odds), place, moved (places up or down against the raw order). Of MANY domains
    or more, outliers are not drawn: of what is unlike the fleet, the fleet tells nothing.
    """
    known = prior(fleet)
    weight = np.full(len(fleet), known.weight)
    if len(fleet) >= MANY:
        found = outliers(fleet).set_index("domain")["outlier"]
        weight[found.reindex(fleet["domain"]).to_numpy(bool)] = 0.0
    least = np.where(weight == 0, 0.5, 1e-6)  # Jeffreys' prior where the fleet tells nothing
    a = known.share * weight + fleet["failed"] + least
    b = (1 - known.share) * weight + fleet["messages"] - fleet["failed"] + least
    share = a / (a + b)
    odds, half = np.log(a / b), 1.96 * np.sqrt(1 / a + 1 / b)
    out = fleet.assign(
        raw=fleet["failed"] / fleet["messages"], share=share, low=_share(odds - half), high=_share(odds + half)
    )
    before = out["raw"].rank(ascending=False, method="first")
    out = out.assign(before=before).sort_values(["share", "domain"], ascending=[False, True], ignore_index=True)
    out["place"] = range(1, len(out) + 1)
    return out.assign(moved=(out["before"] - out["place"]).astype(int)).drop(columns="before")


def outliers(fleet: pd.DataFrame) -> pd.DataFrame:
    """Each domain with `raw`, `z` (its distance from the middle of the fleet) and `outlier`; farthest first.

    z counts standard deviations of arcsine roots, which are alike for all shares: of chance at its size, and of the
    spread that the middle of the fleet shows beyond chance (as in funnel plots: Spiegelhalter 2005). Middle and spread
    are medians, so that one bad domain hides no other. `outlier` is beyond OUTLIER.
    """
    middle, excess = _middle(fleet)
    n = fleet["messages"].to_numpy(float)
    z = (_angle(fleet) - middle) / np.sqrt(1 / (4 * n) + excess)
    out = fleet.assign(raw=fleet["failed"] / n, z=z, outlier=np.abs(z) > OUTLIER)
    return out.reindex(out["z"].abs().sort_values(ascending=False, kind="stable").index).reset_index(drop=True)


def made_up(domains: int = MADE_UP_DOMAINS, seed: int = 7489) -> pd.DataFrame:
    """A made-up fleet for stores with few domains: sizes over four decades, most domains alike, five that are not."""
    rng = np.random.default_rng(seed)
    messages = np.maximum(5, np.exp(rng.normal(6.2, 2.1, domains))).astype(int)
    shares = rng.beta(2.0, 120.0, domains)
    worse = rng.choice(np.flatnonzero(messages > 150), 5, replace=False)
    shares[worse] = rng.uniform(0.18, 0.6, 5)
    names = [f"shop-{place:02}.example" for place in range(domains)]
    return pd.DataFrame({"domain": names, "messages": messages, "failed": rng.binomial(messages, shares)})


def league_picture(league: pd.DataFrame, most: int = 20) -> go.Figure:
    """The worst of the fleet: what is believed, with the raw share beside it."""
    top = league.head(most)
    figure = charts.points(top["domain"], top, "Own mail that fails, worst first: dot and bar are what is believed, "
                           "the cross is the raw share", x="Failing share, %", zero=True)  # fmt: skip
    return figure.add_scatter(
        x=100 * top["raw"], y=charts.unique(top["domain"]), mode="markers", showlegend=False,
        marker={"symbol": "x-thin", "size": 8, "line": {"width": 2, "color": charts.ORANGE}},
        hovertemplate="%{y}: %{x:.1f}% counted<extra></extra>",
    )  # fmt: skip


def funnel(fleet: pd.DataFrame) -> go.Figure:
    """Share against size, with the limits that size and the usual spread explain; outliers are named."""
    found, (middle, excess) = outliers(fleet), _middle(fleet)
    figure = charts.blank("Failing share against size: what lies outside the curves is more than chance",
                          x="Own messages", y="Failing share, %")  # fmt: skip
    for chosen, name, colour, symbol in ((~found["outlier"], "As its size explains", charts.BLUE, "circle"),
                                         (found["outlier"], "Outlier", charts.ORANGE, "diamond")):  # fmt: skip
        part = found[chosen]
        figure.add_scatter(
            x=part["messages"], y=100 * part["raw"], name=name, text=charts.unique(part["domain"]),
            mode="markers+text" if symbol == "diamond" else "markers", textposition="top center", cliponaxis=False,
            marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.85},
            hovertemplate="%{text}: %{y:.1f}% of %{x:,}<extra></extra>",
        )  # fmt: skip
    sizes = np.geomspace(max(fleet["messages"].min(), 1), max(fleet["messages"].max(), 2), 60)
    room = OUTLIER * np.sqrt(1 / (4 * sizes) + excess)
    for sign in (-1, 1):
        limit = np.sin(np.clip(middle + sign * room, 0, math.pi / 2)) ** 2
        figure.add_scatter(x=sizes, y=100 * limit, mode="lines", line={"color": charts.GREY, "dash": "dot", "width": 1},
                           showlegend=False, hoverinfo="skip")  # fmt: skip
    figure.update_xaxes(type="log", showgrid=True)
    figure.update_yaxes(ticksuffix="%")
    return figure


def _angle(fleet: pd.DataFrame) -> Any:
    return np.arcsin(np.sqrt(fleet["failed"].to_numpy(float) / fleet["messages"].to_numpy(float)))


def _middle(fleet: pd.DataFrame) -> tuple[float, float]:
    """The median angle, and the variance around it beyond what chance explains."""
    if fleet.empty:
        return 0.0, 0.0
    angles = _angle(fleet)
    middle = float(np.median(angles))
    spread = float(np.median(np.abs(angles - middle)) * 1.4826) ** 2  # of a normal curve, from its median deviation
    return middle, max(0.0, spread - float(np.median(1 / (4 * fleet["messages"].to_numpy(float)))))


def _share(odds: Any) -> Any:
    return 1 / (1 + np.exp(-odds))
