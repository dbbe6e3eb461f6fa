"""What a message says, and that nobody can write into it what leads away or looks like something else."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview.alerts import bundle, text
from dmarcview.alerts.model import CLEARED, OPENED, WORSE, Finding, Incident, Member
from dmarcview.alerts.words import KINDS

BASE = "https://pages.example.org/mail/"
OURS = ("example.org",)
KNOWN = 1_793_862_720  # 5 Nov 2026 07:12 UTC
FINDING = Finding(
    "dmarc_failing", "example.org", "192.0.2.10", date(2026, 11, 2), date(2026, 11, 3), 120,
    "DKIM no longer passes for mail of mail.example.org.", 120, 400, 0.012,
    "3 Nov 2026 is 93 % in, bigmail.example late", "/sources", "?domain=example.org&since=2026-11-02",
    (Member("mail.example.org", 80, 200), Member("192.0.2.11", 40, 200)),
)  # fmt: skip
INCIDENT = Incident(7, FINDING, KNOWN, KNOWN, None)
NASTY = st.text(st.characters() | st.sampled_from("\r\n\u202e<>&\"'`@:/"), max_size=300)

HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff]")


class Page(HTMLParser):
    """The links, the tags and the text of a document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "background", "srcset")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_a_message_says_all_that_a_reader_needs() -> None:
    made = text.message(INCIDENT, OPENED, BASE, own=OURS)
    assert made.title == "Mail of example.org fails DMARC: 192.0.2.10"
    assert made.text.splitlines() == [
        "What: Mail of senders that you vouch for fails DMARC clearly more often than it used to.",
        "Found: DKIM no longer passes for mail of mail.example.org.",
        "Since: 2 Nov 2026 (UTC, when it happened), last on 3 Nov 2026",
        "Known since: 5 Nov 2026 07:12 UTC, 2 days after its last day",
        "Counts: 120 of 400 messages (30 %)",
        "Usual: 1.2 % fail",
        "Complete: 3 Nov 2026 is 93 % in, bigmail[.]example late",
        "Touches: mail.example.org (80 of 200); 192.0.2.11 (40 of 200)",
        f"Check first: {FINDING.check}",
        "Clears by: The share of failures back at its usual level on two complete days.",
        "Incident: https://pages.example.org/mail/alerts?incident=7",
        "Rows: https://pages.example.org/mail/sources?domain=example.org&since=2026-11-02",
    ]
    page = Page(made.html)
    assert page.links == [
        "https://pages.example.org/mail/alerts?incident=7",
        "https://pages.example.org/mail/sources?domain=example.org&since=2026-11-02",
    ]
    assert all(line.value.replace("`", "") in page.words for line in text.parts(INCIDENT, OPENED, BASE, own=OURS))


def test_what_got_worse_says_what_was_told_and_what_cleared_says_when() -> None:
    worse = text.message(INCIDENT, WORSE, BASE, 60, OURS)
    assert worse.title.startswith("Worse: Mail of example.org")
    assert "Counts: 120 of 400 messages (30 %); told last: 60\n" in worse.text
    over = text.message(replace(INCIDENT, ended=KNOWN + 86_400), CLEARED, BASE)
    assert over.title.startswith("Cleared: ")
    assert "Cleared: 6 Nov 2026 07:12 UTC\n" in over.text
    assert "Check first" not in over.text


def test_what_is_usual_by_now_is_not_called_cleared() -> None:
    over = text.message(replace(INCIDENT, ended=KNOWN + 86_400, outcome="usual"), CLEARED, BASE, own=OURS)
    assert over.title.startswith("Taken for usual by now: Mail of example.org")
    assert "Nothing says that it was mended." in over.text
    assert "Cleared" not in over.text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_makes_a_message_without_gaps(kind: str) -> None:
    found = Finding(kind, "", "cause.example", date(2026, 11, 2), date(2026, 11, 2), 3, "Found so.", usual=2.0)
    for event in (OPENED, WORSE, CLEARED):
        made = text.message(replace(INCIDENT, finding=found, ended=KNOWN), event, BASE, 2)
        assert "{" not in made.title + made.text
        assert "None" not in made.title + made.text
        assert "3 " + KINDS[kind].counts in made.text


@given(NASTY, NASTY, NASTY, NASTY)
def test_nothing_that_strangers_write_breaks_a_line_or_makes_a_link(a: str, b: str, c: str, d: str) -> None:
    found = replace(
        FINDING, domain=a, cause=b, text=c, completeness=d, query="?domain=" + a, members=(Member(d, 1, 2),) * 30
    )
    made = text.message(replace(INCIDENT, finding=found), OPENED, BASE)
    assert not HIDDEN.search(made.title)
    assert len(made.title) <= text.TITLE_CHARS
    assert len(made.text) < 6_000
    *lines, place, rows = made.text.splitlines()
    assert place == "Incident: https://pages.example.org/mail/alerts?incident=7"
    assert not any(HIDDEN.search(line) for line in lines)
    assert not any(re.search(r"://|www\.|[<>]|@everyone|@here", line) for line in lines)
    assert rows.startswith("Rows: https://pages.example.org/mail/sources")
    assert re.fullmatch(r"[!-~]+", rows.removeprefix("Rows: "))
    page = Page(made.html)
    assert page.links[0] == "https://pages.example.org/mail/alerts?incident=7"
    assert [one.startswith("https://pages.example.org/mail/sources") for one in page.links[1:]] == [True]
    assert page.tags <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "div",
        "h1",
        "table",
        "tr",
        "td",
        "a",
        "code",
    }


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("mail of evil.test", "mail of evil[.]test"),
        ("paypal.com.evil.test:8080/login.html", "paypal[.]com[.]evil[.]test:8080/login[.]html"),
        ("you@evil.test, EVIL.COM.", "you@evil[.]test, EVIL[.]COM."),
        ("exämple。中国 ☃．net evil.xn--p1ai", "exämple[.]中国 ☃[.]net evil[.]xn--p1ai"),
        ("evil.com|.example.org evil.com/.example.org", "evil[.]com|[.]example[.]org evil[.]com/.example[.]org"),
        ("notexample.org example.org.evil.test", "notexample[.]org example[.]org[.]evil[.]test"),
        ("Mail.Example.ORG. s1._domainkey.example.org, a@example.org", None),
        ("192.0.2.10 2001:db8::1 1.2 % v1.2.3 5 Nov 2026 07:12 UTC. It.", None),
    ],
)
def test_a_foreign_name_becomes_no_link_and_our_own_stay_readable(said: str, written: str | None) -> None:
    assert text.shown(said, 600, ["example.org"]) == (said if written is None else written)
    assert text.shown(said, 600) == said.replace("<", ""), "programs get the names as they are"


def test_no_part_of_a_message_holds_a_foreign_name_that_becomes_a_link() -> None:
    evil = "shop.evil.test"
    found = replace(
        FINDING, domain=evil, cause=evil, text=f"By {evil}.", completeness=f"{evil} late", members=(Member(evil, 1, 2),)
    )
    incident = replace(INCIDENT, finding=found)
    one = text.message(incident, OPENED, BASE, own=OURS)
    many = bundle.message([bundle.Told(OPENED, incident)] * 2, BASE, OURS)
    for made in (one, many):
        shown = Page(made.html).words + made.title + made.text
        assert not re.search(r"\.(evil|test)\b", shown.replace("[.]", ""))
        assert "shop[.]evil[.]test" in shown
    assert "Mail of example.org" in text.message(INCIDENT, OPENED, BASE, own=OURS).title


def test_a_stranger_cannot_lead_away_or_wake_a_whole_chat() -> None:
    said = text.shown("see HTTPS://evil.test or WWW.evil.test <!channel> @everyone\r\nBcc: you@example.org \u202egnp")
    calm = (
        "see HTTPS[:]//evil.test or www[.]evil.test \u2039!channel\u203a (at)everyone Bcc: you@example.org \\u202egnp"
    )
    assert said == calm
