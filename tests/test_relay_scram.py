"""SCRAM-SHA-256 against the example of RFC 7677, and SASLprep against those of RFC 4013."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview_relay.saslprep import PrepError, saslprep
from dmarcview_relay.scram import Exchange, Keys, ScramError, derive, made_up

# RFC 7677 section 3: user "user", password "pencil"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
VERIFIER = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
KEYS = derive("pencil", SALT, 4_096)


def test_the_example_of_the_rfc() -> None:
    exchange = Exchange(FIRST, SERVER_NONCE)
    assert exchange.name == "user"
    assert exchange.challenge(KEYS) == CHALLENGE
    assert exchange.judge(FINAL) == VERIFIER


@pytest.mark.parametrize(
    "keys",
    [derive("pencil!", SALT, 4_096), derive("pencil", b"another salt....", 4_096), made_up("user", b"seed")],
    ids=["password", "salt", "nobody"],
)
def test_other_keys_do_not_fit(keys: Keys) -> None:
    exchange = Exchange(FIRST, SERVER_NONCE)
    exchange.challenge(keys)
    assert exchange.judge(FINAL) is None


def test_every_changed_octet_of_the_proof_is_noticed() -> None:
    proof = base64.b64decode(FINAL.split(b"p=")[1])
    for at in range(len(proof)):
        changed = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
        exchange = Exchange(FIRST, SERVER_NONCE)
        exchange.challenge(KEYS)
        assert exchange.judge(FINAL.split(b"p=")[0] + b"p=" + base64.b64encode(changed)) is None


def client(name: str, password: str, gs2: str, keys: Keys, exchange: Exchange, nonce: str) -> bytes:
    """A client by RFC 5802 section 3, written apart from ours."""
    challenge = exchange.challenge(keys).decode()
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), keys.salt, keys.iterations)
    key = hmac.digest(salted, b"Client Key", "sha256")
    unproved = f"c={base64.b64encode(gs2.encode()).decode()},{challenge.split(',')[0]}"
    said = f"n={name},r={nonce},{challenge},{unproved}"
    signature = hmac.digest(hashlib.sha256(key).digest(), said.encode(), "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    return f"{unproved},p={base64.b64encode(proof).decode()}".encode()


@pytest.mark.parametrize("gs2", ["n,,", "y,,", "n,a=a=2Cb=3D,"])
def test_names_with_commas_and_all_headers_without_binding_work(gs2: str) -> None:
    keys = derive("pencil", SALT, 10)
    exchange = Exchange(f"{gs2}n=a=2Cb=3D,r=abc".encode())
    assert exchange.name == "a,b="
    final = client("a=2Cb=3D", "pencil", gs2, keys, exchange, "abc")
    assert exchange.judge(final) is not None


@pytest.mark.parametrize(
    "first",
    [
        b"", b"n", b"n,,", b"n=user,r=x", b"n,,n=user", b"n,,r=x,n=user", b"n,,n=us=er,r=x", b"n,,n=,r=x",
        b"n,,n=user,r=", b"n,,n=user,r=a b", b"n,a=other,n=user,r=x", b"p=tls-exporter,,n=user,r=x",
        b"n,,m=ext,n=user,r=x", b"n,,n=us\x00er,r=x", b"n,,n=us\x07er,r=x", b"\xff", b"n,,n=user,r=x,",
    ],
)  # fmt: skip
def test_what_is_no_first_message_is_refused(first: bytes) -> None:
    with pytest.raises(ScramError):
        Exchange(first)


@pytest.mark.parametrize(
    "final",
    [
        b"", b"\xff", FINAL.replace(b"c=biws", b"c=eSws"), FINAL.replace(b"r=rOpr", b"r=rOps"),
        FINAL.split(b",p=")[0], FINAL.replace(b"dHzb", b"d!zb"), FINAL[:-8], FINAL + b",x=y",
    ],
)  # fmt: skip
def test_what_is_no_final_message_is_refused(final: bytes) -> None:
    exchange = Exchange(FIRST, SERVER_NONCE)
    exchange.challenge(KEYS)
    with pytest.raises(ScramError):
        exchange.judge(final)


@given(st.binary(max_size=200), st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_bytes_log_anybody_in_or_end_otherwise(first: bytes, final: bytes) -> None:
    try:
        exchange = Exchange(first)
    except ScramError:
        exchange = Exchange(FIRST)
    exchange.challenge(KEYS)
    try:
        assert exchange.judge(final) is None
    except ScramError:
        pass


def test_names_that_nobody_has_get_steady_answers_of_their_own() -> None:
    assert made_up("x", b"seed") == made_up("x", b"seed")
    assert made_up("x", b"seed").salt != made_up("y", b"seed").salt
    assert made_up("x", b"seed").salt != made_up("x", b"other").salt
    assert len(made_up("x", b"seed").salt) == len(derive("p").salt)
    assert made_up("x", b"seed").iterations == derive("p").iterations >= 4_096


@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b"),
     ("e\u0301", "\u00e9"), ("\u0627\u0661\u0628", "\u0627\u0661\u0628")],
)  # fmt: skip
def test_saslprep_brings_one_spelling(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared
    assert saslprep(prepared) == prepared


@pytest.mark.parametrize(
    "text", ["\u0007", "\u0627\u0031", "", "\u00ad", "a\x00", "\ue000", "\ufffd", "a\u0627", "x" * 1_025]
)
def test_saslprep_refuses_what_rfc_4013_prohibits(text: str) -> None:
    with pytest.raises(PrepError):
        saslprep(text)


def test_characters_newer_than_unicode_3_2_are_not_stored_but_may_be_asked_for() -> None:
    assert saslprep("\U0001f600") == "\U0001f600"
    with pytest.raises(PrepError, match="too new"):
        saslprep("\U0001f600", stored=True)


@given(st.text(max_size=50))
@settings(deadline=None)
def test_saslprep_ends_for_any_text_and_is_steady(text: str) -> None:
    try:
        once = saslprep(text, stored=True)
    except PrepError:
        return
    assert saslprep(once, stored=True) == once
