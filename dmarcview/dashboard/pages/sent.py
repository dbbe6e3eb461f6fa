"""What the relay sent: totals, outcomes by day, a grid of tries, and the whole reply of the other side in a drawer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import dash_mantine_components as dmc
import pandas as pd
from dash import dcc, html

from dmarcview.dashboard import figures, parts, text, theme, url
from dmarcview.dashboard.grid import grid
from dmarcview.query.sent import totals

MOST_ROWS = 2_000
MOST_CARDS = 60
ALL = "*"  # Mantine's Select has no empty value
REPLY = 4_000  # characters of a reply in the drawer; the log keeps 8 KiB
# (word, tone of its chip)
CHIPS = {
    "delivered": ("✓ Delivered", "good"),
    "deferred": ("… Put off", "watch"),
    "failed": ("✕ Refused", "bad"),
    "expired": ("✕ Given up", "bad"),
}
TRUST = {
    "": "not encrypted",
    "none": "not encrypted",
    "encrypted": "encrypted, the certificate was not checked",
    "verified": "encrypted, the certificate fits the host",
    "mta-sts": "encrypted, verified by the domain's MTA-STS policy",
    "dane": "encrypted, verified by DANE",
}
COLUMNS: list[dict[str, Any]] = [
    {
        "field": "to",
        "headerName": "Recipient",
        "cellRenderer": "InnerLink",
        "flex": 2,
        "minWidth": 220,
        "tooltipField": "to",
    },
    {"field": "outcome", "headerName": "Outcome", "cellRenderer": "StateChip", "width": 130},
    {"field": "reply", "headerName": "What the other side said", "flex": 3, "minWidth": 220, "tooltipField": "reply"},
    {"field": "sender", "headerName": "Sender", "flex": 1, "minWidth": 150, "tooltipField": "sender"},
    {"field": "tries", "headerName": "Try", "type": "rightAligned", "width": 68},
    {"field": "at", "headerName": "Time", "width": 176, "sort": "desc"},
]


def layout(view: url.View) -> list[Any]:
    """The skeleton, its own filters as the address says."""
    return [
        parts.heading("Sent", html.Span(id="sent-window", className="muted"), parts.csv_link("sent")),
        html.P(id="sent-words", className="lead"),
        html.Div(id="sent-narrowed"),
        html.Div(id="sent-empty"),
        html.Div(
            [
                html.Div(id="sent-tiles", className="tiles"),
                parts.card(
                    "By day",
                    [
                        html.Div(id="sent-legend"),
                        parts.graph("sent-chart", "Tries by day and outcome", figures.RATE_HEIGHT),
                        parts.twin("sent-chart"),
                    ],
                    note="A mail that is put off is tried again and then counts once more. Today is not over: hatched.",
                ),
                _filters(view),
                html.Div(id="sent-none"),
                *grid("sent", COLUMNS),
            ],
            id="sent-all",
            className="sent-all",
        ),
        dmc.Drawer(
            html.Div(id="sent-body"),
            id="sent-drawer",
            title=html.Span("Mail", id="sent-title"),
            position="right",
            size="lg",
            opened=False,
            keepMounted=True,
            closeButtonProps={"aria-label": "Close"},
            padding="lg",
        ),
    ]


def _filters(view: url.View) -> html.Div:
    outcome, rcpt, find = controls(view)
    words = [{"value": ALL, "label": "All outcomes"}, *({"value": k, "label": v[0][2:]} for k, v in CHIPS.items())]
    return html.Div(
        [
            dmc.Select(id="sent-outcome", label="Outcome", data=words, value=outcome, w=160, size="sm",
                       allowDeselect=False, comboboxProps={"shadow": "md"}),
            dmc.TextInput(id="sent-rcpt", label="Recipient domains", value=rcpt, w=200, size="sm", debounce=700,
                          placeholder="example.net"),
            dmc.TextInput(id="sent-find", label="Find one mail", value=find, w=340, size="sm", debounce=700,
                          placeholder="Queue id, Message-ID, sender or recipient"),
        ],
        className="sent-filters",
        role="search",
        **parts.attributes({"aria-label": "Filters of the list"}),
    )  # fmt: skip


def controls(view: url.View) -> tuple[str, str, str]:
    """Values of the page's own filters: outcome, recipient domain, search."""
    return view.outcome or ALL, ", ".join(view.rcpt), view.find or ""


def narrowed(view: url.View, prefix: str) -> list[tuple[str, str]]:
    """What only the address of the page says, as `parts.narrowed` takes it."""
    told: dict[str, str] = {}
    if view.ip:
        told["ip"] = f"Sent from {text.show(view.ip, 45)}"
    if view.key:
        told["key"] = f"Signed by {text.show(', '.join(one for one in view.key if one), 100) or 'nobody'}"
    if view.host:
        told["host"] = f"Host under {text.show(', '.join(view.host), 200)}"
    return [(words, url.href(prefix, "/sent", url.cleared_of(view, name))) for name, words in told.items()]


def words(daily: pd.DataFrame) -> str:
    """One line on how it went."""
    sums = totals(daily)
    if not sums["ended"]:
        return f"Nothing has ended in this view; {text.number(sums['deferred'])} tries were put off."
    lost = sums["failed"] + sums["expired"]
    bad = f" {text.number(lost)} did not get there: the sender was told." if lost else ""
    share = text.share(sums["delivered"], sums["ended"])
    return f"{share} of {text.number(sums['ended'])} recipients that are done with were reached.{bad}"


def tiles(daily: pd.DataFrame) -> list[html.Div]:
    """The sums by outcome."""
    sums = totals(daily)
    ended = f"of {text.number(sums['ended'])} that are done with"
    shown = (
        ("delivered", "Delivered", f"{text.share(sums['delivered'], sums['ended'])} {ended}"),
        ("failed", "Refused for good", "the other side said no; the sender was told"),
        ("expired", "Given up", "not taken in time; the sender was told"),
        ("deferred", "Put off", "tries that come again by themselves"),
    )
    return [
        parts.tile(f"sent-{key}", label, text.number(sums[key]), plain=sums[key], whole=note)
        for key, label, note in shown
    ]


def legend(daily: pd.DataFrame) -> Any:
    """Names of the bars that are drawn."""
    shown = [one for one in theme.SENT if daily[one.key].any()]
    return parts.legend([(one.name, f"sent-{one.key}", one.means) for one in shown])


def table(daily: pd.DataFrame) -> Any:
    """The twin of the chart, newest day first; days without mail are left out."""
    keys = [one.key for one in theme.SENT]
    some = daily[daily[keys].sum(axis=1) > 0].iloc[::-1]
    if some.empty:
        return html.P("Nothing was sent in this period.", className="muted")
    rows = [
        [parts.day_cell(one, "not over"), *(text.number(one[key]) for key in keys)] for one in some.to_dict("records")
    ]
    return parts.table(["Day", *(one.name for one in theme.SENT)], rows, caption="Tries by day and outcome", numeric=1)


def rows(frame: pd.DataFrame, link: Callable[[str], str]) -> list[dict[str, Any]]:
    """Grid rows from `query.sent`; what strangers wrote is made safe to show."""
    out = []
    for row in frame.head(MOST_ROWS).to_dict("records"):
        word, tone = chip(row)
        out.append(
            {
                "id": link(str(row["row"])),  # the grid draws a known row with its old link, so each view has its own
                "href": link(str(row["row"])),
                "to": recipient(row),
                "below": text.show(row["host"], 60),
                "outcome": word,
                "tone": tone,
                "reply": text.show(reply(row).replace("\n", " "), 200),
                "sender": text.show(row["sender"], 80) or "<>",
                "tries": int(row["tries"]),
                "at": f"{row['at']:%Y-%m-%d %H:%M:%S}",
            }
        )
    return out


def cards(frame: pd.DataFrame, link: Callable[[str], str]) -> list[html.Li]:
    """The same as cards, for phones."""
    out = []
    for row in frame.head(MOST_CARDS).to_dict("records"):
        out.append(
            html.Li(
                [
                    html.Div(
                        [
                            dcc.Link(recipient(row), href=link(str(row["row"])), className="item-title"),
                            parts.chip(*chip(row)),
                        ],
                        className="card-line",
                    ),
                    html.P(f"{row['at']:%d %b %H:%M} · {text.show(row['sender'], 80) or '<>'}", className="muted"),
                    html.P(text.show(reply(row).replace("\n", " "), 160), className="breaks small"),
                ]
            )
        )
    if len(frame) > MOST_CARDS:
        out.append(html.Li("More: narrow the filters or take the CSV.", className="muted"))
    return out


def detail(row: dict[str, Any]) -> list[Any]:
    """All that is known of one try, the whole reply first."""
    word, tone = chip(row)
    tls = " ".join(part for part in (text.show(row["tls_version"], 20), text.show(row["tls_cipher"], 60)) if part)
    who = "The other side said" if row["said"] else "It never came to a reply; we say"
    signed = [" selector ".join(one.split("/", 1)) for one in str(row["dkim"]).split()[:8]]
    return [
        html.Div([parts.chip(word, tone), html.Span(f"try {row['tries']}", className="muted")], className="drawer-top"),
        html.H3(who),
        html.Pre(text.document(reply(row))[:REPLY], id="sent-reply", className="reply"),
        parts.pairs([("When it was said", f"at {text.show(row['stage'], 20).upper()}")]),
        html.H3("The mail"),
        parts.pairs(
            [
                ("Recipient", parts.code(row["recipient"])),
                ("Sender", parts.code(row["sender"] or "<>")),
                ("From", parts.code(row["from_domain"])),
                ("Signed by", [html.Div(parts.code(one, 200)) for one in signed] or "nobody"),
                ("Message-ID", parts.code(row["message_id"]) if row["message_id"] else ""),
                ("Queue id", parts.code(row["queue_id"])),
                ("Kind", {"mail": "", "bounce": "bounce, by us", "warning": "warning of a delay, by us"}
                 .get(str(row["kind"]), text.show(row["kind"], 20))),
                ("Handed in by", " from ".join(part for part in (text.show(row["user"], 60),
                                                                 text.show(row["client"], 50)) if part)),
                ("Size", f"{text.number(row['size'])} bytes"),
            ]
        ),
        html.H3("The way"),
        parts.pairs(
            [
                ("Time", f"{row['at']:%d %b %Y %H:%M:%S} UTC"),
                ("Host", parts.code(row["host"]) if row["host"] else "none was reached"),
                ("Its address", parts.code(row["address"]) if row["address"] else ""),
                ("Our address", parts.code(row["source"]) if row["source"] else ""),
                ("TLS", TRUST.get(str(row["tls_trust"]), text.show(row["tls_trust"], 30)) if row["host"] else ""),
                ("", tls),
            ]
        ),
    ]  # fmt: skip


def gone() -> list[Any]:
    """The drawer of a row that is not kept any more."""
    return [html.P("This row is not in the log any more: [data] sent_days says how long it is kept.")]


def nothing_sent(domains: tuple[str, ...]) -> html.Div:
    """Nothing was ever sent: what to do."""
    name = text.show(domains[0] if domains else "example.org", 80)
    return parts.empty(
        "Nothing was sent yet",
        html.P("The relay sends mail for your programs, signed, and Sent shows what became of each. Say who may:"),
        html.Pre(f'[relay]\nsenders = ["@{name}"]\nrecipients = ["*"]', id="sent-settings"),
        html.P("Make the key, publish what the second command prints, and start:"),
        html.Pre(f"dmarcview key new {name}\ndmarcview dns show {name}\ndmarcview serve"),
        html.P("Programs of this machine then hand their mail to 127.0.0.1, port 2526."),
    )


def nothing_here(clear: str) -> html.Div:
    """Mail was sent, but none for these filters."""
    return parts.empty(
        "No mail matches these filters",
        html.P("A search finds whole queue ids, Message-IDs and addresses, within the chosen days."),
        parts.clear_filters(clear),
    )


def recipient(row: dict[Any, Any]) -> str:
    """The recipient; one whose name is a hash is shortened, for nobody reads hashes."""
    local, at, domain = str(row["recipient"]).rpartition("@")
    hashed = len(local) == 24 and all(char in "0123456789abcdef" for char in local)
    return text.show(f"{local[:6]}…{at}{domain}" if hashed else row["recipient"], 90)


def reply(row: dict[Any, Any]) -> str:
    """The last word with its codes: `550 5.1.1 No such user`."""
    return " ".join(part for part in (str(row["code"] or ""), str(row["enhanced"]), str(row["reply"])) if part)


def chip(row: dict[Any, Any]) -> tuple[str, str]:
    """(word, tone) of an outcome."""
    return CHIPS.get(str(row["outcome"]), (text.show(row["outcome"], 20), "plain"))


def window(first: date, last: date) -> str:
    """The days that are shown."""
    return f"{first.day} {first:%b %Y} – {last.day} {last:%b %Y}, UTC"
