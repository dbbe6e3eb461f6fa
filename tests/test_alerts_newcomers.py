"""New senders: who counts as one, and who does not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from dmarcview.alerts.evaluate import evaluate
from dmarcview.alerts.model import Finding
from dmarcview.alerts.newcomers import MOST_SENDERS, OTHERS
from dmarcview.alerts.series import as_day
from dmarcview.config import read
from dmarcview.sources.refresh import refresh
from dmarcview.store.facts import Label
from dmarcview_reports.model import DkimResult, Shape, SpfResult
from tests.reconcile_world import seen, told, world
from tests.store_data import D0, DAY

TODAY = D0 // DAY + 60
NOW = TODAY * DAY + DAY // 2
OURS = ("192.0.2.1", 30, seen())


def mail(signer: str = "", envelope: str = "", spf: str = "fail") -> Shape:
    """Mail of somebody else in our name: signed by `signer`, with an `envelope` that SPF says this of."""
    signed = (DkimResult(signer, "s9", "pass", None),) if signer else ()
    checked = (SpfResult(envelope, "mfrom", spf, None),) if envelope else ()
    return Shape("none", False, False, (), (), "example.org", envelope or None, None, signed, checked)


def found(folder: Path, *reports: Any, since: int = 0, labels: Iterable[Label] = ()) -> list[Finding]:
    """New senders beside a host of ours that has sent from the day `since` on."""
    ours = [told(OURS, day=day) for day in range(since, 60)]
    with world(folder, [], [*ours, *reports], now=NOW) as store:
        config = read("", {}, folder)
        for label in labels:
            store.put_label(label)
        refresh(store, config, NOW, everything=True)
        return [one for one in evaluate(store, config, NOW) if one.kind == "new_source"]


def source(ip: str, messages: int, shape: Shape, ago: int = 5) -> Any:
    return told((ip, messages, shape), day=60 - ago, by="away.test")


def test_who_signs_for_itself_is_a_new_sender(tmp_path: Path) -> None:
    shape = mail("survey.example")
    (one,) = found(tmp_path, source("198.51.100.1", 8, shape), source("198.51.100.2", 4, shape, 3))
    assert (one.kind, one.cause, one.weight, one.failed) == ("new_source", "survey.example", 12, 12)
    assert (one.first_day, one.last_day) == (as_day(TODAY - 5), as_day(TODAY - 1))
    assert [(member.name, member.failed) for member in one.members] == [("198.51.100.1", 8), ("198.51.100.2", 4)]
    assert "12 messages from 2 addresses" in one.text
    assert "none of them pass DMARC" in one.text


def test_whose_envelope_passes_spf_is_a_new_sender_and_who_only_claims_one_is_not(tmp_path: Path) -> None:
    claims = [source(f"203.0.113.{n}", 9, mail(envelope=f"name{n}.example")) for n in range(20)]
    (one,) = found(tmp_path, source("198.51.100.1", 8, mail(envelope="survey.example", spf="pass")), *claims)
    assert (one.cause, one.weight) == ("survey.example", 8)


def test_addresses_that_nobody_stands_behind_are_no_senders(tmp_path: Path) -> None:
    assert found(tmp_path, *(source(f"203.0.113.{n}", 50, mail()) for n in range(20))) == []


def test_of_many_new_senders_the_busiest_are_told_and_the_others_together(tmp_path: Path) -> None:
    many = [source(f"203.0.113.{n}", 10 + n, mail(f"name{n:02}.example")) for n in range(40)]
    told_of = found(tmp_path, *many)
    assert len(told_of) == MOST_SENDERS + 1
    assert {one.cause for one in told_of} == {OTHERS, *(f"name{n}.example" for n in range(35, 40))}
    (rest,) = (one for one in told_of if one.cause == OTHERS)
    assert rest.weight == rest.failed == sum(10 + n for n in range(35))
    assert rest.members[0].name == "name34.example"
    assert "35 more new senders" in rest.text


def test_one_odd_report_of_years_ago_makes_nobody_an_old_friend(tmp_path: Path) -> None:
    shape = mail("survey.example")
    (one,) = found(tmp_path, source("198.51.100.1", 8, shape), source("198.51.100.1", 1, shape, ago=9_000))
    assert (one.cause, one.first_day, one.weight) == ("survey.example", as_day(TODAY - 5), 8)


def test_one_odd_report_of_years_ago_makes_no_domain_old(tmp_path: Path) -> None:
    odd = source("198.51.100.9", 1, mail(), ago=9_000)
    assert found(tmp_path, source("198.51.100.1", 8, mail("survey.example")), odd, since=50) == []


def test_a_day_that_is_not_over_does_not_count(tmp_path: Path) -> None:
    shape = mail("survey.example")
    assert found(tmp_path / "today", source("198.51.100.1", 8, shape, ago=0)) == []
    (one,) = found(tmp_path / "yesterday", source("198.51.100.1", 8, shape, 1), source("198.51.100.1", 8, shape, 0))
    assert (one.first_day, one.last_day, one.weight) == (as_day(TODAY - 1), as_day(TODAY - 1), 8)


def test_a_new_address_of_a_known_sender_is_no_news(tmp_path: Path) -> None:
    shape = mail("survey.example")
    assert found(tmp_path, source("198.51.100.1", 8, shape, 40), source("198.51.100.2", 8, shape, 2)) == []


@pytest.mark.parametrize("source_class", ["own", "unknown", "third_party", "forwarder"])
def test_who_has_a_label_is_no_news(source_class: str, tmp_path: Path) -> None:
    label = Label("ip", "198.51.100.1", source_class)
    assert found(tmp_path, source("198.51.100.1", 8, mail("survey.example")), labels=[label]) == []


def test_a_sender_of_few_messages_is_no_news(tmp_path: Path) -> None:
    assert found(tmp_path, source("198.51.100.1", 4, mail("survey.example"))) == []


def test_in_a_young_domain_nobody_is_new(tmp_path: Path) -> None:
    assert found(tmp_path, source("198.51.100.1", 8, mail("survey.example")), since=50) == []


def test_nobody_is_new_for_ever(tmp_path: Path) -> None:
    assert found(tmp_path, source("198.51.100.1", 8, mail("survey.example"), 15)) == []
