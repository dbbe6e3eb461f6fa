"""Attacks on the relay as a whole, each of which succeeded once."""

from __future__ import annotations

import time

import pytest

from dmarcview_relay.message import Refused, Trace, prepare
from dmarcview_relay.saslprep import LONGEST, PrepError, saslprep


def test_a_header_line_without_a_colon_costs_no_more_than_its_length() -> None:
    content = b"From: a@client.test\r\n" + b"a" * 190_000 + b"\r\n\r\nx\r\n"
    began = time.process_time()
    with pytest.raises(Refused):
        prepare(content, Trace("Q" * 12), hostname="mx.example.test", now=0.0)
    assert time.process_time() - began < 10, "it was five minutes"


def test_a_name_that_grows_when_it_is_prepared_is_too_long() -> None:
    with pytest.raises(PrepError, match="too long"):
        saslprep("\ufdfa" * LONGEST)  # eighteen letters each
