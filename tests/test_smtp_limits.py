"""No client, and no crowd of them, keeps others from being served."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from smtp_talk import RUA, Talk, running

from dmarcview_smtp.gate import Gate, client_key, plain_address
from dmarcview_smtp.replies import TOO_BUSY, TOO_MANY_FROM_CLIENT
from dmarcview_smtp.settings import DoorSettings

QUICK = {"greeting_wait": 0, "linger_seconds": 0.3}


def test_one_client_may_not_have_all_connections(tmp_path: Path) -> None:
    with running(tmp_path, limits=DoorSettings(connections_per_client=3, **QUICK)) as site:
        held = [Talk(site.port) for _ in range(3)]
        for talk in held:
            talk.hello()
        with Talk(site.port) as talk:
            assert talk.reply() == "421 4.7.0 Too many connections from your address"
            assert talk.closed()
        with Talk(site.port, source="127.0.0.2") as other:
            assert other.reply().startswith("220 ")
        held.pop().sock.close()
        time.sleep(0.1)
        with Talk(site.port) as talk:
            assert talk.reply().startswith("220 ")
        for talk in held:
            talk.sock.close()


def test_there_is_a_limit_for_all_together(tmp_path: Path) -> None:
    with running(tmp_path, limits=DoorSettings(connections=2, **QUICK)) as site:
        with Talk(site.port) as one, Talk(site.port) as two, Talk(site.port, source="127.0.0.3") as three:
            one.hello()
            two.hello()
            assert three.reply() == "421 4.3.2 Too many connections, try again later"
            assert one.ask("NOOP").startswith("250")
        time.sleep(0.1)
        assert site.receiver.connections == 0


def test_an_ipv6_client_is_its_network_of_64_bits() -> None:
    gate = Gate(DoorSettings(connections_per_client=1))
    assert gate.admit(client_key("2001:db8:0:1::1")) is None
    assert gate.admit(client_key("2001:db8:0:1:ffff::2")) == TOO_MANY_FROM_CLIENT
    assert gate.admit(client_key("2001:db8:0:2::1")) is None
    gate.dismiss(client_key("2001:db8:0:1::1"))
    assert gate.admit(client_key("2001:db8:0:1:ffff::2")) is None
    assert plain_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"


def test_the_gate_forgets_who_left() -> None:
    gate = Gate(DoorSettings(connections=1))
    assert gate.enter() is None
    assert gate.enter() == TOO_BUSY
    gate.leave()
    gate.leave()
    assert gate.enter() is None


def test_an_idle_client_is_told_421_and_cut(tmp_path: Path) -> None:
    with running(tmp_path, limits=DoorSettings(idle_seconds=0.4, **QUICK)) as site, Talk(site.port) as talk:
        talk.hello()
        began = time.monotonic()
        assert talk.reply() == "421 4.4.2 Timeout, closing"
        assert 0.2 < time.monotonic() - began < 2
        assert talk.closed()


def test_a_command_that_comes_byte_by_byte_does_not_stretch_the_wait(tmp_path: Path) -> None:
    with running(tmp_path, limits=DoorSettings(idle_seconds=0.6, **QUICK)) as site, Talk(site.port) as talk:
        talk.hello()
        began = time.monotonic()
        with pytest.raises((ConnectionError, BrokenPipeError)):  # noqa: PT012 (which send fails is the kernel's choice)
            for _ in range(100):
                talk.send(b"N")
                time.sleep(0.05)
        assert time.monotonic() - began < 2


def test_a_session_has_an_end(tmp_path: Path) -> None:
    with running(tmp_path, limits=DoorSettings(session_seconds=0.6, **QUICK)) as site, Talk(site.port) as talk:
        talk.hello()
        answers = []
        for _ in range(50):
            answers.append(talk.ask("NOOP")[:9])
            if answers[-1].startswith("421"):
                break
            time.sleep(0.05)
        assert answers[-1] == "421 4.4.2"


@pytest.mark.parametrize(
    ("limits", "pause"),
    [
        ({"data_idle_seconds": 0.4}, 10.0),
        ({"data_seconds": 0.6}, 0.05),
        ({"data_grace_seconds": 0.4, "data_bytes_per_second": 1000}, 0.05),
    ],
    ids=["silence", "too long in all", "one byte at a time"],
)
def test_a_mail_must_make_progress(tmp_path: Path, limits: dict[str, float], pause: float) -> None:
    with running(tmp_path, limits=DoorSettings(**limits, **QUICK)) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        talk.ask("DATA")
        began = time.monotonic()
        talk.sock.settimeout(pause)
        while time.monotonic() - began < 5:
            try:
                talk.send(b"x")
                if b"421" in talk.line():
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert 0.3 < time.monotonic() - began < 3
        time.sleep(0.1)
        assert site.mails() == []
        assert site.receiver.counters["timeout"] == 1


def test_a_slow_but_honest_mail_is_taken(tmp_path: Path) -> None:
    limits = DoorSettings(data_grace_seconds=0.3, data_bytes_per_second=1000, idle_seconds=0.5, **QUICK)
    with running(tmp_path, limits=limits) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        talk.ask("DATA")
        for _ in range(15):
            talk.send(b"x" * 198 + b"\r\n")
            time.sleep(0.1)
        talk.send(b".\r\n")
        assert talk.reply().startswith("250 ")


def test_a_client_that_never_reads_is_cut(tmp_path: Path) -> None:
    with (
        running(tmp_path, limits=DoorSettings(idle_seconds=0.5, commands=10**9, **QUICK)) as site,
        Talk(site.port) as talk,
    ):
        talk.hello()
        talk.sock.settimeout(3)
        with pytest.raises(OSError):  # noqa: PT011, PT012 (reset, broken pipe, or time-out of our own send)
            while True:
                talk.send(b"NOOP\r\n" * 10_000)
        time.sleep(0.5)
        assert site.receiver.connections == 0


def test_slow_clients_do_not_slow_the_others(tmp_path: Path) -> None:
    limits = DoorSettings(connections_per_client=400, **QUICK)
    with running(tmp_path, limits=limits) as site:
        slow = [Talk(site.port, source=f"127.0.1.{at % 200 + 1}") for at in range(300)]
        for talk in slow:
            talk.hello()
            talk.send(
                b"MAIL FRO" if talk is slow[0] else f"MAIL FROM:<a@c.test>\r\nRCPT TO:<{RUA}>\r\nDATA\r\nx".encode()
            )
        began = time.monotonic()
        with Talk(site.port) as talk:
            talk.hello()
            talk.envelope()
            assert talk.data(b"a: b\r\n\r\nx\r\n.\r\n").startswith("250")
        assert time.monotonic() - began < 1
        for talk in slow:
            talk.sock.close()


def test_at_the_stop_idle_clients_are_told_and_a_mail_under_way_is_finished(tmp_path: Path) -> None:
    import threading

    with running(tmp_path) as site, Talk(site.port) as idle, Talk(site.port) as busy:
        idle.hello()
        busy.hello()
        busy.envelope()
        busy.ask("DATA")
        busy.send(b"a: b\r\n\r\n")
        stop = threading.Thread(target=site.stop)
        stop.start()
        assert idle.reply() == "421 4.3.2 Shutting down, try again later"
        busy.send(b"x\r\n.\r\n")
        assert busy.reply().startswith("250 ")
        assert busy.reply() == "421 4.3.2 Shutting down, try again later"
        stop.join()
        assert len(site.mails()) == 1
