"""The webhook against a real HTTP server: the signature verified there, redirects, TLS, slowness, secrets."""

from __future__ import annotations

import base64
import json
import re
import ssl
import time
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from alerts_server import Peer, Posted, http_peer

from dmarcview.alerts import webhook
from dmarcview.alerts.fault import NotTaken
from dmarcview.alerts.model import CLEARED, OPENED, Finding, Incident, Member

NOW = 1_793_862_720
SECRET = b"sixteen or more bytes"
INCIDENT = Incident(
    7,
    Finding(
        "not_sent", "example.org", "192.0.2.10", date(2026, 11, 2), date(2026, 11, 3), 12, "From <b>\u202e</b>", 12, 12,
        page="/reconcile", query="?domain=example.org", members=(Member("192.0.2.10", 12, 12),),
    ),
    NOW, NOW, None,
)  # fmt: skip


def verified(posted: Posted, secret: bytes, now: int) -> bool:
    """What docs/alerts.md tells a receiver to run."""
    page = (Path(__file__).parent.parent / "docs" / "alerts.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.S)
    assert code
    there: dict[str, Any] = {}
    exec(code[1], there)
    there["time"] = SimpleNamespace(time=lambda: now)
    found: bool = there["genuine"](posted.headers, posted.body, secret)
    return found


def post(peer: Peer, path: str = "/hook?to=1", scheme: str = "http") -> None:
    body = webhook.body(OPENED, NOW, INCIDENT, "http://127.0.0.1:8080/")
    webhook.send(f"{scheme}://localhost:{peer.port}{path}", SECRET, "msg_1_2", body, NOW)


def test_a_receiver_can_verify_what_it_got_and_nobody_can_change_or_replay_it() -> None:
    with http_peer() as peer:
        post(peer)
    got = peer.posted[0]
    assert (got.path, got.headers["content-type"]) == ("/hook?to=1", "application/json")
    assert verified(got, SECRET, NOW)
    assert not verified(got, SECRET, NOW + 301)
    assert not verified(got, b"another key of sixteen", NOW)
    assert not verified(Posted(got.path, got.headers, got.body.replace(b"12", b"13")), SECRET, NOW)
    assert not verified(Posted(got.path, got.headers | {"webhook-id": "msg_1_3"}, got.body), SECRET, NOW)


def test_the_body_carries_what_a_message_says_and_hides_nothing() -> None:
    told = json.loads(webhook.body(CLEARED, NOW, INCIDENT, "https://pages.example.org/x"))
    assert (told["type"], told["timestamp"]) == ("incident.cleared", "2026-11-05T07:12:00Z")
    data = told["data"]
    assert data["link"] == "https://pages.example.org/x/reconcile?domain=example.org"
    assert (data["first_day"], data["last_day"], data["failed"], data["total"]) == ("2026-11-02", "2026-11-03", 12, 12)
    assert data["text"] == "From \u2039b\u203a\\u202e\u2039/b\u203a"
    assert data["members"] == [{"name": "192.0.2.10", "failed": 12, "total": 12}]
    assert json.loads(webhook.body("test", NOW, None, "")) == {
        "type": "test",
        "timestamp": "2026-11-05T07:12:00Z",
        "data": {},
    }


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with http_peer() as other, http_peer() as peer:
        peer.answers = [(status, {"Location": f"http://{other.place}/elsewhere"}, b"")]
        with pytest.raises(NotTaken, match=f"answered {status}, a redirect, which is not followed"):
            post(peer)
    assert not other.posted


def test_a_refusal_says_its_status_and_not_what_the_server_said_which_may_be_the_address() -> None:
    with http_peer() as peer:
        peer.answers = [(404, {}, b"<pre>Cannot POST /hooks/hush?token=hush</pre>")]
        with pytest.raises(NotTaken) as caught:
            post(peer, "/hooks/hush?token=hush")
    assert str(caught.value) == "localhost answered 404"


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    with http_peer(context) as peer:
        with pytest.raises(NotTaken, match="the certificate of localhost does not hold"):
            post(peer, scheme="https")
        assert not peer.posted
        ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        post(peer, scheme="https")
        assert verified(peer.posted[0], SECRET, NOW)


def test_a_server_that_drips_is_left_after_a_time_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "WHOLE_SECONDS", 0.5)
    with http_peer() as peer:
        peer.drip = True
        begin = time.monotonic()
        with pytest.raises(NotTaken, match="no whole answer from localhost"):
            post(peer)
        assert time.monotonic() - begin < 5


def test_nobody_there_is_told_without_the_address() -> None:
    with http_peer() as peer:
        pass
    with pytest.raises(NotTaken, match=r"^no answer from localhost: Connection refused$"):
        post(peer, "/hook/hush")


def test_a_key_is_read_from_its_file_as_text_or_as_the_standard_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(SECRET + b"\n")
    assert webhook.key(str(file)) == SECRET
    file.write_bytes(b"whsec_" + base64.b64encode(SECRET))
    assert webhook.key(str(file)) == SECRET


@pytest.mark.parametrize("raw", [b"", b"short", b"whsec_!!!", b"whsec_c2hvcnQ=", b"x" * 5_000, None])
def test_a_key_that_cannot_be_used_is_told_by_its_setting_and_not_shown(tmp_path: Path, raw: bytes | None) -> None:
    file = tmp_path / "key"
    if raw is not None:
        file.write_bytes(raw)
    with pytest.raises(NotTaken, match="webhook_secret_file") as caught:
        webhook.key(str(file))
    assert "short" not in str(caught.value)


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = webhook.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
