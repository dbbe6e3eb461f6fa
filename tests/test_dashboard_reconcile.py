"""The page Reconcile: the numbers of command, frame and page are the same, its links find the rows, and a visit."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import plotly
import pytest
from dashboard_data import HOSTILE_NAME, TODAY
from reconcile_data import BROKEN, LAST, NEWCOMER, NOW, RECEIVERS, RELAY, fill, traffic
from test_dashboard_browser import DARK, PHONE, Site, Visit, chromium, grave, pick, until
from test_dashboard_guard import Site as Asked
from test_dashboard_guard import fault

from dmarcview import query
from dmarcview.cli import main
from dmarcview.config import read as read_config
from dmarcview.dashboard import figures, theme, url
from dmarcview.dashboard.app import END, create_app
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.pages import findings, receivers
from dmarcview.dashboard.pages import reconcile as page_of
from dmarcview.dashboard.pages import reports as reports_page
from dmarcview.dashboard.pages import sent as sent_page
from dmarcview.dashboard.papers import Papers
from dmarcview.dashboard.plain import plain
from dmarcview.dashboard.reconcile import Compared, ReconcileFrames
from dmarcview.dashboard.sent import SentFrames
from dmarcview.library import Library
from dmarcview.reconcile import CODES
from dmarcview.reconcile.sums import Totals
from dmarcview.reconcile.words import UNSENT_CODES
from dmarcview.store import sent
from tests.reconcile_world import mails, seen, told
from tests.store_data import D0, DAY

__all__ = ["chromium"]  # the fixture
KEY = ("source_ip", "header_from", "dkim_domain", "dkim_selector", "receiver")
PATIENT = 60.0  # seconds: here nobody looks on


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with fill(tmp_path_factory.mktemp("reconcile"), evil=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def frames(store: Library) -> Iterator[ReconcileFrames]:
    found = ReconcileFrames(Frames(store), RECEIVERS)
    found.slowly.patience = PATIENT
    yield found
    found.slowly.close()


@pytest.fixture(scope="module")
def found(frames: ReconcileFrames) -> Compared:
    return asked(frames)


def asked(frames: ReconcileFrames, view: url.View = url.View()) -> Compared:  # noqa: B008 - frozen
    told = frames.compared(view)
    assert told.fresh
    assert told.answer is not None
    return told.answer


def drawn(component: Any) -> str:
    return json.dumps(component, cls=plotly.utils.PlotlyJSONEncoder)


def no_ways(_: dict[str, Any]) -> findings.Ways:
    return findings.Ways("/sent", "/sources", "/reports")


def everything(found: Compared) -> str:
    return drawn(
        [
            plain(piece)
            for piece in (
                page_of.sentence(found), page_of.tiles(found), findings.listed(found.findings, no_ways),
                receivers.listed(found.receivers, found.findings, RECEIVERS),
                page_of.open_days(found.open_days, found.totals), page_of.selectors(found.selectors),
                page_of.table(found.daily), page_of.legend(found.daily),
            )
        ]
    )  # fmt: skip


# the same numbers


def test_page_command_and_frame_carry_the_same_numbers(tmp_path: Path, capsys: Any) -> None:
    """All three by the clock of this machine, as the command has it."""
    data, file = tmp_path / "data", tmp_path / "dmarcview.toml"
    fill(data, evil=True).close()
    said = "".join(f'"{name}" = "{who}"\n' for name, who in RECEIVERS.items())
    file.write_text(f'[data]\ndir = "{data}"\n[reconcile.receivers]\n{said}')
    first, last = TODAY - timedelta(days=29), TODAY
    command = ["reconcile", "--config", str(file), "--json", "--since", str(first), "--until", str(last + timedelta(1))]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    with Library.open(data) as store:
        frames = ReconcileFrames(Frames(store), RECEIVERS)
        frames.slowly.patience = PATIENT
        view = url.View(since=first, until=last)
        shown = asked(frames, view)
        rows = store.reconcile(since=first, until=last + timedelta(days=1), receivers=RECEIVERS)
        exported = frames.rows(view)
        frames.slowly.close()
    total = told["totals"]
    assert {name: getattr(shown.totals, name) for name in total} == total
    page = {tile.id: tile.to_plotly_json()["props"]["data-value"] for tile in page_of.tiles(shown)}
    assert page == {
        "reconcile-sent": str(total["sent"]), "reconcile-reported": str(total["reported"]),
        "reconcile-coverage": f"{100 * total['coverage']:.12g}", "reconcile-broken": str(total["dkim_fail"]),
        "reconcile-unsent": str(total["unsent"]),
    }  # fmt: skip
    for name in ("sent", "reported", "dkim_fail"):
        assert total[name] == int(rows[name].sum()) == int(exported[name].sum()) == sum(r[name] for r in told["rows"])
    assert total["sent"] == int(shown.daily["sent"].sum()) == int(shown.selectors["sent"].sum())
    assert total["reported"] == int(shown.daily["reported"].sum())
    assert total["unsent"] == int(shown.daily["unsent"].sum())
    assert total["signed"] == int(shown.selectors["reported"].sum())
    assert len(exported) == len(rows) == len(told["rows"]) > 100
    for name in ("receiver", "sent", "reported", "counted", "matched", "domains"):
        assert shown.receivers[name].tolist() == [one[name] for one in told["receivers"]]
    for name in ("code", "source_ip", "messages", "total", "receiver"):
        assert shown.findings[name].tolist() == [one[name] for one in told["findings"]]
    assert [str(one.day) for one in shown.open_days] == [one["day"] for one in told["open_days"]]


def test_the_chart_draws_what_the_tiles_say(found: Compared) -> None:
    figure = figures.compared(found.daily, "dark")
    plotly.graph_objects.Figure(figure)  # Plotly's own check of every attribute
    drawn = {trace["name"]: sum(trace["y"]) for trace in figure["data"]}
    now = found.totals
    names = [one.name for one in theme.COMPARED]
    assert [drawn[name] for name in names] == [
        now.sent - now.silent, now.silent, now.reported - now.unsent, now.unsent,
    ]  # fmt: skip
    hatched = next(trace["x"] for trace in figure["data"] if trace["name"] == "Not complete")
    assert hatched == [f"{TODAY - timedelta(days=back)}" for back in (2, 1, 0)]
    assert "(not complete)" in drawn_table(found)
    assert len(found.daily) == 30


def drawn_table(found: Compared) -> str:
    return drawn(page_of.table(found.daily))


def test_days_that_are_open_are_named_with_who_is_late(found: Compared) -> None:
    words = [page_of.day_words(one) for one in found.open_days]
    yesterday = TODAY - timedelta(days=1)
    assert len(words) == 3
    assert words[-2].startswith(f"{yesterday.day} Nov is ")
    assert words[-2].endswith(" % in; usual reporters 4 of 5, office-post.example awaited.")


def test_the_lively_weeks_have_every_kind_of_finding_but_two(found: Compared) -> None:
    assert set(found.findings["code"]) == set(CODES) - {"more_reported", "elsewhere"}
    broken = found.findings[found.findings["code"] == "dkim_broken"]
    days = {date(1970, 1, 1) + timedelta(days=D0 // DAY + day) for day in BROKEN}
    assert {broken["first_day"].min().date(), broken["last_day"].max().date()} == {min(days), max(days)}
    text = everything(found)
    for code in set(CODES) - {"more_reported", "elsewhere"}:
        assert f"finding-{code}" in text
        assert CODES[code].meaning in text
    assert "dmarcview dns check example.org" in text


# links


def test_each_line_leads_to_its_rows_on_both_sides(frames: ReconcileFrames, found: Compared) -> None:
    receiving, reports = findings.receiving(found.receivers), Frames(frames.store)
    sent_rows, papers, rows = SentFrames(reports), Papers(reports), frames.rows(url.View())
    checked = dict.fromkeys(("sent", "reports"), 0)
    for row in found.findings.to_dict("records"):
        if row["header_from"] == HOSTILE_NAME:
            continue
        to = findings.ways("/", row, receiving)
        assert (to.sent == "") == (row["code"] in UNSENT_CODES), row
        if to.sent and receiving[row["receiver"]]["sent"]:
            view = url.parse(urlsplit(to.sent).query)
            assert (view.since, view.until) == (row["first_day"].date(), row["last_day"].date())
            left = sent_rows.rows(view, limit=None)
            mine = rows[rows["day"].between(row["first_day"], row["last_day"])]
            for name in KEY:
                mine = mine[mine[name] == row[name]]
            assert len(left) == mine["sent"].sum() > 0, row
            assert set(left["source"]) == {row["source_ip"]}
            assert set(left["recipient_domain"]) == set(receiving[row["receiver"]]["domains"])
            checked["sent"] += 1
        source = url.parse(urlsplit(to.source).query)
        assert source.source == ("example.org", row["source_ip"])
        seen = reports.source(source, *source.source)
        assert seen.row is not None, row
        assert seen.row["messages"] >= row["messages"]
        told = papers.reports(url.parse(urlsplit(to.reports).query))
        assert set(told["submitter"]) == {row["receiver"]}
        records = pd.concat([query.report_records(frames.store, key) for key in told["report_key"]])
        right = records[(records["source_ip"] == row["source_ip"]) & (records["header_from"] == row["header_from"])]
        told_of = row["total"] - row["messages"] if row["code"] == "unreported" else row["messages"]
        assert right["count"].sum() >= told_of
        checked["reports"] += 1
    assert checked["reports"] > 30
    assert checked["sent"] > 10


def test_a_line_without_any_report_links_to_what_was_sent_alone() -> None:
    to = findings.ways("/mail/", line(domain=""), taken(["far.test", "b.test"], ["far.test"]))
    sent_there = "domain=example.org&from=2026-11-03&to=2026-11-03&ip=192.0.2.25&outcome=delivered"
    assert to == findings.Ways(f"/mail/sent?{sent_there}&rcpt=far.test,b.test&key=example.org/s1", "", "")


def line(**fields: Any) -> dict[str, Any]:
    day = pd.Timestamp("2026-11-03")
    return {"code": "unreported", "first_day": day, "last_day": day, "receiver": "far.test", "domain": "example.org",
            "header_from": "example.org", "source_ip": RELAY, "dkim_domain": "example.org", "dkim_selector": "s1",
            "matched_by": "address"} | fields  # fmt: skip


def taken(domains: list[str], hosts: list[str]) -> dict[str, dict[str, Any]]:
    return {"far.test": {"domains": domains, "hosts": hosts}}


def test_a_receiver_of_many_domains_is_found_by_its_hosts() -> None:
    many = taken([f"customer-of-some-size-{n}.example" for n in range(12)], ["yahooinc.com"])
    view = url.parse(urlsplit(findings.ways("/", line(), many).sent).query)
    assert (view.rcpt, view.host) == ((), ("yahooinc.com", "yahoodns.net", "yahoo.com", "aol.com"))
    named = taken([f"d{n}.example" for n in range(20)], ["far.test"])
    assert url.parse(urlsplit(findings.ways("/", line(), named).sent).query).host == ("far.test",)


def test_mail_from_behind_nat_is_not_looked_for_by_the_outer_address() -> None:
    to = findings.ways("/", line(matched_by="signature"), taken(["far.test"], []))
    assert "ip=" not in to.sent
    assert f"ip={RELAY}&by=far.test" in to.reports


def test_what_a_link_narrows_stands_on_the_page_and_can_be_taken_away() -> None:
    view = url.parse("domain=example.org&ip=192.0.2.25&by=far.test&key=/&host=a.test,b.test&rcpt=c.test,d.test")
    told = dict(reports_page.narrowed(view, "/"))
    assert told == {
        "Reporter: far.test": "/reports?domain=example.org&ip=192.0.2.25",
        "Tells of 192.0.2.25": "/reports?domain=example.org&by=far.test",
    }
    named = dict(sent_page.narrowed(view, "/"))
    assert list(named) == ["Sent from 192.0.2.25", "Signed by nobody", "Host under a.test, b.test"]
    assert named["Signed by nobody"] == ("/sent?domain=example.org&ip=192.0.2.25&rcpt=c.test,d.test&host=a.test,b.test")
    assert sent_page.controls(view)[1] == "c.test, d.test"
    assert (sent_page.narrowed(url.View(), "/"), reports_page.narrowed(url.View(), "/")) == ([], [])


def test_a_new_sender_stands_first_in_its_kind_and_is_told_to_be_new(found: Compared) -> None:
    forged = found.findings[found.findings["code"] == "forged"]
    new = forged[forged["new_since"].notna()]
    assert set(new["sender"]) == {"Quick Survey"}
    assert set(new["source_ip"]) == {NEWCOMER}
    assert forged["new_since"].notna().tolist() == sorted(forged["new_since"].notna(), reverse=True)
    assert set(found.findings.loc[found.findings["source_ip"] != NEWCOMER, "new_since"].isna()) == {True}
    text = drawn(plain(findings.listed(found.findings, no_ways)))
    _, _, after = text.partition("finding-forged")
    assert " Quick Survey since " in after
    assert "Quick Survey is a new sender" in after


# filters and words


def test_filters_narrow_the_comparison_and_results_are_not_asked(frames: ReconcileFrames, found: Compared) -> None:
    assert asked(frames, url.View(result="fail")) is found
    assert "does not apply" in page_of.words("fail")
    forwarded = asked(frames, url.View(source_class="forwarder"))
    assert set(forwarded.findings["code"]) == {"forwarded"}
    assert forwarded.totals.sent == 0
    one_day = asked(frames, url.View(since=TODAY - timedelta(days=9), until=TODAY - timedelta(days=9)))
    assert len(one_day.daily) == 1
    assert 0 < one_day.totals.sent < found.totals.sent
    assert asked(frames, url.View(domain="example.net")).totals.sent == 0


def test_receivers_without_reports_stand_apart_with_the_settings_to_correct_them(found: Compared) -> None:
    listed = drawn(receivers.listed(found.receivers, found.findings, RECEIVERS))
    telling, _, apart = listed.partition("Send no reports; not counted")
    assert "learned from the counts" in telling
    assert "quiet.example" not in telling
    for name in ("quiet.example", "tiny.example", "filter.example"):
        assert name in apart
    assert "town-reports.example" in apart
    lines = receivers.correction(["filter.example"], ["town-reports.example"], RECEIVERS)
    assert lines is not None
    told = tomllib.loads(lines)["reconcile"]["receivers"]
    assert told == RECEIVERS | {"filter.example": "town-reports.example"}
    assert dict(read_config(lines, {}, Path()).reconcile.receivers) == told
    several = receivers.correction(["a.test", "b.test", 'c.test" = "x'], ["r.test"], {})
    assert several == '[reconcile.receivers]\n"a.test" = "REPORTER"\n"b.test" = "REPORTER"'
    assert receivers.correction([HOSTILE_NAME], [], {}) is None


def totals(**fields: int) -> Totals:
    names = ("sent", "reported", "counted", "matched", "open", "silent", "signed", "dkim_fail", "unsent")
    values: dict[str, Any] = dict.fromkeys(names, 0) | fields
    share = values["matched"] / values["counted"] if values["counted"] else None
    return Totals(**values, coverage=share, low=share, high=share)


@pytest.mark.parametrize(
    ("now", "level", "words"),
    [
        (totals(sent=9, reported=9, counted=9, matched=9, signed=9), "good", "and every signature of ours held"),
        (totals(sent=9, counted=9, matched=9, signed=400, dkim_fail=1), "watch", "1 of 400 came without a good"),
        (totals(sent=9, counted=9, matched=9, signed=9, dkim_fail=1), "bad", "1 of 9 came without a good signature"),
        (totals(sent=9, open=4, silent=5), "none", "9 messages left, and of none the reports are complete yet."),
        (totals(reported=5, unsent=5), "none", "The relay sent nothing in these days"),
    ],
)
def test_one_sentence_says_how_it_stands(found: Compared, now: Totals, level: str, words: str) -> None:
    said = page_of.judge(replace(found, totals=now, findings=found.findings.head(0)))
    assert said.level == level
    assert words in said.sentence


def test_the_sentence_names_what_to_look_at(found: Compared) -> None:
    said = page_of.judge(found)
    assert said.level == "bad"
    for words in ("past the relay (", "a sender that you have not named (", "left out of the reports ("):
        assert words in said.detail
    assert "services" not in said.detail


# hostile and empty


def test_what_strangers_wrote_is_shown_with_its_hidden_characters_visible(found: Compared) -> None:
    assert HOSTILE_NAME.lower() in found.findings["header_from"].tolist()
    row = next(one for one in found.findings.to_dict("records") if one["source_ip"] == "203.0.113.99")
    to = findings.ways("/", row, {})
    shown = everything(found) + drawn(list(to))
    assert "[U+202E]" in shown
    assert "\\u202e" not in shown
    assert "<script>" not in "".join(to)


def test_every_piece_draws_without_a_row(tmp_path: Path) -> None:
    with Library.open(tmp_path, clock=lambda: NOW) as empty:
        frames = ReconcileFrames(Frames(empty))
        frames.slowly.patience = PATIENT
        nothing = asked(frames)
        text = everything(nothing)
        assert "findings-none" in text
        assert figures.compared(nothing.daily, None)["layout"]["annotations"]
        assert frames.rows(url.View()).empty
        frames.slowly.close()


def answered(store: Library) -> str:
    site = Asked(store)
    answer = site.post(site.body("reconcile-empty.children"))
    site.app.server.extensions[END]()
    assert fault(answer) == ""
    return str(answer.get_data(as_text=True))


def test_a_side_that_is_missing_is_said_with_what_to_do(tmp_path: Path) -> None:
    deliveries, reports = traffic(days=4)
    with Library.open(tmp_path / "a", clock=lambda: NOW) as one:
        one.append_many(reports)
        assert "there is no relay here yet" in answered(one)
        (tmp_path / "a" / "relay").mkdir()
        assert "The relay has not sent anything yet" in answered(one)
    with Library.open(tmp_path / "b", clock=lambda: NOW) as one:
        sent.append(one.ledger, "r1", list(enumerate(deliveries, 1)))
        text = answered(one)
        assert "nothing is reported of it yet" in text
        assert "record-to-publish" in text


def test_the_settings_name_receivers_for_the_page(tmp_path: Path) -> None:
    file = f'[data]\ndir = "{tmp_path}"\n[reconcile]\nreceivers = {{ "mx.far.test" = "who.test" }}\n'
    rows = mails(10, LAST - 20, recipient_domain="far.test")
    with Library.open(tmp_path, clock=lambda: NOW) as one:
        sent.append(one.ledger, "r1", list(enumerate(rows, 1)))
        one.append_many([told((RELAY, 10, seen()), day=LAST - 20, by="who.test")])
    app = create_app(read_config(file, {}, tmp_path))
    answer = app.server.test_client().get(f"/export/reconcile.csv?from={TODAY - timedelta(30)}&to={TODAY}")
    lines = answer.get_data(as_text=True).splitlines()
    assert lines[0].startswith("day,source_ip,header_from")
    assert [line.split(",")[5:8] for line in lines[1:]] == [["who.test", "10", "10"]]


def test_a_page_that_waits_says_so_and_the_version_tells_when_to_ask_again(
    store: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    gate = threading.Event()
    ask = ReconcileFrames._compare

    def late(self: ReconcileFrames, *about: Any) -> Compared:
        assert gate.wait(PATIENT)
        return ask(self, *about)

    monkeypatch.setattr(ReconcileFrames, "_compare", late)
    site = Asked(store)
    before = site.get("version").json["slow"]
    first = site.post(site.body("reconcile-empty.children")).get_data(as_text=True)
    assert "Comparing what was sent" in first
    assert "awaited" in first
    gate.set()
    site.app.server.extensions[END]()
    assert site.get("version").json["slow"] == before + 1
    again = site.post(site.body("reconcile-empty.children")).get_data(as_text=True)
    assert "reconcile-sent" in again


# a visit


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with fill(tmp_path_factory.mktemp("visit"), evil=True) as opened:
        running = Site(opened)
        yield running
        running.stop()


@pytest.mark.browser
def test_a_visitor_follows_a_finding_to_both_sides_and_sees_new_mail(chromium: Any, site: Site) -> None:
    visit = Visit(chromium, site)
    page = visit.open("/reconcile")
    before = visit.number("reconcile-sent")
    until(page, "document.querySelectorAll('#reconcile-chart .barlayer .trace').length >= 2")
    assert not page.is_visible("#filter-result")
    assert "without a good signature" in page.inner_text("#reconcile-verdict")
    page.click("#reconcile-chart-button")
    page.wait_for_selector("#reconcile-chart-table table")
    page.click("#finding-forged summary")
    page.wait_for_selector("#finding-forged td:has-text('203.0.113.66')")
    page.click("#finding-unreported .way:has-text('Sent') >> nth=0")
    page.wait_for_url("**/sent?domain=example.org&from=*&ip=192.0.2.25&outcome=delivered&rcpt=halfbox.example&key=**")
    page.wait_for_selector("#sent-grid .ag-row:has-text('Delivered')")
    page.click("#sent-narrowed a:has-text('Sent from 192.0.2.25')")
    page.wait_for_selector("#sent-narrowed a:has-text('Signed by example.org')")
    until(page, "!location.search.includes('ip=')")
    page.go_back()
    page.go_back()
    page.click("#finding-unreported .way:has-text('Reports') >> nth=0")
    page.wait_for_selector("#reports-narrowed a:has-text('Reporter: halfbox.example')")
    page.wait_for_selector("#reports-grid .ag-row:has-text('halfbox.example')")
    assert "from 1 reporter." in page.inner_text("#reports-words")
    page.go_back()
    page.click("#finding-bypass .way:has-text('Source') >> nth=0")
    page.wait_for_url("**source=example.org~192.0.2.77")
    page.wait_for_selector("#label-state")
    page = visit.open("/reconcile")
    page.wait_for_selector("#reconcile-probes tr:has-text('bbbbbbbbbbbb') >> text=awaited")
    page.click("#reconcile-probes tr:has-text('aaaaaaaaaaaa') a")
    page.wait_for_selector("#report-probes:has-text('aaaaaaaaaaaa')")
    marked = page.locator("#report-body tr:has-text('counts a probe')")
    assert marked.count() == 1
    assert "192.0.2.25" in marked.inner_text()
    page = visit.open("/reconcile")
    visit.number("reconcile-sent")
    new = mails(7, LAST, recipient_domain="bigmail.example", host="mx1.bigmail.example", hour=8)
    sent.append(site.store.ledger, "r2", list(enumerate(new, 1)))
    until(page, f"document.querySelector('#reconcile-sent').dataset.value === '{before + 7:.0f}'")
    with page.expect_download() as got:
        page.click("#reconcile-csv")
    body = Path(got.value.path()).read_text()
    assert body.startswith("day,source_ip,header_from")
    pick(page, "filter-class", "Forwarder")
    page.wait_for_selector("#finding-forwarded")
    until(page, "document.querySelector('#reconcile-sent').dataset.value === '0'")
    visit.context.close()
    assert (visit.outside, visit.faults) == ([], [])


@pytest.mark.browser
@pytest.mark.parametrize("look", [{}, DARK, PHONE], ids=["light", "dark", "phone"])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(
    chromium: Any, site: Site, look: dict[str, Any]
) -> None:
    import axe_playwright_python

    axe = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    visit = Visit(chromium, site, **look)
    page = visit.open("/reconcile")
    page.wait_for_selector("#reconcile-tiles .tile")
    page.evaluate("document.querySelectorAll('#page details').forEach(one => one.open = true)")
    page.click("#reconcile-chart-button")
    page.wait_for_selector("#reconcile-chart-table table")
    page.wait_for_timeout(300)
    page.evaluate(axe)
    assert grave(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    visit.context.close()
    assert (visit.outside, visit.faults) == ([], [])
