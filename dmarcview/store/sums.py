"""The sums that questions share, as SQL over rows of the cube; the rollup holds them ready."""

from __future__ import annotations

OUTCOMES = ("own_pass", "own_fail", "forwarded", "unknown_blocked", "unknown_delivered", "unstated")

PASSED = "coalesce(dkim_aligned or spf_aligned, false)"
STATED = "(dkim_aligned is not null or spf_aligned is not null)"
BLOCKED = "coalesce(disposition in ('quarantine', 'reject'), false)"


def outcome(source_class: str) -> str:
    """SQL of the outcome class of a row.

    Mail of own and approved sources passes or fails; a failure that the receiver itself puts down to a detour counts as
    forwarded, as all mail of forwarders does. Mail of an unknown source that passes DMARC bears our own signature or
    comes from where our SPF says, so it is `own_pass`; what fails was blocked or delivered. `unstated`: our own mail
    of which the report says neither pass nor fail.
    """
    return (
        f"case when {source_class} = 'forwarder' then 'forwarded' "
        f"when {PASSED} then 'own_pass' "
        "when forwarded then 'forwarded' "
        f"when {source_class} in ('own', 'third_party') then case when {STATED} then 'own_fail' else 'unstated' end "
        f"when {BLOCKED} then 'unknown_blocked' else 'unknown_delivered' end"
    )


def _sum(name: str, condition: str) -> str:
    return f"cast(coalesce(sum(messages) filter (where {condition}), 0) as bigint) as {name}"


MESSAGES = "cast(coalesce(sum(messages), 0) as bigint) as messages"
RATES = ", ".join(
    (
        MESSAGES,
        _sum("dmarc_pass", PASSED),
        _sum("spf_aligned", "spf_aligned"),
        _sum("dkim_aligned", "dkim_aligned"),
    )
)
BY_OUTCOME = ", ".join(_sum(o, f"outcome = '{o}'") for o in OUTCOMES)
BY_DISPOSITION = ", ".join(
    (
        _sum("none", "disposition in ('none', 'pass')"),  # RFC 9990's `pass` took no action either
        _sum("quarantine", "disposition = 'quarantine'"),
        _sum("reject", "disposition = 'reject'"),
    )
)

ALL_SUMS = f"{RATES}, {BY_OUTCOME}, {BY_DISPOSITION}"
SUMS = ("messages", "dmarc_pass", "spf_aligned", "dkim_aligned", *OUTCOMES, "none", "quarantine", "reject")
OF_SOURCES = ", ".join(
    (
        RATES,
        _sum("forwarded", "forwarded"),
        BY_DISPOSITION,
        _sum("delivered_fail", f"not {PASSED} and coalesce(disposition, 'none') not in ('quarantine', 'reject')"),
    )
)
