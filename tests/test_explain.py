"""A pasted mail is explained: what the receiver judged, and how the mail came there."""

from __future__ import annotations

import time

import pytest

from dmarcview.explain import explain, fields, hop, results, without_comments

GOOD = """\
Delivered-To: someone@example.net
Received: by 2002:a05:6a10:: with SMTP id x1csp; Sun, 22 Nov 2026 10:00:05 +0000 (UTC)
Received: from mail.example.org (mail.example.org. [192.0.2.25])
        by mx.example.net with ESMTPS id a1 for <someone@example.net>
        (version=TLS1_3 cipher=TLS_AES_128_GCM_SHA256 bits=128/128);
        Sun, 22 Nov 2026 10:00:04 +0000
Authentication-Results: mx.example.net;
       dkim=pass header.i=@example.org header.s=mail-2026 header.b=abc;
       spf=pass (example.net: domain of a@example.org designates 192.0.2.25 (as permitted) sender)
         smtp.mailfrom=a@example.org;
       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=example.org
Authentication-Results: forged.example; dmarc=fail header.from=example.org
Received: from [127.0.0.1] (localhost [127.0.0.1]) by mail.example.org (dmarcview) with ESMTP id q1;
        Sun, 22 Nov 2026 10:00:03 +0000
From: A <a@example.org>
Subject: hello

Received: from the body by nobody
"""


def states(text: str) -> dict[str, str]:
    return {note.about: note.state for note in explain(text)}


def test_a_mail_that_passed_everything_has_no_fault_and_its_way_begins_with_us() -> None:
    notes = explain(GOOD)
    assert {note.state for note in notes} == {"ok"}
    assert [note.about for note in notes] == ["judge", "DMARC", "DKIM", "SPF", "hop 1", "hop 2", "hop 3"]
    by = {note.about: note.found for note in notes}
    assert by["judge"].startswith("mx.example.net")
    assert "mail-2026" in by["DKIM"]
    assert by["hop 2"] == ("mail.example.org [192.0.2.25] to mx.example.net by ESMTPS, TLS 1.3 TLS_AES_128_GCM_SHA256")


def test_only_the_topmost_judgement_counts() -> None:
    assert states(GOOD)["DMARC"] == "ok"


@pytest.mark.parametrize(
    ("said", "about", "state", "word"),
    [
        ("dkim=fail (x) reason=\"body hash mismatch\" header.d=example.org", "DKIM", "fail", "footer"),
        ("dkim=permerror reason=\"no key for signature\" header.d=example.org header.s=x", "DKIM", "fail", "dns check"),
        ("dkim=temperror header.d=example.org", "DKIM", "warn", "another test"),
        ("dkim=pass header.d=other.test", "DKIM", "warn", "Sign with a key of example.org"),
        ("spf=softfail smtp.mailfrom=a@example.org", "SPF", "fail", "Add it"),
        ("spf=pass smtp.mailfrom=bounce@other.test", "SPF", "warn", "envelope sender"),
        ("spf=none smtp.mailfrom=example.org", "SPF", "warn", "dns show"),
        ("dmarc=fail header.from=example.org", "DMARC", "fail", "Neither"),
        ("dmarc=none header.from=example.org", "DMARC", "warn", "dns show"),
        ("iprev=fail policy.iprev=192.0.2.25", "PTR", "warn", "PTR"),
    ],
)  # fmt: skip
def test_each_verdict_has_its_sentence(said: str, about: str, state: str, word: str) -> None:
    notes = [
        note for note in explain(f"From: a@example.org\nAuthentication-Results: h; {said}\n") if note.about == about
    ]
    assert [note.state for note in notes] == [state]
    assert word in notes[0].advice


def test_a_mail_without_signature_is_told_to_make_a_key() -> None:
    found = explain("From: a@example.org\nAuthentication-Results: h; spf=pass smtp.mailfrom=a@example.org\n")
    assert any(note.about == "DKIM" and "key new" in note.advice for note in found)


def test_a_copy_from_the_sent_folder_is_recognised() -> None:
    assert "sent folder" in explain("From: a@example.org\nSubject: x\n")[0].advice


def test_nothing_pasted_is_told() -> None:
    assert explain("")[0].state == "fail"


@pytest.mark.parametrize(
    ("value", "tls", "cipher"),
    [
        ("from a.test (a.test [192.0.2.1]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)) by b.test"
         " (Postfix) with ESMTPS id 1; Sun, 22 Nov 2026 10:00:03 +0000", "TLS 1.3", "TLS_AES_256_GCM_SHA384"),
        ("from a.test (a.test [192.0.2.1]) by b.test (OpenSMTPD) with ESMTPS id 1"
         " (TLSv1.2:ECDHE-RSA-AES256-GCM-SHA384:256:NO) for <x@b.test>; Sun, 22 Nov 2026 10:00:03 +0000", "TLS 1.2",
         "ECDHE-RSA-AES256-GCM-SHA384"),
        ("from a.test (192.0.2.1) by b.test with Microsoft SMTP Server (version=TLS1_2,"
         " cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 1; Sun, 22 Nov 2026 10:00:03 +0000", "TLS 1.2",
         "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        ("from a.test by b.test with SMTP; Sun, 22 Nov 2026 10:00:03 +0000", "", ""),
    ],
)  # fmt: skip
def test_the_dialects_of_received_tell_their_tls(value: str, tls: str, cipher: str) -> None:
    found = hop(value)
    assert (found.sender, found.receiver, found.tls, found.cipher) == ("a.test", "b.test", tls, cipher)
    assert found.at is not None


def test_a_hop_that_waited_and_one_without_tls_are_named() -> None:
    text = (
        "Received: from b.test by c.test with ESMTP; Sun, 22 Nov 2026 11:00:00 +0000\n"
        "Received: from a.test by b.test with ESMTPS; Sun, 22 Nov 2026 10:59:00 +0000\n"
        "Received: from x.test by a.test with ESMTPS; Sun, 22 Nov 2026 10:00:00 +0000\n"
    )
    found = {note.about: note for note in explain(text)}
    assert found["hop 2"].state == "warn"
    assert "3540 s later" in found["hop 2"].found
    assert "without TLS" in found["hop 3"].found


def test_comments_may_be_nested_and_quotes_may_hold_brackets() -> None:
    assert without_comments('a (b (c) d) e "(f)" \\( g').split() == ["a", "e", '"(f)"', "\\(", "g"]
    assert results("h (x); dkim=pass (a (b)) header.d=c.test")[1][0].properties == {"header.d": "c.test"}


@pytest.mark.parametrize(
    "evil",
    [
        "(" * 300_000,
        "X:\n" + " y\n" * 150_000,
        "\x00\x1b[31m: (",
        "Authentication-Results: " + "dkim=" * 60_000,
        "Received: " + "from " * 60_000,
    ],
)
def test_hostile_pastes_take_bounded_time(evil: str) -> None:
    began = time.process_time()
    explain(evil)
    fields(evil)
    assert time.process_time() - began < 5
