"""Questions about what was sent: filters, searches, totals; in the library, as a command, on both kinds of ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

import dmarcview
from dmarcview import query
from dmarcview.cli import main
from dmarcview.library import Library
from dmarcview.query.sent import totals
from dmarcview.store import sent
from dmarcview_relay.envelope import Mail, Recipient
from dmarcview_relay.outcome import DEFERRED, DELIVERED, EXPIRED, FAILED, RemoteReply
from dmarcview_relay.queue import Queue, Settled
from dmarcview_smtp.address import Address
from tests.sent_data import LATER, NEVER, attempt
from tests.store_data import D0, DAY

ROWS = [
    attempt(at=D0 + 10),
    attempt(at=D0 + 20.7, queue_id="Q2", message_id="<m2@example.org>", outcome=DEFERRED, reply=LATER),
    attempt(at=D0 + DAY + 5, queue_id="Q2", message_id="<m2@example.org>", tries=2, outcome=FAILED, reply=NEVER),
    attempt(at=D0 + DAY + 5, queue_id="Q3", message_id="", from_domain="example.com", dkim=(), sender="",
            recipient="bob@far.example", recipient_domain="far.example", outcome=EXPIRED,
            reply=RemoteReply(0, "", "no host could be reached", "connect", said=False)),
    attempt(at=D0 + 3 * DAY, queue_id="Q4", message_id="<m4@example.org>"),
]  # fmt: skip


@pytest.fixture
def store(ledger_url: str | None, tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "data", url=ledger_url) as opened:
        sent.append(opened.ledger, "r1", list(enumerate(ROWS, 1)))
        yield opened


def ids(frame: pd.DataFrame) -> list[str]:
    return frame["queue_id"].tolist()


def test_rows_come_newest_first_with_every_fact(store: Library) -> None:
    found = query.sent(store)
    assert found["row"].tolist() == ["r1-5", "r1-4", "r1-3", "r1-2", "r1-1"]
    first = found.iloc[-1]
    assert first["at"] == pd.Timestamp(D0 + 10, unit="s", tz="UTC")
    assert first["dkim"] == "example.org/s1 example.org/e1"
    assert (first["dkim_domain"], first["dkim_selector"]) == ("example.org", "s1")
    assert (first["host"], first["tls_trust"], first["code"], first["said"]) == (
        "mx.example.net",
        "verified",
        250,
        True,
    )
    assert found.iloc[3]["reply"] == "Greylisted, please\ncome back later"
    assert found.iloc[1]["dkim"] == ""


def test_each_filter_chooses_its_rows(store: Library) -> None:
    def asked(**fields: object) -> list[str]:
        return ids(query.sent(store, query.Sent(**fields)))

    assert asked(domains=("Example.com.",)) == ["Q3"]
    assert asked(domains=()) == []
    assert asked(to="Far.Example.") == ["Q3"]
    assert asked(outcome=DEFERRED) == ["Q2"]
    assert asked(since=date(2026, 1, 2), until=date(2026, 1, 3)) == ["Q3", "Q2"]
    assert asked(until=date(2026, 1, 2)) == ["Q2", "Q1aaaaaaaaaa"]
    assert asked(outcome=DELIVERED, since=date(2026, 1, 2), domains=("example.org",)) == ["Q4"]
    with pytest.raises(ValueError, match="outcome is one of"):
        query.Sent(outcome="lost")


def test_a_search_finds_ids_senders_and_recipients_whole(store: Library) -> None:
    def search(text: str, hashed: str | None = None) -> list[str]:
        return ids(query.sent(store, query.Sent(search=text, hashed=hashed)))

    assert search("Q2") == ["Q2", "Q2"]
    assert search("Q") == []
    assert search("<m4@example.org>") == search(" m4@example.org ") == ["Q4"]
    assert search("bob@far.example") == ["Q3"]
    assert search("news@example.org") == ["Q4", "Q2", "Q2", "Q1aaaaaaaaaa"]
    assert search("ann@example.net", attempt().recipient) == ["Q4", "Q2", "Q2", "Q1aaaaaaaaaa"]
    assert search("ann@example.net") == []
    assert search("' or 1=1 --") == []
    assert search("%") == []


def test_one_row_is_found_by_its_name_and_no_other_text_breaks(store: Library) -> None:
    assert ids(query.sent(store, row="r1-4")) == ["Q3"]
    for name in ("r1-99", "r2-4", "4", "", "r1-", "r1-x", "r1-" + "9" * 40, "r1-\u0664"):
        assert query.sent(store, row=name).empty


def test_totals_by_day_and_outcome(store: Library) -> None:
    found = query.sent_daily(store)
    assert [f"{day:%Y-%m-%d}" for day in found["day"]] == ["2026-01-01", "2026-01-02", "2026-01-04"]
    assert found[[DELIVERED, DEFERRED, FAILED, EXPIRED]].to_numpy().tolist() == [
        [1, 1, 0, 0],
        [0, 0, 1, 1],
        [1, 0, 0, 0],
    ]
    assert totals(found) == {DELIVERED: 2, DEFERRED: 1, FAILED: 1, EXPIRED: 1, "ended": 4}
    only = query.sent_daily(store, query.Sent(domains=("example.com",)))
    assert (len(only), int(only[EXPIRED].sum())) == (1, 1)
    none = query.sent_daily(store, query.Sent(to="nobody.example"))
    assert none.empty
    assert totals(none)["ended"] == 0
    assert none["day"].dtype == found["day"].dtype


def test_domains_and_whether_there_is_anything(store: Library, tmp_path: Path) -> None:
    assert query.sent_domains(store) == ["example.com", "example.org"]
    assert query.sent_any(store)
    with Library.open(tmp_path / "empty") as empty:
        assert query.sent_domains(empty) == []
        assert not query.sent_any(empty)
        assert query.sent(empty).empty


@pytest.mark.parametrize("alone", [True, False], ids=["the relay runs alone", "there is a store"])
def test_the_command_takes_what_the_relay_has_logged_and_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, alone: bool
) -> None:
    if not alone:
        with Library.open(tmp_path) as opened:
            sent.append(opened.ledger, "old", [(1, attempt(at=D0))])

    async def relay() -> str:
        queue = Queue(tmp_path / "relay", reserve=0)
        recipient = Address("bob", "far.example")
        queued = await queue.put(Mail(None, (Recipient(recipient),), 1.0, 4), b"x\r\n.")
        tried = attempt(
            queue_id=queued.id, recipient=queue.logged(recipient, plain=False), recipient_domain="far.example",
            outcome=FAILED, reply=RemoteReply(550, "5.1.1", "No such user \x1b[31m\nSee https://far.example/1", "rcpt"),
        )  # fmt: skip
        await queue.settle(queued, [Settled(queued.tickets[0], tried)])
        await asyncio.to_thread(queue.close)
        return queued.id

    id = asyncio.run(relay())  # noqa: A001 - its name in the log
    data = ["--data", str(tmp_path)]
    assert main(["sent", *data]) == 0
    out = capsys.readouterr().out
    assert id in out
    assert ("delivered" in out) is not alone
    assert "\x1b[31m" not in out
    assert main(["sent", "bob@far.example", *data]) == 0
    out = capsys.readouterr().out
    assert "they said" in out
    assert "See https://far.example/1" in out
    assert main(["sent", "bob@far.example", "--json", *data]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["queue_id"], row["code"], row["outcome"]) == (id, 550, "failed")
    assert "bob" not in row["recipient"]
    assert main(["sent", "--daily", "--json", *data]) == 0
    assert json.loads(capsys.readouterr().out)[0] == {
        "day": "2026-01-01", "delivered": 0 if alone else 1, "deferred": 0, "failed": 1, "expired": 0,
    }  # fmt: skip
    assert main(["sent", "--to", "nobody.example", *data]) == 0
    assert "Nothing was sent" in capsys.readouterr().out
    assert main(["sent", "--since", "soon", *data]) == 2
    assert main(["sent", "--data", str(tmp_path / "none")]) == 2


def test_the_library_gives_all_rows_as_a_frame(tmp_path: Path) -> None:
    with Library.open(tmp_path) as opened:
        sent.append(opened.ledger, "r1", [(n, attempt(at=D0 + n)) for n in range(1, 120)])
    with dmarcview.open(tmp_path) as opened:
        assert len(opened.sent()) == 119
        assert len(opened.sent(query.Sent(outcome=FAILED))) == 0
