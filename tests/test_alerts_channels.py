"""Channels by apprise against a real HTTP server that poses as ntfy and Gotify, and what never gets out of them."""

from __future__ import annotations

import io
import json
import logging
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alerts_server import http_peer

from dmarcview.alerts import channels
from dmarcview.alerts.channels import COMMON, LOCAL, Channel
from dmarcview.alerts.fault import NotTaken
from dmarcview.alerts.text import Message

MESSAGE = Message("Mail of example.org fails DMARC", "Counts: 120 of 400 messages\nRows: http://127.0.0.1:8080/", "<p>")
HUSH = "tk_hushhushhush"


@pytest.fixture
def whole_log() -> Iterator[io.StringIO]:
    """All that our log would hold at its finest; pytest's own reads loggers that we closed to it."""
    root, out = logging.getLogger(), io.StringIO()
    before, handler = root.level, logging.StreamHandler(out)
    root.addHandler(handler)
    root.setLevel(1)
    try:
        logging.getLogger("anything").debug("it works")
        yield out
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    assert "it works" in out.getvalue()


def channel(folder: Path, url: str, *schemes: str) -> Channel:
    file = folder / "chat.url"
    file.write_text(url + "\n", "utf-8")
    return Channel("chat", file, schemes)


def test_a_message_comes_to_ntfy_whole_without_a_picture(tmp_path: Path) -> None:
    with http_peer() as peer:
        channels.send(channel(tmp_path, f"ntfy://{HUSH}@{peer.place}/alarms?auth=token"), MESSAGE)
    got = peer.posted[0]
    told = json.loads(got.body)
    assert (told["topic"], told["title"]) == ("alarms", MESSAGE.title)
    assert told["message"].splitlines() == MESSAGE.text.splitlines()
    assert not [key for key in told if key in ("icon", "attach", "image")]
    assert b"github" not in got.body
    assert got.headers["authorization"] == f"Bearer {HUSH}"


def test_a_message_comes_to_gotify(tmp_path: Path) -> None:
    with http_peer() as peer:
        channels.send(channel(tmp_path, f"gotify://{peer.place}/{HUSH}"), MESSAGE)
    assert json.loads(peer.posted[0].body)["title"] == MESSAGE.title


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "answered 401 Unauthorized"), (500, "answered 500 Internal Server Error"), (302, "302 Found")],
)
def test_a_refusal_is_told_by_its_status_and_no_secret_gets_out(
    tmp_path: Path, whole_log: io.StringIO, capfd: pytest.CaptureFixture[str], status: int, words: str
) -> None:
    with http_peer() as other, http_peer() as peer:
        peer.answers = [(status, {"Location": f"http://{other.place}/{HUSH}"}, f'{{"error": "bad {HUSH}"}}'.encode())]
        with pytest.raises(NotTaken, match=words) as caught:
            channels.send(channel(tmp_path, f"ntfy://user:{HUSH}@{peer.place}/alarms"), MESSAGE)
    assert not other.posted, "no redirect is followed"
    out, err = capfd.readouterr()
    for said in (str(caught.value), whole_log.getvalue(), out, err):
        assert HUSH not in said
        assert "alarms" not in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gotify://127.0.0.1:{port}/" + HUSH, "refuses the connection"),
        ("gotify://name.invalid/" + HUSH, "its name is not in the DNS"),
        ("ntfys://127.0.0.1:{open}/alarms", "its certificate does not hold|no connection came about"),
    ],
)
def test_a_service_that_cannot_be_reached_is_told_by_its_fault(tmp_path: Path, url: str, words: str) -> None:
    with http_peer() as gone:
        pass
    with http_peer() as peer, pytest.raises(NotTaken, match=words) as caught:
        channels.send(channel(tmp_path, url.format(port=gone.port, open=peer.port)), MESSAGE)
    assert HUSH not in str(caught.value)


def test_a_service_that_drips_is_left_after_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "SECONDS", 0.5)
    with http_peer() as peer:
        peer.drip = True
        begin = time.monotonic()
        with pytest.raises(NotTaken, match="it does not answer in time"):
            channels.send(channel(tmp_path, f"ntfy://{peer.place}/alarms"), MESSAGE)
        assert time.monotonic() - begin < 4


def test_a_service_that_hangs_holds_up_neither_another_nor_the_end_of_the_process(tmp_path: Path) -> None:
    code = """
        import pathlib, sys, threading, time
        from dmarcview.alerts import channels
        from dmarcview.alerts.text import Message
        slow, quick = (channels.Channel(name, pathlib.Path(name)) for name in sys.argv[1:])
        one = Message("title", "text", "")
        threading.Thread(target=channels.send, args=(slow, one), daemon=True).start()
        time.sleep(3)
        begin = time.monotonic()
        channels.send(quick, one)
        assert time.monotonic() - begin < 10
    """
    with socket.create_server(("127.0.0.1", 0)) as silent, http_peer() as quick:
        files = [tmp_path / "slow", tmp_path / "quick"]
        files[0].write_text(f"ntfy://127.0.0.1:{silent.getsockname()[1]}/alarms?rto=300")
        files[1].write_text(f"ntfy://{quick.place}/alarms")
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", textwrap.dedent(code), *map(str, files)], check=True, timeout=120)
        assert time.monotonic() - begin < 40, "the one that hangs would take a minute"
    assert len(quick.posted) == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        HUSH,
        "gotify:/" + HUSH,
        f"gotify://a.test/{HUSH}\ngotify://b.test/{HUSH}",
        "x" * 9_000,
        "gotify://a.test/\ud800",
    ],
)
def test_a_file_without_one_url_is_told_by_its_setting_and_not_shown(tmp_path: Path, content: str) -> None:
    given = channel(tmp_path, "")
    given.file.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(NotTaken, match=r"\[alerts\] channels chat .* must hold one line") as caught:
        channels.address(given)
    assert HUSH not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotTaken, match=r"channels chat .*cannot be read: No such file"):
        channels.address(Channel("chat", tmp_path / "none"))


def test_lines_with_a_hash_are_remarks(tmp_path: Path) -> None:
    assert channels.address(channel(tmp_path, "# our room\n\nslack://a/b/c\n")) == "slack://a/b/c"


@pytest.mark.parametrize("scheme", ["json", "xml", "form", "apprise", "mqtt", "rsyslog", "kodi"])
def test_what_is_not_common_must_be_allowed_by_name(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(NotTaken, match=rf'{scheme}:// is not common; \[alerts\] schemes = \["{scheme}"\] allows it'):
        channels.address(channel(tmp_path, f"{scheme}://host.test/{HUSH}"))
    assert channels.address(channel(tmp_path, f"{scheme}://host.test/", scheme))


@pytest.mark.parametrize("scheme", sorted(LOCAL))
def test_what_works_on_one_desk_only_is_never_used(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(NotTaken, match="cannot be used"):
        channels.address(channel(tmp_path, f"{scheme}://", scheme))


def test_generic_posts_work_when_they_are_allowed(tmp_path: Path) -> None:
    with http_peer() as peer:
        channels.send(channel(tmp_path, f"json://{peer.place}/in", "json"), MESSAGE)
    assert json.loads(peer.posted[0].body)["title"] == MESSAGE.title


def test_an_address_that_its_plug_in_does_not_understand_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotTaken, match="apprise makes nothing of this slack:// address") as caught:
        channels.send(channel(tmp_path, f"slack://{HUSH}"), MESSAGE)
    assert HUSH not in str(caught.value)


def test_every_scheme_of_our_lists_is_one_of_apprise() -> None:
    from apprise.manager_plugins import NotificationManager

    known = NotificationManager()
    assert [scheme for scheme in COMMON | LOCAL if scheme not in known] == []
    assert not COMMON & LOCAL


def test_apprise_is_loaded_only_when_a_message_goes_out() -> None:
    code = "import sys, dmarcview.alerts.channels; print([m for m in ('apprise', 'requests') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
