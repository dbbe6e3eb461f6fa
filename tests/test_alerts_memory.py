"""Incidents in the ledger: opened, changed, cleared, each once; acknowledged, muted; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select

from dmarcview.alerts import memory, plan, said
from dmarcview.alerts.explain import explained
from dmarcview.alerts.fleet import merged
from dmarcview.alerts.model import Finding, Member
from dmarcview.store import Store, incidents
from dmarcview.store.tables import mutes

NOW = 1_780_000_000
DAY = 86_400
ONE = Finding("dmarc_failing", "example.org", "192.0.2.20", date(2026, 5, 1), date(2026, 5, 3), 40, "40 of 50 failed.",
              40, 50, 0.01)  # fmt: skip
TWO = Finding("forged", "example.net", "wave", date(2026, 5, 2), date(2026, 5, 3), 900, "900 forged.")


@pytest.fixture
def store(ledger_url: str | None, tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data", url=ledger_url) as opened:
        yield opened


def test_an_incident_is_opened_once_and_remembered_until_it_clears(store: Store) -> None:
    first = memory.settle(store.ledger, [ONE, TWO], NOW)
    assert [(change.kind, change.incident.finding) for change in first] == [("opened", ONE), ("opened", TWO)]
    assert memory.settle(store.ledger, [TWO, ONE], NOW + 60) == []
    worse = replace(ONE, weight=60, failed=60, total=75, last_day=date(2026, 5, 4))
    assert [change.kind for change in memory.settle(store.ledger, [worse, TWO], NOW + 120)] == ["worse"]
    gone = memory.settle(store.ledger, [worse, replace(TWO, cleared=date(2026, 5, 3))], NOW + 180)
    assert [(change.kind, change.incident.ended) for change in gone] == [("cleared", NOW + 180)]
    open_now, ended = memory.listed(store.ledger, NOW + 200)
    assert (open_now.finding, open_now.known, open_now.changed, open_now.open) == (worse, NOW, NOW + 120, True)
    assert (ended.finding, ended.open) == (TWO, False)
    assert memory.listed(store.ledger, NOW, open_only=True) == [open_now]


def test_what_ended_before_anybody_looked_is_remembered_once(store: Store) -> None:
    past = replace(ONE, first_day=date(2026, 4, 1), last_day=date(2026, 4, 5), fired=date(2026, 4, 2),
                   cleared=date(2026, 4, 5))  # fmt: skip
    for _ in range(2):
        assert [change.incident.finding for change in memory.settle(store.ledger, [past], NOW)] == []
    (one,) = memory.listed(store.ledger, NOW)
    assert (one.finding, one.known, one.ended) == (past, 1_775_174_400, 1_775_433_600)
    memory.settle(store.ledger, [ONE], NOW)
    memory.settle(store.ledger, [replace(ONE, cleared=date(2026, 5, 3)), past], NOW + 60)
    assert [(one.finding.first_day, one.open) for one in memory.listed(store.ledger, NOW)] == [
        (date(2026, 5, 1), False), (date(2026, 4, 1), False)]  # fmt: skip


def test_a_cause_that_comes_back_is_a_new_incident(store: Store) -> None:
    memory.settle(store.ledger, [ONE], NOW)
    memory.settle(store.ledger, [], NOW + 1)
    memory.settle(store.ledger, [ONE], NOW + 2)
    assert [one.open for one in memory.listed(store.ledger, NOW)] == [True, False]


def test_a_cause_whose_name_sharpens_stays_the_same_incident(store: Store) -> None:
    vague = replace(ONE, cause="several senders")
    memory.settle(store.ledger, [vague], NOW)
    (change,) = memory.settle(store.ledger, [replace(ONE, weight=39)], NOW + 1)
    assert (change.kind, change.incident.finding.cause) == ("better", "192.0.2.20")
    assert change.incident.finding.fingerprint == vague.fingerprint
    assert len(memory.listed(store.ledger, NOW)) == 1


def test_two_new_causes_are_not_taken_for_the_old_one(store: Store) -> None:
    memory.settle(store.ledger, [replace(ONE, cause="192.0.2.1")], NOW)
    changes = memory.settle(store.ledger, [ONE, replace(ONE, cause="192.0.2.21")], NOW + 1)
    assert sorted(change.kind for change in changes) == ["opened", "opened", "usual"]


def test_another_sender_that_fails_is_not_taken_for_the_first(store: Store) -> None:
    memory.settle(store.ledger, [replace(ONE, cause="192.0.2.1")], NOW)
    changes = memory.settle(store.ledger, [ONE], NOW + 1)
    assert sorted(change.kind for change in changes) == ["opened", "usual"]


def test_what_a_graver_finding_explains_stays_open_and_opens_nothing(store: Store) -> None:
    memory.settle(store.ledger, [ONE], NOW)
    key = replace(ONE, kind="key_missing", cause="selector s1 of example.org")
    silenced = [replace(ONE, weight=90, explained_by=key.title), replace(TWO, explained_by=key.title)]
    changes = memory.settle(store.ledger, [key], NOW + 1, explained=silenced)
    assert {(change.kind, change.incident.finding.kind) for change in changes} == {
        ("changed", "dmarc_failing"), ("opened", "key_missing")}  # fmt: skip
    kept = next(one for one in memory.listed(store.ledger, NOW) if one.finding.kind == "dmarc_failing")
    assert (kept.open, kept.finding.weight, kept.finding.explained_by) == (True, 40, key.title)
    assert "forged" not in {one.finding.kind for one in memory.listed(store.ledger, NOW)}


def test_what_another_finding_tells_now_has_not_cleared(store: Store) -> None:
    spf = replace(ONE, kind="spf_failing")
    wave = replace(TWO, cause="survey.example")
    memory.settle(store.ledger, [spf, wave], NOW)
    dmarc = replace(ONE, members=(Member("SPF of 192.0.2.20", 40, 50),))
    new = replace(wave, kind="new_source")
    changes = memory.settle(store.ledger, [dmarc, new], NOW + 1)
    assert sorted(change.kind for change in changes) == ["opened", "opened", "taken_up", "taken_up"]
    fleet = replace(dmarc, domain="", members=(Member("example.org", 40, 50), Member("a.example", 1, 2)))
    changes = memory.settle(store.ledger, [fleet, new], NOW + 2)
    assert sorted(change.kind for change in changes) == ["opened", "taken_up"]


MANY = [replace(ONE, domain=f"d{n:03}.example", weight=900 - n, failed=40) for n in range(150)]


@pytest.mark.parametrize("kind", ["dmarc_failing", "spf_failing", "bypass", "not_sent", "forged"])
def test_of_a_cause_of_more_domains_than_are_listed_none_is_said_to_have_ended(store: Store, kind: str) -> None:
    found = [replace(one, kind=kind) for one in MANY]
    memory.settle(store.ledger, found, NOW)
    changes = memory.settle(store.ledger, merged(found), NOW + 1)
    assert Counter(change.kind for change in changes) == {"taken_up": 150, "opened": 1}
    changes = memory.settle(store.ledger, found[:2], NOW + 2)
    assert Counter(change.kind for change in changes) == {"taken_up": 1, "opened": 2}


def test_what_one_of_dmarc_over_many_domains_has_taken_up_has_not_ended(store: Store) -> None:
    spf = [replace(one, kind="spf_failing") for one in MANY]
    dmarc = [replace(one, members=(Member("SPF of 192.0.2.20", 40, 50),)) for one in MANY]
    memory.settle(store.ledger, spf[120:], NOW)
    changes = memory.settle(store.ledger, merged(dmarc), NOW + 1)
    assert Counter(change.kind for change in changes) == {"taken_up": 30, "opened": 1}
    memory.settle(store.ledger, merged(spf), NOW + 2)
    changes = memory.settle(store.ledger, merged(dmarc), NOW + 3)
    assert Counter(change.kind for change in changes) == {"taken_up": 1, "opened": 1}


def test_a_domain_that_clears_with_many_others_has_cleared(store: Store) -> None:
    memory.settle(store.ledger, MANY[140:142], NOW)
    over = merged([replace(one, cleared=date(2026, 5, 3)) for one in MANY])
    assert {change.kind for change in memory.settle(store.ledger, over, NOW + 1)} == {"cleared"}


def test_what_was_learned_has_not_cleared(store: Store) -> None:
    memory.settle(store.ledger, [ONE], NOW)
    (change,) = memory.settle(store.ledger, [], NOW + 1)
    assert (change.kind, change.incident.outcome) == ("usual", "usual")


def test_who_judged_older_rows_does_not_undo_what_newer_ones_said(store: Store) -> None:
    memory.settle(store.ledger, [ONE], NOW, version=8)
    assert memory.settle(store.ledger, [TWO], NOW + 1, version=7) == []
    assert [one.finding for one in memory.listed(store.ledger, NOW, open_only=True)] == [ONE]
    assert len(memory.settle(store.ledger, [ONE, TWO], NOW + 2, version=8)) == 1


def test_what_ended_before_all_that_is_kept_is_not_remembered(store: Store) -> None:
    past = replace(ONE, first_day=date(2026, 4, 1), last_day=date(2026, 4, 5), cleared=date(2026, 4, 5))
    memory.settle(store.ledger, [past], NOW, keep_days=30)
    assert memory.listed(store.ledger, NOW) == []


def test_findings_of_other_kinds_keep_their_names(store: Store) -> None:
    memory.settle(store.ledger, [TWO], NOW)
    changes = memory.settle(store.ledger, [replace(TWO, cause="another")], NOW + 1)
    assert sorted(change.kind for change in changes) == ["opened", "usual"]


def test_who_has_seen_it_and_who_does_not_want_to_hear_of_it_is_kept(store: Store) -> None:
    (change,) = memory.settle(store.ledger, [ONE], NOW)
    number, seen = change.incident.id, incidents.version(store.ledger)
    assert incidents.acknowledge(store.ledger, number, author="ann", note="DNS is being mended", now=NOW + 5)
    assert not incidents.acknowledge(store.ledger, number + 99, author="ann", note="", now=NOW)
    incidents.mute(store.ledger, ONE.fingerprint, NOW + DAY, author="ann", note="", now=NOW)
    one = memory.one(store.ledger, number, NOW + 10)
    assert one is not None
    assert (one.acked, one.acked_by, one.note, one.muted_until) == (NOW + 5, "ann", "DNS is being mended", NOW + DAY)
    assert incidents.version(store.ledger) > seen
    later = memory.one(store.ledger, number, NOW + DAY)
    assert later is not None
    assert later.muted_until is None
    memory.settle(store.ledger, [], NOW + 20)
    (again,) = memory.settle(store.ledger, [ONE], NOW + 30)
    assert (again.incident.acked, again.incident.muted_until) == (None, NOW + DAY)
    incidents.mute(store.ledger, ONE.fingerprint, 0, author="ann", note="", now=NOW + 40)
    found = memory.one(store.ledger, again.incident.id, NOW + 41)
    assert found is not None
    assert found.muted_until is None


def test_what_comes_to_ask_for_action_is_acknowledged_no_more_and_due_again(store: Store) -> None:
    day = date(2026, 5, 1)
    changed = Finding("record_changed", "example.org", "SPF record at example.org", day, day, 1, "Anew.", usual=0.0)
    failing = replace(ONE, weight=900, failed=900, total=1_000, members=(Member("SPF of 192.0.2.20", 900, 1_000),))
    ledger, later = store.ledger, NOW + 3 * 3_600
    (change,) = memory.settle(ledger, [changed], NOW)
    number = change.incident.id
    incidents.ask(ledger, [(number, "opened", "mail", 1)], NOW + 900)
    incidents.tried(ledger, incidents.due(ledger, NOW + 900)[0].id, now=NOW + 900, error="", again=None)
    incidents.acknowledge(ledger, number, author="ann", note="it was me", now=NOW + 1_000)
    memory.settle(ledger, [replace(changed, weight=2)], NOW + 2_000)
    assert memory.listed(ledger, NOW)[0].acked is not None, "two changes are no graver"
    told, silenced = explained([changed, failing])
    memory.settle(ledger, told, later, explained=[replace(one.finding, explained_by=one.by.title) for one in silenced])
    ((row, notices),) = incidents.about(ledger, later, later - DAY)
    assert (row.level, row.acked, row.note) == ("act", None, "it was me")
    assert plan.due(row, notices, later) == "worse"
    found = memory.listed(ledger, later, open_only=True)
    assert said.verdict(found) == "1 incident asks for action."
    assert said.counts(found[0].finding) == "900 of 1,000 (90.0 %)"
    incidents.acknowledge(ledger, number, author="ann", note="mending", now=later)
    memory.settle(ledger, [replace(told[0], weight=950)], later + 60)
    assert memory.listed(ledger, NOW)[0].acked == later, "this is known now, however it grows"


def test_hostile_text_is_kept_on_both_kinds_of_ledger(store: Store) -> None:
    memory.settle(store.ledger, [replace(TWO, domain="a\x00b", cause="x\ud800y", text="\x00\u202e")], NOW)
    assert memory.settle(store.ledger, [replace(TWO, domain="a\x00b", cause="x\ud800y", text="\x00\u202e")], NOW) == []
    (one,) = memory.listed(store.ledger, NOW)
    assert one.finding.cause == "x\ud800y"
    incidents.mute(store.ledger, one.finding.fingerprint, NOW + DAY, author="a\x00", note="\x00", now=NOW)
    (one,) = memory.listed(store.ledger, NOW)
    assert one.muted_until == NOW + DAY


def test_the_outbox_keeps_what_is_to_be_told_until_it_was(store: Store) -> None:
    incidents.ask(store.ledger, [(1, "opened", "mail", 40), (None, "digest", "mail", 0)], NOW)
    first, second = incidents.due(store.ledger, NOW)
    incidents.tried(store.ledger, first.id, now=NOW + 1, error="421 try later", again=NOW + 60)
    incidents.tried(store.ledger, second.id, now=NOW + 1, error="", again=None)
    assert incidents.due(store.ledger, NOW + 30) == []
    (again,) = incidents.due(store.ledger, NOW + 60)
    assert (again.id, again.tries, again.error, again.done) == (first.id, 1, "421 try later", None)
    incidents.tried(store.ledger, first.id, now=NOW + 61, error="550 no", again=None)
    assert incidents.due(store.ledger, NOW + DAY) == []
    (told,) = incidents.told(store.ledger, 1)
    assert (told.done, told.error, told.tries, told.weight) == (NOW + 61, "550 no", 2, 40)
    assert [note.kind for note in incidents.told(store.ledger, None)] == ["digest"]


def test_ended_incidents_leave_after_their_time_and_open_ones_never(store: Store) -> None:
    memory.settle(store.ledger, [ONE, TWO], NOW)
    memory.settle(store.ledger, [ONE], NOW + 1)
    assert incidents.prune(store.ledger, NOW + 5 * DAY, 0) == 0
    assert incidents.prune(store.ledger, NOW + 5 * DAY, 4) == 1
    assert [one.finding for one in memory.listed(store.ledger, NOW)] == [ONE]


@pytest.mark.parametrize("days", [0, 30])
def test_a_mute_that_is_over_leaves_though_all_incidents_are_kept(store: Store, days: int) -> None:
    for name, until in (("over", NOW + 1), ("runs", NOW + DAY)):
        incidents.mute(store.ledger, name, until, author="ann", note="", now=NOW)
    incidents.prune(store.ledger, NOW + 60, days)
    with store.ledger.read() as conn:
        assert list(conn.execute(select(mutes.c.fingerprint)).scalars()) == ["runs"]
