"""Real mail programs deliver to the receiver: Python, swaks, msmtp, Postfix over SMTP, and Postfix over LMTP."""

from __future__ import annotations

import os
import shutil
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from conftest import need, need_perl
from smtp_talk import RUA, Running, authority, running

from dmarcview_smtp.settings import DoorSettings, Listener

STARTTLS = (Listener(port=0, mode="starttls"),)


def test_smtplib_with_utf8_and_large_mails(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "jürgen@exämple.test", RUA, "Bericht für Jürgen"
    mail.set_content("x\n" * 10)
    mail.add_attachment(os.urandom(3_000_000), maintype="application", subtype="gzip", filename="a!b!1!2.xml.gz")
    with running(tmp_path) as site, smtplib.SMTP("127.0.0.1", site.port) as client:
        client.send_message(mail)
        client.sendmail("a@c.test", [RUA, "no@no.test"], b"Subject: two\r\n\r\n.\r\n..\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@c.test", ["no@no.test"], b"x")
        (first, raw), (second, small) = site.mails()
        assert first.mail_from == "jürgen@exämple.test"
        assert "Subject: Bericht für Jürgen\r\n".encode() in raw
        assert len(raw) > 4_000_000
        assert (second.rcpt_to, small) == ((RUA,), b"Subject: two\r\n\r\n.\r\n..\r\n")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "STARTTLS"])
def test_swaks(tmp_path: Path, tls: bool) -> None:
    swaks = need("swaks", "swaks")
    if tls:
        need_perl("Net::SSLeay", "libnet-ssleay-perl")
    ca = authority(tmp_path)
    with running(tmp_path, listeners=STARTTLS, **ca.settings) as site:
        command = [swaks, "--server", "127.0.0.1", "--port", str(site.port), "--from", "a@c.test", "--to", RUA]
        command += ["--helo", "swaks.test", "--body", ".\n..\nlast", *(["-tls"] if tls else [])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        [(origin, raw)] = site.mails()
        assert origin.helo == "swaks.test"
        assert bool(origin.tls) == tls
        assert b"\r\n.\r\n..\r\nlast\r\n" in raw


def test_swaks_pipelining(tmp_path: Path) -> None:
    swaks = need("swaks", "swaks")
    with running(tmp_path) as site:
        command = [
            swaks,
            "--server",
            "127.0.0.1",
            "--port",
            str(site.port),
            "--from",
            "a@c.test",
            "--to",
            RUA,
            "--pipeline",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(site.mails()) == 1


def test_msmtp_verifies_our_certificate(tmp_path: Path) -> None:
    msmtp = need("msmtp", "msmtp")
    ca = authority(tmp_path)
    ca.issue("localhost")
    ca.ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    with running(tmp_path, listeners=STARTTLS, **ca.settings) as site:
        command = [msmtp, "--host=localhost", f"--port={site.port}", "--tls=on", "--tls-starttls=on", "--auth=off"]
        command += [
            f"--tls-trust-file={tmp_path / 'ca.pem'}",
            "--from=a@c.test",
            "--domain=msmtp.test",
            "--source-ip=127.0.0.1",
            RUA,
        ]
        mail = b"Subject: by msmtp\n\n.hello\n"
        done = subprocess.run(command, input=mail, capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        [(origin, raw)] = site.mails()
        assert origin.tls == "TLSv1.3"
        assert raw.endswith(b"\r\n\r\n.hello\r\n")


@pytest.mark.parametrize("reuse", [["-d"], []], ids=["many in a session", "one in a session"])
def test_smtp_source_of_postfix(tmp_path: Path, reuse: list[str]) -> None:
    source = need("smtp-source", "postfix")
    with running(tmp_path, limits=DoorSettings(greeting_wait=0)) as site:
        command = [
            source,
            *reuse,
            "-s",
            "10",
            "-m",
            "300",
            "-l",
            "5000",
            "-f",
            "a@c.test",
            "-t",
            RUA,
            f"127.0.0.1:{site.port}",
        ]
        subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
        assert len(site.mails()) == 300
        assert site.receiver.counters["accepted"] == 300


@pytest.fixture
def postfix() -> Iterator[Path]:
    """A Postfix instance of our own, not started: its folder, with configuration and queue."""
    postfix = need("postfix", "postfix")
    if os.geteuid() != 0:
        pytest.skip("Postfix starts as root only")
    folder = Path(tempfile.mkdtemp(prefix="dmarcview-postfix-"))
    folder.chmod(0o755)
    config, queue, data = folder / "etc", folder / "queue", folder / "data"
    for each in (config, queue, data):
        each.mkdir()
    shutil.chown(data, "postfix")
    shutil.copy("/usr/share/postfix/master.cf.dist", config / "master.cf")
    master = (config / "master.cf").read_text().splitlines()
    lines = [line for line in master if not line.startswith("smtp      inet")]
    # no chroot: the socket is outside of the queue folder
    (config / "master.cf").write_text("\n".join(line.replace("  y       -", "  n       -") for line in lines) + "\n")
    (config / "main.cf").write_text(
        f"compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\nmyhostname = postfix.test\n"
        f"maillog_file = {folder}/postfix.log\nmaillog_file_prefixes = {folder}\ninet_interfaces = loopback-only\n"
        "mydestination =\nmynetworks = 127.0.0.0/8\nalias_maps =\nalias_database =\nlocal_recipient_maps =\n"
        "smtputf8_enable = no\n"
        f"transport_maps = inline:{{ {{ example.test = lmtp:unix:{folder}/lmtp.sock }} }}\n"
        "lmtp_destination_recipient_limit = 50\n"
    )
    yield folder
    subprocess.run([postfix, "-c", str(config), "stop"], capture_output=True, check=False)
    for _ in range(100):
        if not (queue / "pid" / "master.pid").exists() or not _alive(queue / "pid" / "master.pid"):
            break
        time.sleep(0.05)
    shutil.rmtree(folder)


def _alive(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def test_postfix_delivers_to_our_lmtp_socket(tmp_path: Path, postfix: Path) -> None:
    program, sendmail = need("postfix", "postfix"), need("sendmail", "postfix")
    listeners = (Listener(path=str(postfix / "lmtp.sock"), path_mode=0o666, protocol="lmtp"),)
    with running(tmp_path, listeners=listeners, ruf=("ruf@example.test",)) as site:
        config = str(postfix / "etc")
        started = subprocess.run(
            [program, "-c", config, "start"], capture_output=True, text=True, timeout=60, check=False
        )
        log = postfix / "postfix.log"
        assert started.returncode == 0, started.stderr + (log.read_text() if log.exists() else "")
        mail = b"From: a@postfix.test\nSubject: by Postfix\n\n.hello\n" + b"line\n" * 2000
        command = [
            sendmail,
            "-C",
            config,
            "-f",
            "a@postfix.test",
            "-i",
            RUA,
            "ruf@example.test",
            "stranger@example.test",
        ]
        subprocess.run(command, input=mail, check=True, timeout=60)
        received = _wait_for_mail(site)
        assert received, log.read_text()
        [(origin, raw)] = received
        assert (origin.channel, origin.helo, origin.mail_from) == ("lmtp", "postfix.test", "a@postfix.test")
        assert sorted(origin.rcpt_to) == sorted((RUA, "ruf@example.test"))
        assert raw.endswith(b"\r\n\r\n.hello\r\n" + b"line\r\n" * 2000)
        for _ in range(100):
            if "550 5.7.1" in log.read_text():
                break
            time.sleep(0.05)
        assert "550 5.7.1" in log.read_text(), "Postfix was told that the stranger is not taken"


def _wait_for_mail(site: Running) -> list[object]:
    for _ in range(200):
        if mails := site.mails():
            return list(mails)
        time.sleep(0.05)
    return []
