"""Generated reports for measuring: the same seed gives the same bytes. All names and addresses are made up."""

from __future__ import annotations

import base64
import gzip
import random
from collections.abc import Iterator
from pathlib import Path

BEGIN = 1_767_225_600  # 2026-01-01T00:00:00Z
DAY = 86_400

HEAD = """<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <version>1.0</version>
  <report_metadata>
    <org_name>{org}</org_name>
    <email>noreply-dmarc@{org}</email>
    <extra_contact_info>https://{org}/dmarc</extra_contact_info>
    <report_id>{id}</report_id>
    <date_range>
      <begin>{begin}</begin>
      <end>{end}</end>
    </date_range>
  </report_metadata>
  <policy_published>
    <domain>{domain}</domain>
    <adkim>r</adkim>
    <aspf>r</aspf>
    <p>quarantine</p>
    <sp>quarantine</sp>
    <pct>100</pct>
  </policy_published>
"""
_RECORD = """  <record>
    <row>
      <source_ip>{ip}</source_ip>
      <count>{count}</count>
      <policy_evaluated>
        <disposition>{disposition}</disposition>
        <dkim>{aligned_dkim}</dkim>
        <spf>{aligned_spf}</spf>{reason}
      </policy_evaluated>
    </row>
    <identifiers>
      <envelope_from>{envelope}</envelope_from>
      <header_from>{header}</header_from>
    </identifiers>
    <auth_results>
      <dkim>
        <domain>{dkim}</domain>
        <selector>{selector}</selector>
        <result>{dkim_result}</result>
      </dkim>
      <spf>
        <domain>{envelope}</domain>
        <scope>mfrom</scope>
        <result>{spf_result}</result>
      </spf>
    </auth_results>
  </record>
"""
_REASON = """
        <reason>
          <type>{}</type>
          <comment>{}</comment>
        </reason>"""
_TAIL = "</feedback>\n"

_SENDERS = ("mailer.example.net", "bulk.example.com", "crm.example.net", "shop.example.org", "lists.example.net")


def _address(number: int) -> str:
    """An address of its own for every number below 2**24; one in eight is IPv6."""
    number = (number * 7_368_787 + 12_345) % (1 << 24)
    if number % 8 == 0:
        return f"2001:db8:{number >> 16:x}::{number & 0xFFFF:x}"
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def _distinct(number: int, rng: random.Random) -> str:
    """A record that differs from every other one in address, names, selector and mostly in count."""
    passed = rng.random() < 0.8
    name = f"h{number:x}.mail{number % 977}.customer.example.org"
    return _RECORD.format(
        ip=_address(number),
        count=number % 5003 + 1,
        disposition="none" if passed else rng.choice(("quarantine", "reject", "none")),
        aligned_dkim="pass" if passed else "fail",
        aligned_spf=rng.choice(("pass", "fail")),
        reason=_REASON.format("local_policy", f"arc={rng.choice(('pass', 'fail'))} as.{number}.example.net")
        if rng.random() < 0.1
        else "",
        envelope=f"bounce-{number:x}.example.net",
        header=name,
        dkim=f"d{number:x}.customer.example.org",
        selector=f"s{number}",
        dkim_result="pass" if passed else "fail",
        spf_result=rng.choice(("pass", "fail", "softfail", "none")),
    )


def _lifelike(number: int, rng: random.Random) -> str:
    """A record as a big receiver sends it: many addresses, some hundred ways in which mail was sent and treated."""
    sender = _SENDERS[min(int(rng.expovariate(1.2)), len(_SENDERS) - 1)]
    passed = rng.random() < 0.9
    return _RECORD.format(
        ip=_address(number),
        count=int(rng.paretovariate(1.1)),
        disposition="none" if passed else "quarantine",
        aligned_dkim="pass" if passed else "fail",
        aligned_spf="pass" if passed and rng.random() < 0.7 else "fail",
        reason=_REASON.format("mailing_list", "") if not passed and rng.random() < 0.2 else "",
        envelope=sender,
        header="example.org" if rng.random() < 0.9 else "news.example.org",
        dkim="example.org" if rng.random() < 0.9 else sender,
        selector=rng.choice(("k1", "k2", "2026a")),
        dkim_result="pass" if passed else "fail",
        spf_result="pass" if rng.random() < 0.8 else "softfail",
    )


def report(
    records: int, *, distinct: bool, seed: int = 1, org: str = "receiver.example.com", sources: int | None = None
) -> bytes:
    """One report of so many records (about 720 bytes each), as XML; `sources` bounds the addresses that occur."""
    rng = random.Random(seed)
    begin = BEGIN + seed % 300 * DAY
    head = HEAD.format(org=org, id=f"{begin}.{seed}", begin=begin, end=begin + DAY - 1, domain="example.org")
    one = _distinct if distinct else _lifelike
    first = seed * 1_000_003
    return (
        head + "".join(one((first + n) % sources if sources else first + n, rng) for n in range(records)) + _TAIL
    ).encode()


def small(reports: int, seed: int = 1) -> Iterator[bytes]:
    """So many reports of 1 to 5 lifelike records from 40 reporters, as XML; laid out in four ways."""
    rng = random.Random(seed)
    for number in range(reports):
        reporter = rng.randrange(40)
        xml = report(rng.randint(1, 5), distinct=False, seed=seed * 100_000 + number, org=f"mx{reporter}.example.com")
        if reporter % 4 == 1:
            xml = xml.replace(b"  ", b"\t")
        elif reporter % 4 == 2:
            xml = b"".join(line.strip() for line in xml.splitlines())
        elif reporter % 4 == 3:
            xml = xml.replace(b"\n", b"\r\n")
        yield xml


def mail(packed: bytes, name: str) -> bytes:
    """A report mail as most reporters send it: a text part, and the gzipped report in base64."""
    lines = base64.encodebytes(packed).replace(b"\n", b"\r\n")
    head = (
        "From: noreply-dmarc@receiver.example.com\r\nTo: dmarc@example.org\r\n"
        f"Subject: Report Domain: example.org Submitter: receiver.example.com Report-ID: <{name}>\r\n"
        f"Date: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <{name}@receiver.example.com>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="cut-here"\r\n\r\n--cut-here\r\n'
        "Content-Type: text/plain; charset=utf-8\r\n\r\nThis is a DMARC aggregate report.\r\n--cut-here\r\n"
        f'Content-Type: application/gzip; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n'
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
    )
    return head.encode() + lines + b"--cut-here--\r\n"


def cached(folder: Path, name: str, records: int, *, distinct: bool) -> Path:
    """Path of one gzipped report, made when it is not there."""
    path = folder / f"{name}-{records}.xml.gz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(report(records, distinct=distinct), 6, mtime=0))
    return path
