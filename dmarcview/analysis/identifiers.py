"""The three identifiers of a record side by side: From, the DKIM signature that tells most, the SPF domain."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import cache
from typing import Any

import pandas as pd

from dmarcview.organisation import aligned as relaxed
from dmarcview.organisation import organisational
from dmarcview.store.cube import FORWARDING

COLUMNS = (
    "day", "domain", "p", "sp", "adkim", "aspf", "submitter", "source_ip", "source_class", "sender", "header_from",
    "envelope_from", "dkim_domain", "selector", "dkim_result", "signatures", "spf_domain", "spf_result",
    "dkim_aligned", "spf_aligned", "dmarc_pass", "dkim_strict", "dkim_relaxed", "spf_strict", "spf_relaxed", "told",
    "detour", "disposition", "count",
)  # fmt: skip
_SAME = ("domain", "p", "sp", "adkim", "aspf", "submitter", "source_ip", "source_class", "header_from",
         "envelope_from", "disposition")  # fmt: skip


def identifiers(records: pd.DataFrame) -> pd.DataFrame:
    """One row a record with the columns of COLUMNS; `records` as `Library.records` gives them.

    day: when its period began (UTC). sender: a service, else the organisation of the reverse name, else whose
    signature passed for a domain that is not ours, else the network.
    dkim_domain, selector, dkim_result: of one signature, one that passed and is aligned before one that passed before
    any other; signatures: how many. spf_domain, spf_result: of the envelope sender, HELO where there is none (RFC 7489
    section 3.1.2). dkim_aligned, spf_aligned, dmarc_pass: as the report says, missing is false. dkim_strict,
    dkim_relaxed, spf_strict, spf_relaxed: as the results alone say (section 3.1). told: are there results at all.
    detour: the receiver names one, as the pages count it.
    """
    near = cache(relaxed)
    dkim = [
        _signature(found, name, near)
        for found, name in zip(records["dkim"].tolist(), records["header_from"].tolist(), strict=True)
    ]
    spf = [
        _envelope(found, name, near)
        for found, name in zip(records["spf"].tolist(), records["header_from"].tolist(), strict=True)
    ]
    out = records[list(_SAME)].copy()
    out["day"] = records["begin"].dt.tz_localize(None).dt.floor("D")
    for place, name in enumerate(("dkim_domain", "selector", "dkim_result", "signatures", "dkim_strict",
                                  "dkim_relaxed")):  # fmt: skip
        out[name] = [one[place] for one in dkim]
    for place, name in enumerate(("spf_domain", "spf_result", "spf_strict", "spf_relaxed")):
        out[name] = [one[place] for one in spf]
    stranger = [one[0] if one[2] == "pass" and not one[5] else "" for one in dkim]
    out["sender"] = senders(records, stranger)
    out["told"] = [bool(one[2]) or bool(other[1]) for one, other in zip(dkim, spf, strict=True)]
    for name in ("dkim_aligned", "spf_aligned", "dmarc_pass"):
        out[name] = records[name].fillna(False).astype(bool)
    out["detour"] = [any(one in FORWARDING for one in types) for types in records["override_types"]]
    out["count"] = records["count"]
    return out[list(COLUMNS)]


def senders(frame: pd.DataFrame, signers: Sequence[str] | None = None) -> pd.Series:
    """The name of each row's sender by `service`, `reverse_dns`, who signed (empty for nobody), and `source_ip`."""
    called = cache(lambda name: organisational(name) or name)
    columns = (frame[name].tolist() for name in ("service", "reverse_dns", "source_ip"))
    names = [
        str(service) if isinstance(service, str) and service
        else called(reverse) if isinstance(reverse, str) and reverse
        else signer or _network(str(source))
        for service, reverse, source, signer in zip(*columns, signers or [""] * len(frame), strict=True)
    ]  # fmt: skip
    return pd.Series(names, index=frame.index, dtype="str")


def summed(told: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Messages by these columns, most first."""
    out = told.groupby(by, dropna=False, sort=False)["count"].sum().rename("messages").reset_index()
    return out.sort_values(["messages", *by], ascending=[False, *[True] * len(by)], ignore_index=True)


def _signature(found: Any, name: str, near: Any) -> tuple[str, str, str, int, bool, bool]:
    best, rank, strict, loose = ("", "", ""), -1, False, False
    for one in found:
        domain, result = (one["domain"] or "").lower(), one["result"] or ""
        passed = result == "pass"
        fits = passed and bool(domain) and near(domain, name)
        strict, loose = strict or (passed and domain == name), loose or fits
        height = 3 if fits else 2 if passed else 1 if domain and near(domain, name) else 0
        if height > rank:
            best, rank = (domain, one["selector"] or "", result), height
    return *best, len(found), strict, loose


def _envelope(found: Any, name: str, near: Any) -> tuple[str, str, bool, bool]:
    listed = sorted(found, key=lambda one: one["scope"] == "helo")
    if not listed:
        return "", "", False, False
    domain, result = (listed[0]["domain"] or "").lower(), listed[0]["result"] or ""
    passed = result == "pass" and bool(domain)
    return domain, result, passed and domain == name, passed and near(domain, name)


@cache
def _network(source: str) -> str:
    """The /24 or /64 of an address."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False))
