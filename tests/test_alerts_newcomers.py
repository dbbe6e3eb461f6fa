"""New senders: who counts as one, and who does not."""

from __future__ import annotations

from dmarcview.alerts.newcomers import Source, findings
from dmarcview.alerts.series import as_day

TODAY = 20_700
DAY = 86_400
OLD = Source("example.org", "192.0.2.1", "own", "rule", None, None, None, (TODAY - 90) * DAY, 900, 900, 900, 900)


def source(ip: str = "198.51.100.1", *, age: int = 5, messages: int = 8, signature: str | None = "survey.example",
           source_class: str = "unknown", by: str = "rule", service: str | None = None) -> Source:  # fmt: skip
    return Source("example.org", ip, source_class, by, service, signature, None, (TODAY - age) * DAY + 3600, messages,
                  0, 0, 0)  # fmt: skip


def test_a_service_that_signs_for_itself_is_a_new_sender() -> None:
    (found,) = findings([OLD, source(), source("198.51.100.2", age=3, messages=4)], TODAY, 5)
    assert (found.kind, found.cause, found.weight, found.failed) == ("new_source", "survey.example", 12, 12)
    assert (found.first_day, found.last_day) == (as_day(TODAY - 5), as_day(TODAY - 1))
    assert [member.name for member in found.members] == ["198.51.100.1", "198.51.100.2"]
    assert "none of them pass DMARC" in found.text


def test_addresses_that_nobody_stands_behind_are_no_senders() -> None:
    forgers = [source(f"203.0.113.{n}", signature=None, messages=50) for n in range(20)]
    assert findings([OLD, *forgers], TODAY, 5) == []


def test_a_new_address_of_a_known_sender_is_no_news() -> None:
    assert findings([OLD, source(age=60), source("198.51.100.2", age=2)], TODAY, 5) == []


def test_a_sender_with_few_messages_or_a_label_or_one_of_ours_is_no_news() -> None:
    assert findings([OLD, source(messages=4)], TODAY, 5) == []
    assert findings([OLD, source(by="user")], TODAY, 5) == []
    assert findings([OLD, source(source_class="own")], TODAY, 5) == []
    assert findings([OLD, source(source_class="forwarder")], TODAY, 5) == []


def test_in_a_young_domain_nobody_is_new() -> None:
    assert findings([OLD._replace(first_seen=(TODAY - 10) * DAY), source()], TODAY, 5) == []


def test_nobody_is_new_for_ever() -> None:
    assert findings([OLD, source(age=15)], TODAY, 5) == []
