"""Inputs made to exhaust us end soon, in a refusal or a bounded answer, within 300 MiB, their own bytes included."""

import json
import subprocess
import sys

import pytest

LIMIT = 300 << 20
SECONDS = 60

PROGRAM = """
import json
from dmarcview_reports.errors import Refused
from dmarcview_reports.parse import parse

HEAD = b"<feedback><report_metadata><org_name>x</org_name><email>a@example.net</email><report_id>1</report_id>" \
    b"<date_range><begin>1767225600</begin><end>1767312000</end></date_range></report_metadata>" \
    b"<policy_published><domain>example.com</domain><p>none</p></policy_published>"
RECORD = b"<record><row><source_ip>192.0.2.1</source_ip><count>1</count></row></record>"
TAIL = b"</feedback>"
SIZE = 190_000_000


def fill(piece, before=HEAD, after=TAIL):
    chunk = piece * (65536 // len(piece))
    return b"".join((before, *[chunk] * (SIZE // len(chunk)), after))


data = {expression}
try:
    report = parse(data, now=1_798_761_600)
    end = [len(report.records), report.warning_counts]
except Refused as refused:
    end = refused.code
# not ru_maxrss: a child begins with its parent's
peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps([end, peak]))
"""

BOMBS = {
    "elements": ('fill(b"<a/>")', "too_complex"),
    "elements in a record": ('fill(b"<a/>", HEAD + b"<record>")', "too_complex"),
    "nested elements": ('fill(b"<a>", HEAD)', "too_complex"),
    "one text": ('fill(b"x", HEAD + b"<version>", b"</version>" + RECORD + TAIL)', [1, "long_text"]),
    "one text of references": ('fill(b"&amp;", HEAD + b"<version>", b"</version>" + RECORD + TAIL)', [1, "long_text"]),
    "one CDATA": ('fill(b"x", HEAD + b"<version><![CDATA[", b"]]></version>" + RECORD + TAIL)', [1, "long_text"]),
    "one damaged text": ('fill(b"& ", HEAD + b"<version>", b"</version>" + RECORD + TAIL)', [1, "bad_markup"]),
    "one attribute": ("""fill(b"x", HEAD + b"<version a='", b"'/>" + TAIL)""", "too_complex"),
    "attributes": (
        """HEAD + b"<version " + b" ".join(b"a%d=''" % n for n in range(1_000_000)) + b"/>" + TAIL""",
        "too_complex",
    ),
    "one comment": ('fill(b"x", HEAD + b"<!--", b"-->" + TAIL)', "too_complex"),
    "comments": ('fill(b"<!---->", HEAD, RECORD + TAIL)', [1, "missing_auth_results"]),
    "comments in damaged XML": ('fill(b"<!---->", HEAD + b"&", RECORD + TAIL)', "too_complex"),
    "one name": ('fill(b"x", HEAD + b"<", b"/>" + TAIL)', "too_complex"),
    "less-than signs": ('fill(b"<")', "bad_xml"),
    "end tags": ('fill(b"</a>")', "bad_xml"),
    "spaces": ('fill(b" ", HEAD, RECORD + TAIL)', [1, "missing_auth_results"]),
    "zeros": ('bytes(SIZE)', "not_a_report"),
    "records without end": ('fill(b"<record>")', "too_complex"),
    "records": ('fill(b"<record/>")', "too_many_records"),
    "rows": ('fill(b"<row/>", HEAD + b"<record>", b"</record>" + TAIL)', "too_complex"),
    "reasons": ('fill(b"<reason/>", HEAD + b"<record><row><policy_evaluated>")', "too_complex"),
    "UTF-16": ('fill("x".encode("utf-16-le"), "<feedback><version>".encode("utf-16-le"), b"")', "bad_date_range"),
    "laughs": (
        """b"<!DOCTYPE a [<!ENTITY b 'bbbbbbbb'>" + b"<!ENTITY c '&b;&b;&b;'>" * 9 + b"]>" + HEAD + TAIL""",
        "doctype",
    ),
    "one address": (
        'fill(b"1", HEAD + b"<record><row><source_ip>", b"</source_ip></row></record>" + TAIL)',
        [0, "bad_source_ip"],
    ),
    "records of one kind": ('fill(RECORD)', "too_many_records"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_bounded(name: str) -> None:
    expression, expected = BOMBS[name]
    program = PROGRAM.replace("{expression}", expression)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=True)
    end, peak = json.loads(done.stdout)
    if isinstance(expected, str):
        assert end == expected
    else:
        assert end[0] == expected[0]
        assert expected[1] in end[1]
    assert peak < LIMIT
