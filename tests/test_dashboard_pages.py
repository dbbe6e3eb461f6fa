"""The dashboard's pure side: URL, text, figures and pages on empty, single, hostile and large frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import plotly
import pytest
from dash import dcc, html
from dashboard_data import HOSTILE_NAME, TODAY, Reporter, fill, noon, record_xml, report_xml, taken
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview.dashboard import figures, freshness, guard, parts, shell, text, theme, url, verdict
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.pages import alerts, intake, overview, reconcile, report, reports, sources
from dmarcview.dashboard.papers import Papers
from dmarcview.dashboard.plain import plain
from dmarcview.query.lateness import ARRIVALS, judge
from dmarcview.store import Store

COUNTS = [*(o.key for o in theme.OUTCOMES), "messages", "dmarc_pass", "dkim_aligned", "spf_aligned"]
DAYS = st.dates(date(2015, 1, 1), date(2099, 1, 1))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frames]:
    with fill(tmp_path_factory.mktemp("pages"), hostile=True, days=50) as store:
        yield Frames(store)


def drawn(component: Any) -> str:
    """What Dash sends to the browser."""
    return json.dumps(component, cls=plotly.utils.PlotlyJSONEncoder)


def daily(days: int, count: int = 10, open_days: int = 0) -> pd.DataFrame:
    frame = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=days, freq="D", unit="s")})
    for name in COUNTS:
        frame[name] = count
    frame["messages"] = count * len(theme.OUTCOMES)
    frame["complete"] = [i < days - open_days for i in range(days)]
    return frame


# URL


@given(
    st.builds(
        url.View,
        domain=st.none() | st.sampled_from(["example.org", "xn--bcher-kva.example", "a&b=c#d%2f.example"]),
        days=st.integers(1, url.MAX_DAYS),
        source_class=st.none() | st.sampled_from(sorted(url.CLASSES)),
        result=st.none() | st.sampled_from(sorted(url.RESULTS)),
        unit=st.sampled_from(url.UNITS),
        source=st.none() | st.sampled_from([("example.org", "192.0.2.1"), ("a.example", "2001:db8::1")]),
        incident=st.none() | st.integers(1, 10**12),
    )
)
def test_every_view_survives_its_own_link(view: url.View) -> None:
    assert url.parse(url.write(view)) == view


@given(DAYS, st.integers(0, url.MAX_DAYS - 1))
def test_a_window_of_own_dates_survives_its_link(since: date, span: int) -> None:
    view = url.View(since=since, until=min(since + timedelta(days=span), date(2099, 12, 31)))
    assert url.parse(url.write(view)) == view


@given(st.text(max_size=200))
def test_no_query_string_breaks_the_parser(search: str) -> None:
    view = url.parse(search)
    assert 1 <= view.days <= url.MAX_DAYS
    assert url.parse(url.write(view)) == view


def test_a_window_that_is_backwards_or_endless_is_put_right() -> None:
    view = url.parse("?from=2026-02-01&to=2026-01-01")
    assert (view.since, view.until) == (date(2026, 1, 1), date(2026, 2, 1))
    long = url.parse("?from=2001-01-01&to=2026-01-01")
    assert long.since is not None
    assert long.until is not None
    assert (long.until - long.since).days == url.MAX_DAYS - 1
    assert url.parse("?days=0").days == 1
    assert url.parse("?days=99999").days == url.MAX_DAYS
    assert url.parse("?class=admin&result=maybe&unit=furlong") == url.View()


def test_controls_and_links_agree() -> None:
    view = url.View("example.org", 90, source_class="own", result="fail")
    values = shell.controls(view, view.window(TODAY))
    assert shell.chosen(url.View(days=90), "filter-domain", values) == view
    dated = shell.chosen(view, "filter-dates", ("*", "range", ["2026-01-01", "2026-01-31"], "*", "*"))
    assert dated == url.View(since=date(2026, 1, 1), until=date(2026, 1, 31))


# text


@given(st.text(max_size=300))
def test_shown_text_is_short_and_hides_nothing(raw: str) -> None:
    shown = text.show(raw)
    assert len(shown) <= text.CAP + 1
    assert not any(c in shown for c in "\u202e\u202d\u2066\u200b\x00\x1b\n\r")


def test_hidden_characters_become_visible() -> None:
    assert text.show("pay\u202epal") == "pay[U+202E]pal"
    assert text.show("a" + "\u0301" * 50) == "a" + "\u0301" * 3
    assert text.show(None) == text.show(float("nan")) == ""
    assert text.document("<a>\x1b[31m\n</a>") == "<a>[U+001B][31m\n</a>"


def test_formulas_are_defused_in_csv_and_numbers_stay_numbers() -> None:
    for formula in ("=1+1", "+1", "-1+cmd", "@SUM(A1)", "\t=1", "  =1"):
        assert text.csv_cell(formula).startswith("'")
    assert text.csv_cell(-5) == -5
    assert text.csv_cell("example.org") == "example.org"


def test_a_share_is_never_rounded_to_all_or_nothing() -> None:
    assert text.share(99_999, 100_000) == ">99.9%"
    assert text.share(1, 100_000) == "<0.1%"
    assert text.share(100, 100) == "100%"
    assert text.share(0, 100) == "0%"
    assert text.share(0, 0) == "–"


# figures


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("days", [0, 1, 30, 1100])
def test_figures_are_drawn_for_any_number_of_days(days: int, scheme: str) -> None:
    frame = daily(days, open_days=1 if days > 1 else 0)
    for figure in (
        figures.outcomes(frame, "count", scheme),
        figures.outcomes(frame, "share", scheme),
        figures.rates(frame, scheme),
        figures.trend(frame, scheme),
    ):
        plotly.graph_objects.Figure(figure)  # Plotly's own check of every attribute
        assert bool(figure["data"]) == (days > 0)


def test_open_days_are_hatched_and_left_out_of_rates() -> None:
    frame = daily(5, open_days=2)
    rates = figures.rates(frame, "light")
    assert rates["data"][0]["y"][-2:] == [None, None]
    assert rates["data"][0]["y"][0] == pytest.approx(100 / len(theme.OUTCOMES), abs=0.01)
    hatched = figures.outcomes(frame, "share", "light")["data"][-1]
    assert hatched["x"] == ["2026-01-04", "2026-01-05"]
    band = figures.outcomes(frame, "share", "light")["data"][0]
    assert band["x"] == ["2026-01-01", "2026-01-02", "2026-01-03"]  # a gap in a stack would fall to zero
    assert hatched["marker"]["pattern"]["shape"] == "/"


def test_days_without_mail_divide_nothing_by_zero() -> None:
    frame = daily(3)
    frame.loc[1, COUNTS] = 0
    shares = figures.outcomes(frame, "share", "light")["data"][0]
    assert shares["x"] == ["2026-01-01", "2026-01-03"]
    assert all(y > 0 for y in shares["y"])
    assert figures.rates(frame, "light")["data"][0]["y"][1] is None


def test_a_chart_without_mail_says_so_instead_of_drawing_axes() -> None:
    for figure in (figures.outcomes(daily(3, count=0), "count", "dark"), figures.rates(daily(0), "light")):
        assert figure["data"] == []
        assert "in this view" in figure["layout"]["annotations"][0]["text"]
        assert not figure["layout"]["xaxis"]["visible"]


def test_text_is_readable_in_both_schemes() -> None:
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    def contrast(one: str, other: str) -> float:
        high, low = sorted((light(one), light(other)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for scheme in theme.SCHEMES.values():
        assert contrast(scheme.text, scheme.surface) >= 7
        assert contrast(scheme.muted, scheme.surface) >= 4.5


# folding


def test_a_folded_tree_says_the_same_in_one_component() -> None:
    tree = drawn(plain(html.Div([html.B("<b>", className="x"), 5, None, dcc.Link("go", href="/a")], id="one")))
    assert json.loads(tree) == {
        "namespace": "dmarcview",
        "type": "Plain",
        "props": {
            "tree": [
                "div",
                {"id": "one"},
                ["b", {"className": "x"}, "<b>"],
                "5",
                ["a", {"href": "/a", "inside": True}, "go"],
            ]
        },
    }
    assert plain(None) is None


def test_what_needs_wiring_or_could_run_is_not_folded() -> None:
    for component in (
        html.Button("x", n_clicks=0),
        html.Iframe(srcDoc="<script>"),
        html.Div(id={"type": "label"}),
        dcc.Graph(),
        object(),
    ):
        with pytest.raises(TypeError):
            plain([component])


# completeness


def judged(rows: list[tuple[pd.Timestamp, str, int]], hour: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Days and reporters of the strip, from (day, reporter, messages) that came so many hours after each day."""
    arrivals = pd.DataFrame(
        [(who, day.timestamp() // 86_400, hour, 1, count) for day, who, count in rows], columns=list(ARRIVALS)
    ).astype({"day": "int64"})
    today = TODAY.toordinal() - date(1970, 1, 1).toordinal()
    found = judge(arrivals, today - freshness.STRIP_DAYS, today - 1, int(noon()))
    return found.days, found.reporters


def test_a_late_reporter_keeps_its_day_open_and_a_silent_one_is_named() -> None:
    days = pd.date_range("2026-10-01", "2026-11-21", freq="D", unit="s")
    rows = [(d, "big.example", 900) for d in days[:-1]] + [(d, "small.example", 100) for d in days[:-5]]
    strip, arrived = judged(rows)
    assert len(strip) == freshness.STRIP_DAYS
    newest = strip.iloc[-1]
    assert not newest["complete"]
    assert newest["share"] == 0
    assert (newest["late"], newest["silent"]) == (["big.example"], ["small.example"])
    assert strip.iloc[-3]["share"] == 0.5, "of two reporters each is half, whatever they claim"
    assert strip.iloc[-3]["silent"] == ["small.example"]
    assert freshness.last_complete(strip, days[0].date(), date(2026, 11, 20), TODAY) == date(2026, 11, 20)
    items = verdict.attention(pd.DataFrame(), arrived, {})
    assert [i.title for i in items] == ["small.example stopped reporting"]
    words = drawn(overview.freshness(strip, arrived))
    assert (
        "Complete through 20 Nov. 21 Nov is 0 % in; usual reporters 0 of 2, big.example late, small.example silent."
        in words
    )


def test_a_window_ends_before_the_first_day_that_waits() -> None:
    days = pd.date_range("2026-10-01", "2026-11-21", freq="D", unit="s")
    rows = [(d, "big.example", 900) for d in days] + [(d, "slow.example", 100) for d in days[:-6]]
    strip, _ = judged([*rows, (days[-2], "slow.example", 100)], hour=150)
    assert strip["complete"].tolist()[-7:] == [True] * 4 + [False, True, False], "one alone is waited for three days"
    assert freshness.last_complete(strip, days[0].date(), date(2026, 11, 21), TODAY) == date(2026, 11, 18)


def test_while_nobody_is_usual_a_window_ends_with_what_has_come() -> None:
    strip, _ = judged([(pd.Timestamp("2026-11-20"), "new.example", 5)])
    assert freshness.last_complete(strip, date(2026, 11, 20), date(2026, 11, 20), TODAY) == date(2026, 11, 20)


def test_causes_name_the_likely_fault_and_the_first_thing_to_do() -> None:
    def said(source_class: str, dkim: int, spf: int) -> str:
        counts = {"messages": 100, "dkim_aligned": dkim, "spf_aligned": spf, "source_class": source_class}
        who = {"domain": "example.org", "source_ip": "192.0.2.1", "service": "Post", "reverse_dns": None}
        return " ".join(verdict.cause(counts | who))

    assert "label it forwarder" in said("own", 90, 0)
    assert "Ask Post which mail it does not sign as example.org" in said("third_party", 90, 0)
    assert "192.0.2.1 still is in the SPF record of example.org" in said("own", 0, 97)
    assert "Turn on DKIM signing as example.org at Post" in said("third_party", 0, 97)
    assert "add 192.0.2.1 to the SPF record" in said("own", 0, 0)


def test_a_view_of_forwarders_alone_judges_nobody() -> None:
    said = verdict.judge(verdict.Totals(7, 90, forwarded=90), "in the 7 days to 20 Nov")
    assert said.level == "none"
    assert "90 messages came by forwarders" in said.detail


def test_nothing_is_simply_good_while_an_incident_asks_for_action() -> None:
    now, days = verdict.Totals(7, 1_000, own_pass=1_000), (date(2026, 11, 14), date(2026, 11, 20))
    assert "verdict-good" in drawn(overview.sentence(now, *days))
    asks = drawn(overview.sentence(now, *days, 1))
    assert "verdict-watch" in asks
    assert "1 incident asks for action." in asks
    assert "verdict-bad" in drawn(overview.sentence(verdict.Totals(7, 100, own_pass=1, own_fail=99), *days, 2))


def test_what_one_check_misses_is_drawn_as_a_failure_for_dmarc_alone() -> None:
    assert "bar-soft" in drawn(parts.pass_bar("SPF", 0, 10))
    assert "bar-soft" not in drawn(parts.pass_bar("DMARC", 0, 10))


def test_an_old_collection_ends_on_its_newest_day() -> None:
    strip, _ = judged([])
    assert freshness.last_complete(strip, date(2019, 5, 1), date(2019, 5, 4), TODAY) == date(2019, 5, 4)
    assert freshness.last_complete(strip, None, None, TODAY) == TODAY - timedelta(days=1)


# pages


def test_the_default_window_waits_for_the_domains_that_it_is_about(tmp_path: Path) -> None:
    early, late = Reporter("early.example", "Early", 1, 1), Reporter("late.example", "Late", 1, 1)
    taken_now = [
        taken(report_xml(reporter, domain, TODAY - timedelta(days=ago), record), f"{domain}-{ago}", int(noon()))
        for reporter, domain, behind in ((early, "example.com", 1), (late, "example.net", 4))
        for record in [record_xml("192.0.2.1", 100, domain, "none", True, True)]
        for ago in range(behind, 40)
    ]
    yesterday, before = TODAY - timedelta(days=1), TODAY - timedelta(days=4)
    with Store.open(tmp_path, clock=noon) as store:
        store.append_many(taken_now)
        ends = Frames(store).last_complete
        assert ends(url.View()) == before
        assert ends(url.View(domain="example.com")) == yesterday
        assert ends(url.View(domain="example.net")) == before
        assert Frames(store, watched=("example.com",)).last_complete(url.View()) == yesterday
        assert Frames(store, watched=("example.org",)).last_complete(url.View()) == before


def test_the_verdict_says_good_watch_bad_and_nothing() -> None:
    def level(own_pass: int, own_fail: int, delivered: int = 0) -> str:
        messages = own_pass + own_fail + delivered
        now = verdict.Totals(30, messages, own_pass, own_fail, unknown_delivered=delivered)
        return verdict.judge(now, "in the 30 days to 20 Nov").level

    assert level(1000, 1) == "good"
    assert level(970, 30) == "watch"
    assert level(900, 100) == "bad"
    assert level(1000, 0, delivered=500) == "watch"
    assert level(0, 0) == "none"


def test_every_page_is_built_on_an_empty_store(tmp_path: Path) -> None:
    from dmarcview.store import Store

    with Store.open(tmp_path) as store:
        empty, view = Frames(store), url.View()
        papers = Papers(empty)
        assert not empty.any_report()
        assert "record-to-publish" in drawn(overview.no_data(("example.org",), "dmarc@example.org"))
        assert verdict.attention(empty.sources(view), empty.freshness(view)[1], {}) == []
        for frame in (empty.daily_shown(view), empty.own_daily(view)):
            drawn([overview.outcome_table(frame), overview.rate_table(frame), figures.rates(frame, "dark")])
        drawn(overview.tiles(verdict.totals(empty.daily(view)), verdict.Totals()))
        assert sources.rows(empty.sources(view), lambda d, i: d + i) == []
        assert reports.rows(papers.reports(view), str) == []
        assert papers.report("0" * 24) is None
        assert "Nothing has come in yet" in intake.words(papers.intake(view))
        assert "refused-none" in drawn(intake.refused(papers.refused(view), {}))
        for page in (overview, sources, reports, intake, reconcile, alerts):
            assert drawn(page.layout()).count('"type": "H1"') == 1


def test_the_numbers_of_the_overview_are_those_of_the_store(frames: Frames) -> None:
    from dmarcview import query

    view = url.View()
    since, until = frames.window(view)
    assert (until - since).days == 29
    assert until == TODAY - timedelta(days=2)  # yesterday's reports are not all in
    now = verdict.totals(frames.daily(view))
    asked = query.Filters(since=since, until=until + timedelta(days=1))
    stored = query.summary(frames.store, asked)
    assert now.messages == stored["messages"]
    tiles = drawn(overview.tiles(now, verdict.totals(frames.daily_before(view))))
    assert f'"data-value": "{now.own_fail}"' in tiles
    shown = frames.daily_shown(view)
    assert shown["day"].iloc[-1].date() == TODAY - timedelta(days=1)
    assert not shown["complete"].iloc[-1]
    assert int(shown["messages"].iloc[:-1].sum()) == now.messages


def test_filters_narrow_every_frame(frames: Frames) -> None:
    one = url.View(domain="example.net")
    assert set(frames.sources(one)["domain"]) == {"example.net"}
    assert set(Papers(frames).reports(one)["domain"]) == {"example.net"}
    own = verdict.totals(frames.daily(url.View(source_class="own")))
    every = verdict.totals(frames.daily(url.View()))
    assert 0 < own.messages < every.messages
    assert own.unknown == 0
    failing = frames.sources(url.View(result="fail"))
    assert int(failing["dmarc_pass"].sum()) == 0


def test_failing_sources_come_first_with_a_cause_and_an_action(frames: Frames) -> None:
    view = url.View()
    items = verdict.attention(frames.sources(view), frames.freshness(view)[1], frames.policies())
    assert 3 <= len(items) <= verdict.MOST_ITEMS
    assert items[0].source == ("example.com", "192.0.2.10")
    assert all(item.cause and item.action for item in items)
    assert any("smallbox.example stopped reporting" in item.title for item in items)
    assert any("posing as example.net" in item.title for item in items)


def test_frames_are_asked_once_a_version_and_refreshed_after_a_label(frames: Frames) -> None:
    view = url.View()
    first = frames.sources(view)
    assert frames.sources(view) is first
    frames.put_label("example.net", "203.0.113.90", "own", "a test")
    second = frames.sources(view)
    assert second is not first
    row = second[second["source_ip"] == "203.0.113.90"].iloc[0]
    assert row["source_class"] == "own"
    seen = frames.source(view, "example.net", "203.0.113.90")
    assert seen.label is not None
    assert seen.label["author"] == "a test"
    frames.forget_label("example.net", "203.0.113.90")
    assert frames.label("example.net", "203.0.113.90") is None


def test_hostile_names_are_capped_and_visible_on_every_page(frames: Frames) -> None:
    view = url.View()
    papers = Papers(frames)
    listed = papers.reports(view)
    key = str(listed.loc[listed["submitter"] == "evil.example", "report_key"].iloc[0])
    found = papers.report(key)
    assert found is not None
    xml = papers.xml(key)
    assert xml is not None
    everything = drawn(
        [
            reports.rows(listed, str),
            reports.cards(listed, str),
            report.body(found[0], found[1], "/raw"),
            report.raw(xml.decode()),
            sources.rows(frames.sources(view), lambda d, i: d),
            intake.refused(papers.refused(view), {}),
        ]
    )
    assert "\\u202e" not in everything
    assert "[U+202E]" in everything
    assert "dangerously" not in everything.lower()
    assert text.chart(HOSTILE_NAME).count("<") == 0


def test_a_forged_report_is_shown_and_does_not_count(frames: Frames) -> None:
    listed = Papers(frames).reports(url.View())
    forged = listed[listed["submitter"] == "stranger.example"].iloc[0]
    assert reports.standing(forged.to_dict())[0] == "! Unverified"
    assert "203.0.113.250" not in set(frames.sources(url.View())["source_ip"])


def test_a_doubted_report_counts_on_every_page_when_the_settings_say_so(frames: Frames) -> None:
    trusting = Frames(frames.store, doubtful=True)
    view, papers = url.View(), Papers(trusting)
    forged = papers.reports(view)[lambda f: f["submitter"] == "stranger.example"].iloc[0]
    assert forged["standing"] == "doubtful"
    assert "203.0.113.250" in set(trusting.sources(view)["source_ip"])
    more = verdict.totals(trusting.daily(view)).messages - verdict.totals(frames.daily(view)).messages
    assert more == int(forged["messages"])
    assert "do not count" not in reports.words(papers.reports(view))
    assert "as your settings say" in drawn(intake.tiles(papers.intake(view), trusting.doubtful))


def test_the_intake_of_chosen_days_ends_with_them(frames: Frames) -> None:
    papers, begin = Papers(frames), TODAY - timedelta(days=20)
    default = papers.intake(url.View())
    chosen = papers.intake(url.View(since=begin, until=begin + timedelta(days=4)))
    rest = papers.intake(url.View(since=begin + timedelta(days=5), until=TODAY))
    both = papers.intake(url.View(since=begin, until=TODAY))
    assert 0 < chosen.inputs < default.inputs
    assert chosen.inputs + rest.inputs == both.inputs
    assert (chosen.refused, rest.refused) == (0, default.refused)
    assert papers.refused(url.View(since=begin, until=begin + timedelta(days=4))).empty
    assert len(papers.refused(url.View(since=TODAY, until=TODAY))) == default.refused


def test_the_first_page_asks_each_question_once(frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    from dmarcview import query

    asked: list[tuple[Any, ...]] = []

    def noting(name: str, real: Any) -> Any:
        def noted(store: Any, *args: Any, **more: Any) -> Any:
            asked.append((name, *args, *more.items()))
            return real(store, *args, **more)

        return noted

    for name in ("daily", "domains", "sources", "reports"):
        monkeypatch.setattr(query, name, noting(name, getattr(query, name)))
    fresh, view = Frames(frames.store), url.View()
    fresh.warm()
    first = len(asked)
    for ask in (fresh.daily, fresh.daily_before, fresh.daily_shown, fresh.own_daily, fresh.sources, fresh.domains):
        ask(view)
    assert len(asked) == len(set(asked)) == first == 7  # daily of all, own and third party; domains twice; sources


def test_the_own_mail_of_the_rates_is_own_and_approved_together(frames: Frames) -> None:
    view = url.View()
    both, every = frames.own_daily(view), frames.daily_shown(view)
    assert list(both["day"]) == list(every["day"])
    assert list(both["messages"]) == list(every["own_pass"] + every["own_fail"] + every["unstated"])
    assert frames.own_daily(url.View(source_class="forwarder")).empty


def test_the_raw_xml_is_the_bytes_that_came(frames: Frames) -> None:
    papers = Papers(frames)
    key = str(papers.reports(url.View())["report_key"].iloc[-1])
    xml = papers.xml(key)
    assert xml is not None
    assert xml.startswith(b"<?xml")
    assert papers.xml("f" * 24) is None


def test_a_table_of_a_thousand_sources_is_cut_and_says_so(frames: Frames) -> None:
    one = frames.sources(url.View()).head(1)
    many = pd.concat([one.assign(source_ip=f"192.0.2.{i}") for i in range(2_500)], ignore_index=True)
    assert len(sources.rows(many, lambda d, i: d)) == sources.MOST_ROWS
    assert len(sources.cards(many, lambda d, i: d)) == sources.MOST_CARDS + 1
    assert "largest are shown" in sources.words(many)


# guard


def test_only_loopback_addresses_and_named_hosts_are_served() -> None:
    names = frozenset({"dmarc.example.org"})
    for host in ("127.0.0.1:8080", "localhost", "[::1]:8080", "dmarc.example.org", "DMARC.example.org:443"):
        assert guard.allowed_host(host, names)
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "", "[::1"):
        assert not guard.allowed_host(host, names)


@settings(max_examples=50)
@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_bars_and_changes_take_any_count(part: float, whole: float) -> None:
    drawn(parts.pass_bar("DMARC", min(part, whole), whole))
    drawn(overview._change(round(part), round(whole), 1, "up").component())  # type: ignore[union-attr]
