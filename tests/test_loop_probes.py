"""`dmarcview test loop`: probes are remembered, and the rows of reports that count them are found, to the message."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relay_sink import Sink
from test_probe import running

from dmarcview.library import Library
from dmarcview.reconcile.probe_words import known
from dmarcview.reconcile.probes import Followed, follow
from dmarcview.store import Store, probes
from dmarcview.store.probes import Probe
from dmarcview_relay.outcome import DEFERRED, FAILED
from tests.reconcile_world import NOW, RELAY, mails, seen, told, world
from tests.sent_data import LATER, NEVER
from tests.store_data import D0, DAY, records, report, shape, taken
from tests.store_postgres import fresh_database

HOUR = 3_600
PROBE = Probe(
    "0123456789ab", "Qprobe", D0 + 12 * HOUR, "postmaster@example.org", "example.org", "x@far.test", "far.test"
)


def probe_mail(**fields: Any) -> list[Any]:
    """The probe, delivered."""
    return mails(1, **({"queue_id": "Qprobe"} | fields))


def followed(folder: Path, deliveries: Sequence[Any], reports: Sequence[Any] = (), *, now: int = NOW) -> Followed:
    with world(folder, deliveries, reports, now=now) as store:
        probes.put(store.ledger, PROBE)
        found = follow(store)
    assert [one.probe for one in found] == [PROBE]
    return found[0]


def test_a_reported_probe_is_one_of_the_messages_of_its_row(tmp_path: Path) -> None:
    one = followed(
        tmp_path, [*mails(10), *probe_mail()], [told((RELAY, 11, seen()), ("198.51.100.7", 5, seen("fail")))]
    )
    assert (one.state, one.receiver, one.known_by, one.until) == ("reported", "far.test", "mx", None)
    (row,) = one.reports
    assert (row.messages, row.rows, row.source_ip, row.submitter) == (11, 1, RELAY, "far.test")
    assert (row.begin, row.end) == (D0, D0 + DAY)
    assert (row.dkim, row.spf, row.dmarc) == ((("pass", 11),), (("pass", 11),), (("pass", 11),))


def test_rows_that_differ_in_their_results_alone_are_counted_together_and_told_apart(tmp_path: Path) -> None:
    rows = (RELAY, 7, seen()), (RELAY, 2, seen("fail", "pass")), (RELAY, 1, seen("fail", "fail"))
    (row,) = followed(tmp_path, [*mails(9), *probe_mail()], [told(*rows)]).reports
    assert (row.messages, row.rows) == (10, 3)
    assert (row.dkim, row.spf) == ((("pass", 7), ("fail", 3)), (("pass", 9), ("fail", 1)))
    assert row.dmarc == (("pass", 9), ("fail", 1))


def test_rows_of_other_mail_are_not_the_probes(tmp_path: Path) -> None:
    others = [
        *mails(3, dkim=(("example.org", "other"),)),
        *mails(4, from_domain="shop.example.org"),
        *mails(5, host="mx.near.test", recipient_domain="near.test"),
    ]
    reports = [
        told((RELAY, 1, seen()), (RELAY, 3, seen(selector="other")), (RELAY, 4, seen(header_from="shop.example.org"))),
        told((RELAY, 5, seen()), by="near.test"),
        told((RELAY, 6, seen()), day=3),
    ]
    (row,) = followed(tmp_path, [*others, *probe_mail(), *mails(6, 3)], reports).reports
    assert (row.messages, row.submitter, row.begin) == (1, "far.test", D0)


def test_behind_nat_the_outer_address_is_named(tmp_path: Path) -> None:
    deliveries = [*mails(4, source="10.0.0.5"), *probe_mail(source="10.0.0.5")]
    one = followed(tmp_path, deliveries, [told(("203.0.113.80", 5, seen()))])
    assert (one.source, one.reports[0].source_ip, one.reports[0].messages) == ("10.0.0.5", "203.0.113.80", 5)


def test_a_second_signature_alone_counts_it_too(tmp_path: Path) -> None:
    both = (("example.org", "s1"), ("example.org", "e1"))
    one = followed(tmp_path, probe_mail(dkim=both), [told((RELAY, 1, seen(selector="e1")))])
    assert one.reports[0].messages == 1


def test_around_midnight_the_next_report_counts_it_unless_one_holds_it(tmp_path: Path) -> None:
    late = probe_mail(hour=23.97)
    after = told((RELAY, 1, seen()), day=1)
    (row,) = followed(tmp_path / "a", late, [after]).reports
    assert row.begin == D0 + DAY
    rows = followed(tmp_path / "b", [*late, *mails(3, 1)], [told((RELAY, 1, seen())), told((RELAY, 3, seen()), day=1)])
    assert [(row.begin, row.messages) for row in rows.reports] == [(D0, 1)]
    far = followed(tmp_path / "c", probe_mail(hour=12), [told((RELAY, 1, seen()), day=day) for day in (-2, 1)])
    assert far.state == "overdue"


def test_two_reports_of_one_period_are_both_told(tmp_path: Path) -> None:
    found = followed(tmp_path, [*mails(2), *probe_mail()], [told((RELAY, 1, seen())), told((RELAY, 2, seen()))])
    assert sorted(row.messages for row in found.reports) == [1, 2]
    assert len({row.report_key for row in found.reports}) == 2


def test_a_probe_is_awaited_until_its_receivers_own_lateness_is_over(tmp_path: Path) -> None:
    """Ten reports, each 50 hours after its day; the probe is sent on day 20."""
    past = [told((RELAY, 1, seen()), day=day, late=50 * HOUR) for day in range(10)]
    deliveries = [*[one for day in range(10) for one in mails(1, day)], *probe_mail(day=20)]
    until = D0 + 21 * DAY + 51 * HOUR
    soon = followed(tmp_path / "a", deliveries, past, now=until - 1)
    assert (soon.state, soon.until) == ("awaited", until)
    after = followed(tmp_path / "b", deliveries, past, now=until)
    assert (after.state, after.until) == ("overdue", until)
    came = followed(tmp_path / "c", deliveries, [*past, told((RELAY, 1, seen()), day=20, late=50 * HOUR)], now=until)
    assert (came.state, came.until) == ("reported", None)


def test_of_a_receiver_that_never_reported_none_is_expected(tmp_path: Path) -> None:
    one = followed(tmp_path, probe_mail(host="mx.mute.test", recipient_domain="mute.test"), [told((RELAY, 1, seen()))])
    assert (one.state, one.receiver, one.until, one.reports) == ("unexpected", "mute.test", None, ())


def test_before_its_delivery_the_last_try_is_told(tmp_path: Path) -> None:
    assert followed(tmp_path / "a", []).state == "waiting"
    tries = probe_mail(outcome=DEFERRED, reply=LATER)
    first = followed(tmp_path / "b", tries)
    assert (first.state, first.reply.startswith("451 4.7.1 Greylisted")) == ("deferred", True)
    assert followed(tmp_path / "c", [*tries, *probe_mail(hour=13)], [told((RELAY, 1, seen()))]).state == "reported"
    assert followed(tmp_path / "d", [*tries, *probe_mail(hour=13, outcome=FAILED, reply=NEVER)]).state == "failed"


def test_a_probe_that_the_relay_has_not_taken_is_not_sent_and_may_be_forgotten(tmp_path: Path) -> None:
    with world(tmp_path, [*mails(1), *probe_mail()]) as store:
        probes.put(store.ledger, PROBE._replace(queue_id=""))
        (one,) = follow(store)
        assert (one.state, one.reply) == ("not sent", "")
        assert known(one) == ["the relay has not said that it took it: it was stopped on the way"]
        probes.taken(store.ledger, PROBE.tag, PROBE.queue_id)
        assert [(one.state, one.probe) for one in follow(store)] == [("unexpected", PROBE)]
        probes.forget(store.ledger, PROBE.tag)
        assert follow(store) == []


def test_reports_that_nobody_vouches_for_count_only_when_asked(tmp_path: Path) -> None:
    with world(tmp_path, probe_mail()) as store:
        probes.put(store.ledger, PROBE)
        one = told((RELAY, 1, seen()))
        store.append_many([type(one)(one.origin, one.raw, one.reading, type(one.verdict)("fail", "made up"))])
        assert follow(store)[0].state == "unexpected"
        assert follow(store, verified=False)[0].state == "reported"
        assert store.probes(verified=False)[["tag", "state", "messages", "dkim"]].to_numpy().tolist() == [
            [PROBE.tag, "reported", 1, "pass 1"]
        ]


ROWS = st.lists(
    st.tuples(st.sampled_from([RELAY, "198.51.100.7", "203.0.113.9"]), st.integers(1, 10**9),
              st.builds(seen, st.sampled_from(["pass", "fail", None]), st.sampled_from(["pass", "fail"]),
                        header_from=st.sampled_from(["example.org", "shop.example.org"]))),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_the_number_of_its_messages_is_exact_in_whatever_order_and_however_often_reports_come(
    reports: Any, rng: Any
) -> None:
    reports = [[(RELAY, 1, seen()), *rows] for rows in reports]  # else another address might stand for the relay's
    papers = [told(*rows) for rows in reports]
    wanted = sorted(
        sum(n for ip, n, one in rows if ip == RELAY and one.header_from == "example.org") for rows in reports
    )
    again = list(papers)
    rng.shuffle(again)
    answers = []
    for order in (papers, [*again, *again]):
        with tempfile.TemporaryDirectory() as folder:
            answers.append(followed(Path(folder), [*mails(2), *probe_mail()], order).reports)
    assert answers[0] == answers[1]
    assert sorted(row.messages for row in answers[0]) == wanted
    for row in answers[0]:
        assert row.messages == sum(n for _, n in row.dkim) == sum(n for _, n in row.spf) == sum(n for _, n in row.dmarc)


def test_both_kinds_of_ledger_keep_probes_and_let_old_ones_go(tmp_path: Path, postgres: Callable[[], str]) -> None:
    for url in (None, fresh_database(postgres(), uuid.uuid4().hex)):
        with Library.open(tmp_path / uuid.uuid4().hex, url=url, clock=lambda: NOW) as store:
            newer = PROBE._replace(tag="b" * 12, at=PROBE.at + DAY)
            for one in (PROBE, newer):
                probes.put(store.ledger, one)
            assert probes.newest(store.ledger) == [newer, PROBE]
            assert probes.newest(store.ledger, 1) == [newer]
            assert probes.newest(store.ledger, tag=PROBE.tag) == [PROBE]
            assert probes.prune(store.ledger, PROBE.at + 2 * DAY, 0) == 0
            assert probes.prune(store.ledger, PROBE.at + 2 * DAY, 1) == 1
            assert probes.newest(store.ledger) == [newer]


# the command


def command(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "dmarcview", "test", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=180, check=False)


def far_report(tag: str) -> Any:
    """What far.test says of today's mail from loopback."""
    today = int(time.time()) // DAY * DAY
    signed = shape(signers=(("from.test", "sel", "pass"),), header_from="from.test")
    one = report(tag, records(("127.0.0.1", 3, signed)), submitter="far.test",
                 domain="from.test", begin=today, end=today + DAY)  # fmt: skip
    return taken(tag, one, received=int(time.time()))


def test_a_probe_is_sent_remembered_and_found_in_the_report_that_counts_it(tmp_path: Path) -> None:
    sink = Sink(keep=True)
    with running(tmp_path, sink) as config:
        done = command("loop", "someone@far.test", f"--config={config}", "--json")
        assert done.returncode == 0, done.stderr
        sent = json.loads(done.stdout)
        assert f"Subject: dmarcview test {sent['tag']}" in sink.mails[0].decode()
        assert (sent["state"], sent["receiver"], sent["reports"]) == ("unexpected", "far.test", [])
        assert sent["to"] != "someone@far.test", "recipients are hashed as in the log"
        text = command("loop", f"--config={config}").stdout
        assert f"{sent['tag']} to {sent['to']}" in text
        assert "far.test has sent no report on from.test yet: none may come" in text
        with Store.open(tmp_path) as store:
            store.append_many([far_report("r1")])
        text = command("loop", f"--config={config}").stdout
        assert ": reported" in text
        assert "from 127.0.0.1: 1 of the 3 messages of that row; DKIM pass, SPF fail, DMARC pass" in text
        (found,) = json.loads(command("loop", f"--config={config}", "--json").stdout)
        assert (found["state"], found["reports"][0]["messages"]) == ("reported", 3)


def test_with_wait_the_news_are_told_as_they_come(tmp_path: Path) -> None:
    with running(tmp_path, Sink()) as config:
        with Store.open(tmp_path) as store:  # far.test is known to report, so that its report is awaited
            before = far_report("r0")
            then = before.reading.reports[0].begin - 9 * DAY
            old = report("old", submitter="far.test", domain="from.test", begin=then, end=then + DAY)
            store.append_many([taken("old", old, received=int(time.time()) - 8 * DAY)])
        line = [sys.executable, "-m", "dmarcview", "test", "loop", "someone@far.test", f"--config={config}", "--wait"]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as waiting:
            assert waiting.stdout is not None
            said = ""
            for part in waiting.stdout:
                said += part
                if "at the latest" in part:
                    with Store.open(tmp_path) as store:
                        store.append_many([before])
            assert waiting.wait(60) == 0
    assert said.index(": awaited") < said.index(": reported")


def test_a_probe_that_waits_tells_why(tmp_path: Path) -> None:
    with running(tmp_path, Sink(defer=1.0)) as config:
        done = command("loop", "someone@far.test", f"--config={config}", "--seconds=2")
        assert done.returncode == 1
        assert "deferred" in done.stdout
        assert "451 4.3.0 later" in command("loop", f"--config={config}").stdout


@contextmanager
def falling_silent(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """A relay that closes the connection when it has the whole mail; gives settings, and the probes it finds then."""
    found: list[str] = []
    config = folder / "config.toml"

    def serve(door: socket.socket) -> None:
        talk, _ = door.accept()
        with talk, talk.makefile("rb") as lines:
            talk.sendall(b"220 relay.from.test\r\n")
            for line in lines:
                if line.startswith(b"DATA"):
                    talk.sendall(b"354 go on\r\n")
                elif line == b".\r\n":
                    with Store.open(folder) as store:
                        found.extend(one.queue_id for one in probes.newest(store.ledger))
                    return
                elif line.startswith((b"EHLO", b"MAIL", b"RCPT")):
                    talk.sendall(b"250 ok\r\n")

    with socket.create_server(("127.0.0.1", 0)) as door:
        config.write_text(
            f'[data]\ndir = "{folder}"\n[relay]\nhostname = "relay.from.test"\nsenders = ["@from.test"]\n'
            f'recipients = ["@far.test"]\nlisteners = [{{ port = {door.getsockname()[1]} }}]\n'
        )
        thread = threading.Thread(target=serve, args=(door,))
        thread.start()
        yield config, found
        thread.join(20)


def test_a_probe_is_remembered_before_the_relay_has_it(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with falling_silent(tmp_path) as (config, found):
        done = command("loop", "someone@far.test", f"--config={config}")
    assert found == [""]
    assert done.returncode == 2
    assert "the relay has the test and did not answer" in done.stderr
    text = command("loop", f"--config={config}").stdout
    assert ": not sent" in text
    assert "the relay has not said that it took it" in text


def test_without_a_relay_nothing_is_remembered(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    config = tmp_path / "config.toml"
    config.write_text(f'[data]\ndir = "{tmp_path}"\n[relay]\nsenders = ["@from.test"]\nrecipients = ["@far.test"]\n'
                      f"listeners = [{{ port = {port} }}]\n")  # fmt: skip
    done = command("loop", "someone@far.test", f"--config={config}")
    assert (done.returncode, "no relay answers" in done.stderr) == (2, True)
    assert "No probe was sent yet" in command("loop", f"--config={config}").stdout


def test_a_probe_that_the_relay_refuses_is_not_remembered(tmp_path: Path) -> None:
    with running(tmp_path, Sink()) as config:
        assert command("loop", "someone@else.test", f"--config={config}").returncode == 2
        assert "No probe was sent yet" in command("loop", f"--config={config}").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("loop", "a@b.test", "c@d.test"), "name one recipient"),
        (("loop", "a@b.test", "--local"), "made-up recipient of its own"),
        (("--wait", "a@b.test"), "of `dmarcview test loop`"),
        ((), "name the recipient"),
    ],
)
def test_wrong_use_is_said(words: tuple[str, ...], said: str) -> None:
    done = command(*words)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_loop_closes_on_this_machine() -> None:
    done = command("loop", "--local", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["fault"]) == (0, "")
    assert [one["name"] for one in told["steps"]] == ["start", "relay", "far host", "receiver", "store", "pages"]
    assert "dmarc=pass" in told["steps"][2]["found"]
    assert "1 of the 3 messages" in told["steps"][4]["found"]
