"""The page Alerts: the words and numbers of alerts, what a person says of an incident, its evidence, and a visit."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import plotly
import pytest
from dashboard_data import HOSTILE_NAME, TODAY, fill, noon
from test_dashboard_browser import DARK, PHONE, SLOW, Site, Visit, chromium, grave, until
from test_dashboard_guard import PREFIX, fault
from test_dashboard_guard import Site as Asked

from dmarcview.alerts import backtest as rules
from dmarcview.alerts import evidence as days_of
from dmarcview.alerts import memory, said
from dmarcview.alerts.backtest import Alarm, Backtest, Line
from dmarcview.alerts.model import Finding, Incident, Member
from dmarcview.alerts.words import KINDS
from dmarcview.config import Config
from dmarcview.config.settings import Alerts
from dmarcview.dashboard import evidence, marks, url, verdict
from dmarcview.dashboard.alerts import BACKTEST_DAYS, AlertFrames, Known
from dmarcview.dashboard.app import END, create_app
from dmarcview.dashboard.callbacks.alerts import rows as rows_of
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.pages import alerts as page_of
from dmarcview.dashboard.pages import backtest, incident
from dmarcview.dashboard.plain import plain
from dmarcview.library import Library
from dmarcview.store import incidents, records_seen
from dmarcview.store.records_seen import DMARC, SPF, Changed, Observed

__all__ = ["chromium"]  # the fixture
NOW = int(noon())
DAY = 86_400
FIRST, LAST = TODAY - timedelta(days=9), TODAY - timedelta(days=1)
FAILING = Finding(
    "dmarc_failing", "example.com", "192.0.2.11", FIRST, LAST, 70, "70 of 1,000 messages failed DMARC.", 70, 1000, 0.02,
    "21 Nov is 80 % in", "/sources", "?domain=example.com&from=2026-11-13&to=2026-11-21&source=example.com~192.0.2.11",
    (Member("192.0.2.11", 70, 1000),), fired=FIRST,
)  # fmt: skip
FORGED = Finding("forged", "example.com", "unknown sources", FIRST, LAST, 300, "300 messages.", 40, 300, 12.0,
                 page="/sources", query="?domain=example.com&class=unknown")  # fmt: skip
SILENT = Finding("reporter_silent", "", "bigmail.example", FIRST, LAST, 9, "Its newest report is old.", usual=0.99,
                 page="/reports", members=(Member("example.com", 0, 40), Member("example.net", 0, 41)))  # fmt: skip
STRANGE = Finding("new_source", HOSTILE_NAME, HOSTILE_NAME, FIRST, LAST, 5, HOSTILE_NAME, 5, 5, None, HOSTILE_NAME,
                  "//evil.example", "?domain=" + HOSTILE_NAME, (Member(HOSTILE_NAME, 5, 5),))  # fmt: skip
ENDED = replace(FORGED, domain="example.net", cleared=LAST, fired=FIRST)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path, read_only=False, clock=lambda: NOW) as opened:
        memory.settle(opened.ledger, [FAILING, SILENT, STRANGE, ENDED], NOW)
        yield opened


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("full")
    fill(folder, days=60).close()
    with Library.open(folder, read_only=False, clock=lambda: NOW) as opened:
        yield opened


def number(store: Library, kind: str) -> int:
    return next(one.id for one in memory.listed(store.ledger, NOW) if one.finding.kind == kind)


def known(*found: Finding, **more: Any) -> list[Incident]:
    return [Incident(place, one, NOW - DAY, NOW, None, **more) for place, one in enumerate(found, 1)]


def drawn(component: Any) -> str:
    return json.dumps(component, cls=plotly.utils.PlotlyJSONEncoder)


# words


@pytest.mark.parametrize(
    ("act", "watch", "acked", "words"),
    [
        (0, 0, 0, "Nothing is wrong that alerts know of."),
        (1, 2, 0, "1 incident asks for action, 2 to watch."),
        (2, 0, 0, "2 incidents ask for action."),
        (0, 1, 0, "Nothing asks for action; 1 incident to watch."),
        (0, 0, 1, "Nothing asks for action; 1 is acknowledged."),
        (1, 1, 2, "1 incident asks for action, 1 to watch; 2 are acknowledged."),
    ],
)
def test_one_sentence_says_how_many_want_what(act: int, watch: int, acked: int, words: str) -> None:
    found = [*known(*[FAILING] * act), *known(*[SILENT] * watch), *known(*[FAILING] * acked, acked=NOW)]
    assert said.verdict(found) == words
    assert words in drawn(page_of.verdict(Known(tuple(found), ()), off=False))


def test_what_was_usual_is_said_in_the_terms_of_its_kind() -> None:
    assert said.usual(FAILING) == "2 % fail"
    assert said.usual(replace(FAILING, kind="signed_broken", usual=0.0004)) == "<0.1 % fail"
    assert said.usual(FORGED) == "12 messages a day"
    assert said.usual(SILENT) == "reports on 99 % of days"
    assert said.usual(STRANGE) == ""
    assert said.counts(FORGED) == "300 messages, 40 delivered"
    assert said.counts(FAILING) == "70 of 1,000 (7.0 %)"
    assert said.counts(SILENT) == "9 days without its report"
    assert said.known_after(known(FAILING)[0]) == "8 days"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_card_and_a_drawer_with_its_first_check(kind: str) -> None:
    (one,) = known(replace(FAILING, kind=kind))
    for text in (
        drawn(page_of.card(one, "/rows", "/drawer", writable=True)),
        drawn([plain(incident.body(one, "/rows")), plain(incident.more(one, []))]),
    ):
        assert '"/rows"' in text
        assert json.dumps(KINDS[kind].clears)[1:-1] in text
        assert "{domain}" not in text
        assert "13 Nov 2026" in text
        assert '["code", {}, "dmarcview ' in text or "`" not in KINDS[kind].check


def test_incidents_are_grouped_by_level_and_those_of_one_cause_stand_together() -> None:
    others = replace(FAILING, kind="bypass"), SILENT, replace(FAILING, kind="spf_failing"), FAILING
    found = [*known(*others), *known(replace(FAILING, domain="example.org"), acked=NOW, acked_by="dashboard")]
    act, watch, acked = page_of.groups(Known(tuple(found), ()), lambda _: "", str, writable=True)
    assert ["Asks for action" in drawn(act), "To watch" in drawn(watch), "Acknowledged" in drawn(acked)] == [True] * 3
    assert drawn(watch).count("One cause: ") == 1
    assert drawn(act).count("One cause: ") == 0
    assert "acknowledged by dashboard" in drawn(acked)
    assert '"data-press": "ack"' in drawn(act)
    assert '"data-press": "ack"' not in drawn(acked)


def test_of_many_incidents_the_first_are_cards_with_buttons() -> None:
    many = known(*(replace(FAILING, domain=f"d{place}.example", cause=f"c{place}") for place in range(80)))
    shown = drawn(page_of.groups(Known(tuple(many), ()), lambda _: "", str, writable=True))
    assert shown.count('"data-press"') == 2 * page_of.MOST_CARDS
    assert shown.count("fails DMARC") == 80
    assert '"data-press"' not in drawn(page_of.groups(Known(tuple(many), ()), lambda _: "", str, writable=False))


def test_columns_of_members_that_say_nothing_are_left_out() -> None:
    assert '"Reports before"' in drawn(page_of.members(SILENT))
    assert "At fault" not in drawn(page_of.members(SILENT))
    dns = drawn(page_of.members(replace(FAILING, members=(Member("example.com", 12, 0),))))
    assert '"Messages"' in dns
    assert "At fault" not in dns
    assert page_of.members(FORGED) is None


def test_what_strangers_wrote_is_shown_with_its_hidden_characters_visible() -> None:
    (one,) = known(STRANGE, note=HOSTILE_NAME, acked=NOW, acked_by=HOSTILE_NAME)
    note = incidents.Notice(1, 1, "opened", HOSTILE_NAME, NOW, 1, 1, NOW, None, HOSTILE_NAME)
    ended = replace(one, ended=NOW)
    alarm = Alarm(LAST, FIRST, "forged", HOSTILE_NAME, HOSTILE_NAME)
    change = Changed(NOW, NOW, "example.com", SPF, HOSTILE_NAME, "a", HOSTILE_NAME)
    figure = evidence.figure(None, STRANGE, [], None)
    marks.draw(figure, [change])
    shown = drawn(
        [
            page_of.groups(Known((one,), ()), lambda found: rows_of("/", found), lambda _: "/", writable=True),
            plain(page_of.past([ended], str)), plain(incident.body(one, "/")), plain(incident.more(one, [note])),
            plain(backtest.drawn(Backtest(9, LAST, 1, 8.0, (), (alarm,)), 0)), incident.title(one),
            [item._asdict() | {"names": 0, "domain": 0} for item in verdict.incidents([one])], marks.words(change),
        ]
    )  # fmt: skip
    assert "[U+202E]" in shown
    assert "\\u202e" not in shown
    assert "<img" not in drawn(figure)
    assert "\\u202e" not in drawn(figure)


def test_rows_are_on_pages_of_ours_alone() -> None:
    assert rows_of("/mail/", FAILING) == "/mail/sources" + FAILING.query
    assert rows_of("/mail/", STRANGE) == ""
    assert rows_of("/", replace(STRANGE, page="/sent")).startswith("/sent")
    assert rows_of("/", replace(FAILING, page="/alerts", query="")) == ""


def test_the_number_of_an_incident_is_in_links_to_its_page_alone() -> None:
    view = url.parse("?incident=12&domain=example.com")
    assert view.incident == 12
    assert url.href("/", "/alerts", view) == "/alerts?domain=example.com&incident=12"
    assert url.href("/", "/sources", view) == "/sources?domain=example.com"
    for odd in ("0", "-1", "1e3", "x", "1" * 40, "١"):
        assert url.parse(f"?incident={odd}").incident is None


# evidence


def asked(store: Library, **fields: Any) -> Any:
    until = LAST + timedelta(days=1)
    return store.daily(since=FIRST - timedelta(days=days_of.BEFORE_DAYS), until=until, **fields).set_index("day")


def test_the_days_behind_a_rate_are_the_rows_of_its_source(full: Library) -> None:
    found = days_of.of(full, FAILING, NOW)
    assert found is not None
    rows, daily = asked(full, domains=("example.com",), source_ip="192.0.2.11"), found.daily.set_index("day")
    assert daily["total"].sum() == rows["messages"].sum() > 0
    assert daily["failed"].sum() == rows["messages"].sum() - rows["dmarc_pass"].sum() > 0
    assert (found.kind, found.mechanism, found.usual) == (days_of.RATE, "DMARC", 0.02)
    assert len(daily) == 37
    whole = days_of.of(full, replace(FAILING, kind="dkim_failing", cause="selector s of example.com"), NOW)
    assert whole is not None
    own = [asked(full, domains=("example.com",), source_class=name) for name in ("own", "third_party")]
    assert whole.daily["total"].sum() == sum(one["messages"].sum() for one in own)
    assert whole.daily["failed"].sum() == sum((one["messages"] - one["dkim_aligned"]).sum() for one in own)


def test_the_days_behind_a_wave_and_a_silence_are_counted_as_they_were_judged(full: Library) -> None:
    wave = days_of.of(full, FORGED, NOW)
    assert wave is not None
    rows = asked(full, domains=("example.com",), source_class="unknown")
    assert 0 < wave.daily["total"].sum() <= rows["messages"].sum() - rows["dmarc_pass"].sum()
    assert 0 < wave.daily["failed"].sum() <= rows["unknown_delivered"].sum()
    quiet = days_of.of(full, SILENT, NOW)
    assert quiet is not None
    came = full.reports(since=FIRST - timedelta(days=28), until=LAST + timedelta(days=1))
    came = came[came["submitter"] == "bigmail.example"]
    assert quiet.daily["total"].sum() == len(came.drop_duplicates(["domain", "begin"])) > 0
    assert set(quiet.daily["total"]) <= {0, 1, 2}
    assert days_of.of(full, replace(FAILING, kind="mail_held"), NOW) is None
    none = days_of.of(full, STRANGE, NOW)
    assert none is not None
    assert not none.daily["total"].any()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("finding", [FAILING, FORGED, SILENT], ids=["rate", "wave", "silence"])
def test_the_chart_draws_counts_usual_open_days_and_changes(full: Library, finding: Finding, scheme: str) -> None:
    (one,) = known(finding)
    found = AlertFrames(Frames(full)).evidence(one)
    assert found is not None
    changes = [
        Changed(NOW - 5 * DAY, NOW - 5 * DAY, "example.com", DMARC, "_dmarc.example.com", "v=DMARC1; p=none", ""),
        Changed(NOW - 5 * DAY, NOW - 5 * DAY, "example.com", SPF, "example.com", "", "v=spf1 -all"),
    ]
    figure = evidence.figure(found, finding, changes, scheme)
    plotly.graph_objects.Figure(figure)  # Plotly's own check of every attribute
    by_name = {trace["name"]: trace for trace in figure["data"]}
    bars = [name for name, *_ in evidence.BARS[found.kind]]
    assert sum(sum(by_name[name]["y"]) for name in bars) == found.daily["total"].sum()
    assert by_name["Not complete"]["x"][-1] == str(LAST)
    assert by_name["Changed"]["text"] == [
        "DMARC record at _dmarc.example.com is gone<br>SPF record at example.com is new: v=spf1 -all"
    ]
    assert figure["layout"]["shapes"][0]["x0"] == f"{FIRST - timedelta(days=1)} 12:00:00"
    assert ("Usual" in by_name) == (found.usual is not None)
    if finding is FAILING:
        assert by_name["Share that failed"]["y"][-1] is None
    told = drawn(incident.table((found, changes)))
    assert told.count("is now") + told.count("is gone") == 1
    assert "(not complete)" in told
    assert incident.table((None, [])) is not None
    drawn(incident.legend(found, changed=True))


def test_a_change_of_the_chosen_domain_is_on_the_overview_chart_and_in_its_table(full: Library) -> None:
    for at, value in ((NOW - 20 * DAY, "v=DMARC1; p=none"), (NOW - 6 * DAY, "v=DMARC1; p=reject")):
        for late in (0, 3_600):
            records_seen.note(full.ledger, [Observed("example.com", DMARC, "_dmarc.example.com", value)], at + late)
    site = Asked(full)
    changed = "2026-11-16"
    one = site.post(site.body("outcome-chart.figure", url__search="?domain=example.com", outcome_button__n_clicks=1))
    every = site.post(site.body("outcome-chart.figure", url__search="", outcome_button__n_clicks=1))
    assert fault(one) == fault(every) == ""
    traces = json.loads(one.data)["response"]["outcome-chart"]["figure"]["data"]
    assert next(trace["x"] for trace in traces if trace["name"] == "Changed") == [changed]
    assert "is now v=DMARC1; p=reject" in json.dumps(json.loads(one.data)["response"]["outcome-table"])
    assert '"Changed"' not in every.get_data(as_text=True)
    site.app.server.extensions[END]()


# what a person says


def press(site: Asked, changed: str | dict[str, Any], search: str = "", note: Any = None, value: Any = 1) -> Any:
    name, value = (changed, value) if isinstance(changed, str) else ("incident-press.data", changed)
    body = site.body("alerts-said.children", name, url__search=search, incident_note__value=note)
    next(one for one in body["inputs"] if one["id"] == name.split(".", maxsplit=1)[0])["value"] = value
    return site.post(body)


def button(do: Any, id: object) -> dict[str, Any]:
    return {"do": do, "id": str(id), "n": 1}


def test_a_card_acknowledges_and_mutes_and_the_number_beside_the_page_follows(store: Library) -> None:
    site, at = Asked(store), number(store, "dmarc_failing")
    assert "1 asks for action" in site.post(site.body("alerts-count.children")).get_data(as_text=True)
    before = site.get("version").json["alerts"]
    assert "is acknowledged" in press(site, button("ack", at)).get_data(as_text=True)
    one = memory.one(store.ledger, at, NOW)
    assert one is not None
    assert (one.acked, one.acked_by, one.note) == (NOW, "dashboard", "")
    assert site.get("version").json["alerts"] > before
    assert (
        json.loads(site.post(site.body("alerts-count.children")).data)["response"]["alerts-count"]["children"] is None
    )
    assert "is muted for 7 days" in press(site, button("mute", at)).get_data(as_text=True)
    muted = memory.one(store.ledger, at, NOW)
    assert muted is not None
    assert muted.muted_until == NOW + 7 * DAY
    assert "no longer muted" in press(site, button("mute", at)).get_data(as_text=True)
    assert memory.one(store.ledger, at, NOW) == replace(one, muted_until=None)


def test_the_drawer_acknowledges_with_a_note(store: Library) -> None:
    site, at = Asked(store), number(store, "reporter_silent")
    here = f"?incident={at}"
    assert "Acknowledge" in site.post(site.body("incident-body.children", url__search=here)).get_data(as_text=True)
    answer = press(site, "incident-ack.n_clicks", here, "they told us " + "x" * 2_000)
    assert "is acknowledged" in json.loads(answer.data)["response"]["incident-said"]["children"]
    one = memory.one(store.ledger, at, NOW)
    assert one is not None
    assert one.note.startswith("they told us x")
    assert len(one.note) == page_of.MOST_NOTE
    told = site.post(site.body("incident-body.children", url__search=here)).get_data(as_text=True)
    assert "Save the note" in told
    assert "acknowledged by dashboard" in told
    assert one.note in site.post(site.body("incident-note.value", url__search=here)).get_data(as_text=True)
    drawer = json.loads(site.post(site.body("incident-body.children", url__search=here)).data)["response"]
    assert drawer["incident-unack"]["hidden"] is False
    answer = press(site, "incident-unack.n_clicks", here)
    assert "is no longer acknowledged" in json.loads(answer.data)["response"]["incident-said"]["children"]
    assert memory.one(store.ledger, at, NOW) == replace(one, acked=None, acked_by="")
    drawer = json.loads(site.post(site.body("incident-body.children", url__search=here)).data)["response"]
    assert drawer["incident-unack"]["hidden"] is True


def test_nothing_is_written_for_a_button_that_no_page_has(store: Library) -> None:
    site, at = Asked(store), number(store, "dmarc_failing")
    before = incidents.version(store.ledger)
    for odd in ({}, {"do": "ack"}, {"do": ["ack"], "id": str(at)}, {"do": "ack", "id": at}, {"do": None, "id": None}):
        assert press(site, odd).status_code == 204
    assert press(site, "incident-press.data", value=7).status_code == 204
    assert press(site, "incident-ack.n_clicks", f"?incident={at}", value=0).status_code == 204, "nobody pressed"
    for do, which in (("boss", at), ("ack", 999), ("ack", "x"), ("ack", "1; drop table incidents"), ("mute", "-1")):
        assert press(site, button(do, which)).status_code == 204
    assert press(site, "incident-ack.n_clicks", "?incident=999").status_code == 204
    assert press(site, "incident-mute.n_clicks", "").status_code == 204
    assert press(site, "incident-unack.n_clicks", "?incident=999").status_code == 204
    assert incidents.version(store.ledger) == before
    pressed = site.body("alerts-said.children", "incident-press.data")
    pressed["inputs"][0]["value"] = button("ack", at)
    body = json.dumps(pressed).encode()
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused = site.client.post(PREFIX + "_dash-update-component", data=body, headers=headers,
                                   content_type="application/json")  # fmt: skip
        assert refused.status_code == 403


def test_a_store_that_is_only_read_shows_no_buttons_and_takes_no_word(store: Library, tmp_path: Path) -> None:
    at = number(store, "dmarc_failing")
    with Library.open(tmp_path, read_only=True, clock=lambda: NOW) as reading:
        site = Asked(reading)
        shown = site.post(site.body("alerts-open.children")).get_data(as_text=True)
        assert "fails DMARC" in shown
        assert "open for reading only" in shown
        assert '"do":"ack"' not in shown
        drawer = json.loads(site.post(site.body("incident-body.children", url__search=f"?incident={at}")).data)
        assert drawer["response"]["incident-actions"]["hidden"] is True
        assert "open for reading only" in press(site, button("ack", at)).get_data(as_text=True)
    assert memory.one(store.ledger, at, NOW).acked is None  # type: ignore[union-attr]


# states


def test_a_place_without_incidents_says_so(tmp_path: Path) -> None:
    with Library.open(tmp_path, read_only=False, clock=lambda: NOW) as empty:
        site = Asked(empty)
        shown = site.post(site.body("alerts-open.children")).get_data(as_text=True)
        assert said.CALM in shown
        assert "record-to-publish" in shown
        assert "alerts-none-past" in shown
        gone = site.post(site.body("incident-body.children", url__search="?incident=5")).get_data(as_text=True)
        assert "There is no such incident" in gone
        chart = json.loads(site.post(site.body("incident-chart.figure", url__search="?incident=5")).data)
        assert chart["response"]["incident-chart-box"]["hidden"] is True


def test_alerts_that_are_switched_off_are_not_called_calm(store: Library) -> None:
    off = AlertFrames(Frames(store), Alerts(check=False))
    assert off.off
    shown = drawn([page_of.verdict(Known((), ()), off=True), page_of.notes(off=True, writable=True)])
    assert "check = false" in shown
    assert "verdict-none" in shown
    assert page_of.LOOKS not in shown
    assert "verdict-good" in drawn(page_of.verdict(Known((), ()), off=False))
    app = create_app(replace(Config(), alerts=Alerts(check=False), data=replace(Config().data, dir=str(store.data))))
    answer = app.server.test_client().get("/version")
    assert answer.json["alerts"] == incidents.version(store.ledger)
    app.server.extensions[END]()


def test_what_ended_stays_ninety_days_with_the_time_until_it_was_known(store: Library) -> None:
    frames = AlertFrames(Frames(store))
    found = frames.known(url.View())
    assert [one.finding.kind for one in found.ended] == ["forged"]
    shown = drawn(page_of.past(found.ended, lambda at: f"/alerts?incident={at}"))
    assert "1 day" in shown
    assert "300 messages, 40 delivered" in shown
    assert {one.finding.kind for one in frames.known(url.View(domain="example.com")).open} == {
        "dmarc_failing", "reporter_silent"}, "its own and those of no single domain"  # fmt: skip
    assert frames.known(url.View(domain="example.com")).ended == ()
    usual = drawn(page_of.past([replace(found.ended[0], outcome="usual")], str))
    assert "it is usual by now" in usual
    assert "usual by now" not in shown
    later = AlertFrames(Frames(Library.open(store.data, clock=lambda: NOW + 100 * DAY)))
    assert later.known(url.View()).ended == ()


def test_the_overview_names_incidents_first_and_no_source_twice(full: Library) -> None:
    frames = Frames(full)
    view = url.View()
    before = verdict.attention(frames.sources(view), frames.freshness(view)[1], frames.policies())
    assert any(item.source == ("example.com", "192.0.2.11") for item in before)
    assert any("smallbox.example stopped" in item.title for item in before)
    found = verdict.incidents(known(replace(SILENT, cause="smallbox.example"), FAILING, FORGED))
    assert [item.level for item in found] == ["bad", "watch", "watch"]
    assert found[0].cause == "Since 13 Nov 2026: 70 of 1,000 (7.0 %)."
    both = verdict.merged(found, before)
    assert both[:3] == found
    titles = " ".join(item.title for item in both)
    assert ("example.com", "192.0.2.11") not in [item.source for item in both]
    assert "smallbox.example stopped" not in titles
    assert "posing as example.com" not in titles
    assert "posing as example.net" in titles, "a wave on one domain tells nothing of another"
    assert len(verdict.merged(found * 4, before)) == verdict.MOST_ITEMS


# backtest


def test_a_backtest_runs_when_it_is_asked_for_and_once_a_version(
    full: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[float, int]] = []
    lines = (Line(4.0, 9, 1.5, 1.0, False), Line(8.0, 2, 0.3333, None, True), Line(12.04, 1, 0.1, 2.0, False))
    answer = Backtest(60, LAST, 2, 8.0, lines, (Alarm(LAST, FIRST, "forged", "example.com", "unknown sources"),))

    def run(_: Any, config: Config, __: int, *, days: int) -> Backtest:
        ran.append((config.alerts.threshold, days))
        return answer

    monkeypatch.setattr(rules, "run", run)
    frames = AlertFrames(Frames(full), Alerts(threshold=9.0))
    frames.slowly.patience = 60
    assert frames.backtest(ask=False) is None
    for ask in (True, True, False):
        told = frames.backtest(ask=ask)
        assert told is not None
        assert told.answer is answer
    assert ran == [(9.0, BACKTEST_DAYS)]
    shown = drawn(backtest.drawn(answer, 0))
    for words in (
        "threshold = 4",
        "threshold = 0",
        "threshold = 12",
        "0.33",
        "in use",
        "chosen by the number of series",
    ):
        assert words in shown
    for line in lines:
        for chosen in (0.0, 8.0):
            told_by = tomllib.loads("[alerts]\n" + backtest.setting(line, chosen))["alerts"]["threshold"]
            assert told_by == (0 if line.used and not chosen else pytest.approx(line.threshold, abs=0.05))
    frames.slowly.close()


def test_too_few_days_for_a_backtest_are_said() -> None:
    assert "six weeks" in drawn(backtest.drawn(Backtest(0, date(2026, 11, 1), 0, 8.0, (), ()), 0))


# a visit


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with fill(tmp_path_factory.mktemp("visit"), days=60) as opened:
        memory.settle(opened.ledger, [FAILING, SILENT, STRANGE, ENDED], NOW)
        running = Site(opened)
        yield running
        running.stop()


@pytest.mark.browser
@pytest.mark.parametrize("look", [{}, DARK, PHONE], ids=["light", "dark", "phone"])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(
    chromium: Any, site: Site, look: dict[str, Any]
) -> None:
    import axe_playwright_python

    axe = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    visit = Visit(chromium, site, **look)
    failing = memory.listed(site.store.ledger, NOW)
    at = next(one.id for one in failing if one.finding.kind == "dmarc_failing")
    for path, ready in (("/alerts", ".incident"), (f"/alerts?incident={at}", "#incident-chart .main-svg")):
        page = visit.open(path)
        page.wait_for_selector(ready, timeout=SLOW)
        page.evaluate("document.querySelectorAll('#page details').forEach(one => one.open = true)")
        if "=" in path:
            page.click("#incident-chart-button")
            page.wait_for_selector("#incident-chart-table table")
        page.wait_for_timeout(400)
        page.evaluate(axe)
        assert grave(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    visit.context.close()
    assert (visit.outside, visit.faults) == ([], [])


@pytest.mark.browser
def test_a_visitor_follows_an_incident_says_that_it_is_seen_and_sees_a_new_one_come(chromium: Any, site: Site) -> None:
    visit = Visit(chromium, site)
    page = visit.open("/")
    page.wait_for_selector("#alerts-count .badge:has-text('1')")
    page.click(".attention a.item-title:has-text('Mail of example.com fails DMARC')")
    page.wait_for_url("**/alerts?incident=*")
    page.wait_for_selector("#incident-chart .barlayer .trace", timeout=SLOW)
    page.click("#incident-chart-button")
    page.wait_for_selector("#incident-chart-table td:has-text('(not complete)')")
    page.fill("#incident-note", "the new server")
    page.click("#incident-ack")
    page.wait_for_selector("#incident-said:has-text('is acknowledged')")
    page.wait_for_selector("#incident-ack:has-text('Save the note')")
    page.click("#incident-unack")
    page.wait_for_selector("#incident-ack:has-text('Acknowledge')")
    until(page, "document.querySelector('#incident-unack').offsetParent === null")
    page.click("#incident-ack")
    page.wait_for_selector("#incident-ack:has-text('Save the note')")
    page.keyboard.press("Escape")
    until(page, "!location.search.includes('incident=')")
    page.wait_for_selector(".incident-group:has-text('Acknowledged') .incident:has-text('the new server')")
    until(page, "!document.querySelector('#alerts-count .badge')")
    silent = page.locator(".incident", has_text="sends no reports")
    silent.get_by_role("button", name="Mute 7 days").click()
    silent.get_by_role("button", name="Unmute").wait_for()
    assert "muted until 2026-11-29 12:00" in silent.inner_text()
    page.wait_for_selector("#alerts-said:has-text('is muted for 7 days.')")
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.hacked === undefined")
    held = Finding("mail_held", "", "a hold by hand", LAST, LAST, 3, "3 recipients wait.", page="/sent")
    memory.settle(site.store.ledger, [FAILING, SILENT, STRANGE, ENDED, held], NOW + 60)
    page.wait_for_selector(".incident:has-text('The relay holds mail back')")
    page.wait_for_selector("#alerts-count .badge:has-text('1')")
    page.locator(".incident", has_text="holds mail back").get_by_role("link", name="Show the rows").click()
    page.wait_for_url("**/sent")
    page = visit.open("/alerts?domain=example.net")
    page.click("#alerts-past a.item-title")
    page.wait_for_selector("#incident-chart .main-svg", timeout=SLOW)
    assert not page.is_visible("#incident-actions")
    assert not page.is_visible("#filter-period")
    page.keyboard.press("Escape")
    until(page, "location.search === '?domain=example.net'")
    page.click("#backtest-button")
    page.wait_for_selector("#backtest-result td:has-text('in use')", timeout=SLOW)
    visit.context.close()
    assert (visit.outside, visit.faults) == ([], [])
