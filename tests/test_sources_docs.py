"""The page on sources says all that the code knows, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from dmarcview import geo
from dmarcview.sources import CLASSES, CODES, case, rules, travel
from dmarcview.store.facts import SCOPES

PAGE = (Path(__file__).parents[1] / "docs" / "sources.md").read_text(encoding="utf-8")


def test_every_evidence_code_is_on_the_page_with_the_words_of_the_code() -> None:
    evidence = PAGE.split("## Evidence")[1].split("## Labels")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", evidence, re.MULTILINE))
    assert told == dict(CODES)


def test_every_class_scope_and_place_is_on_the_page() -> None:
    for word in (*CLASSES, *SCOPES, *geo.USUAL_PLACES, case.UNLISTED):
        assert f"`{word}`" in PAGE, word


def test_numbers_on_the_page_are_those_of_the_code() -> None:
    assert (travel.ANCHOR_SHARE, travel.ANCHOR_LEAST) == (0.05, 0.005)
    assert (travel.ANCHOR_MESSAGES, travel.ANCHOR_DAYS) == (10, 2)
    assert (rules.OVERRIDE_SHARE, rules.OVERRIDE_ALONE, rules.FORWARDER_SHARE) == (0.05, 0.5, 0.1)
    assert (case.ESTABLISHED, case.ESTABLISHED_DAYS, case.SIGNED_SHARE) == (20, 3, 0.5)


def test_page_and_table_tell_the_same_date() -> None:
    year, month = geo.TABLE_DATE.split("-")
    assert month == "10"
    assert f"October {year}" in PAGE
    head = (Path(geo.__file__).parent / "data" / "networks.tsv").read_text(encoding="utf-8").splitlines()[0]
    assert f"October {year}" in head
