"""The comparison itself, in SQL: which report belongs to which mails, and on which days.

A message of a report is laid on the days on which the relay delivered such mails within the report's period; so periods
of any zone and length fit, and each report keeps its sum. What fits no mail is spread over its period by time. Where a
report does not name our selector, as some reporters never do, its messages are also spread over the keys of the domain:
else each rotation would look like mail that was reported too often, and mail that was never reported.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

import ipaddress
from typing import Any

LEEWAY = 6 * 3600  # seconds by which receipt and report may lie apart: clocks, filters, midnight
LONGEST = 400  # days over which a period without a delivery is spread
STRONG = "source_class = 'own' or sum(n) filter (where spf_aligned) * 2 >= sum(n)"
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16")
_INSIDE = tuple(ipaddress.ip_network(net) for net in (*_PRIVATE, "fc00::/7", "fe80::/10", "::1/128"))


def inside(text: str) -> bool:
    """Can nobody outside see this address: private (RFC 1918, RFC 6598, RFC 4193), local, or not known?"""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return True
    return any(address in net for net in _INSIDE)


def signatures(cursor: Any) -> None:
    """Table `heard`: `said` with one signature a row: one of ours before others, a good one before a bad one.

    `ours`: one that the log names; `kin`: its domain signs such mail in the log, and the report names no selector.
    """
    cursor.execute(
        "create temp table heard as with each as (select id, header_from, unnest(signatures) as g from said), "
        "ranked as (select id, coalesce(a.first[1], g.d, '') as d, coalesce(a.first[2], g.s, '') as s, g.r as result, "
        "a.d is not null as ours, k.d is not null as kin, row_number() over (partition by id order by "
        "a.d is not null desc, coalesce(g.r = 'pass', false) desc, coalesce(g.d = e.header_from, false) desc, "
        "g.d, g.s, g.r) as rank "
        "from each e left join alike a on a.header_from = e.header_from and a.d = g.d and a.s = g.s "
        "left join (select distinct header_from, d from alike) k "
        "on coalesce(g.s, '') = '' and k.header_from = e.header_from and k.d = g.d) "
        "select s.* exclude (signatures, envelope_to), coalesce(r.d, '') as d, coalesce(r.s, '') as s, r.result, "
        "coalesce(r.ours, false) as ours, coalesce(r.kin, false) as kin "
        "from said s left join ranked r on r.id = s.id and r.rank = 1"
    )


def behind_nat(cursor: Any) -> None:
    """Tables `outer_ips` (addresses that stand for ones of ours that no report names) and `mails` (keys as seen).

    Such an address carries good signatures that only the relay puts on, and is no forwarder's: it is own by class, or
    SPF passed for most of it; failing that, where ours cannot be seen from outside, the busiest.
    """
    hidden = cursor.execute(
        "select distinct source_ip from keys where source_ip not in (select source_ip from said)"
    ).fetchall()
    cursor.execute("create temp table hidden (source_ip varchar, inside boolean)")
    if hidden:
        cursor.executemany("insert into hidden values (?, ?)", [(ip, inside(ip)) for (ip,) in hidden])
    cursor.execute(
        f"""
        create temp table outer_ips as
        with lost as (
            select header_from, d, s, bool_or(inside) as inside from keys join hidden using (source_ip)
            where d <> '' group by all
        ), seen as (
            select header_from, d, s, source_ip, sum(n) as n, {STRONG} as strong
            from heard where ours and result = 'pass' and not coalesce(detour, false) and source_class <> 'forwarder'
              and source_ip not in (select source_ip from keys)
            group by header_from, d, s, source_ip, source_class
        ), ranked as (
            select seen.*, row_number() over (
                partition by header_from, d, s order by strong desc, n desc, source_ip) as rank
            from seen join lost using (header_from, d, s) where strong or inside
        ) select * from ranked where strong or rank = 1
        """
    )
    cursor.execute(
        """
        create temp table mails as
        with by_key as (
            select k.source_ip, arg_max(o.source_ip, (o.strong, o.n, o.source_ip)) as seen_as
            from keys k join hidden h using (source_ip)
            join outer_ips o on o.header_from = k.header_from and o.d = k.d and o.s = k.s where o.rank = 1
            group by k.source_ip
        ) select key, coalesce(b.seen_as, k.source_ip) as source_ip, header_from, d, s, b.seen_as is not null as nat,
            dense_rank() over (order by coalesce(b.seen_as, k.source_ip), header_from, d, s) as mail
        from keys k left join by_key b using (source_ip)
        """
    )


def assign(cursor: Any) -> None:
    """Tables `sent` (slot, mail, receiver, n), `kinds_of_mail`, and `claims`: each row of `heard` with its mail.

    By the address, then by the signature. A row that names no signature of ours belongs to what the address sends most
    of the same From: without signature first, when the report names none. Its `family` are all mails of that signing
    domain, whatever the selector; a row that names one has none.
    """
    cursor.execute(
        "create temp table sent as select slot, mail, receiver, cast(sum(n) as bigint) as n "
        "from cells join mails using (key) join takers using (pair) group by all"
    )
    cursor.execute(
        "create temp table kinds_of_mail as select mail, any_value(source_ip) as source_ip, "
        "any_value(header_from) as header_from, any_value(d) as d, any_value(s) as s, bool_or(nat) as nat, "
        "coalesce(any_value(w.n), 0) as n, dense_rank() over (order by any_value(source_ip), any_value(header_from), "
        "any_value(d)) as family from mails left join "
        "(select mail, sum(n) as n from sent group by mail) w using (mail) group by mail"
    )
    cursor.execute(
        """
        create temp table claims as
        with relayed as (  -- policy domains that the relay sends for
            select distinct domain from said where header_from in (select header_from from keys)
        ), placed as (
            select h.*, coalesce(o.seen_as, h.source_ip) as as_ip, o.seen_as is not null or a.source_ip is not null
                as by_signature
            from heard h
            left join (select source_ip, header_from, arg_max(seen_as, (n, seen_as)) as seen_as from (
                select x.source_ip, x.header_from, x.n, y.source_ip as seen_as from outer_ips x
                join outer_ips y on y.header_from = x.header_from and y.d = x.d and y.s = x.s and y.rank = 1
                where x.rank > 1) group by all) o on o.source_ip = h.source_ip and o.header_from = h.header_from
            left join (select distinct source_ip from outer_ips) a on a.source_ip = h.source_ip
        ), ranked as (
            select p.id, k.mail, p.by_signature, row_number() over (partition by p.id order by
                p.ours and k.d = p.d and k.s = p.s desc, p.kin and k.d = p.d desc, (p.d = '') = (k.d = '') desc,
                k.n desc, k.mail) as rank
            from placed p join kinds_of_mail k on k.source_ip = p.as_ip and k.header_from = p.header_from
        ) select h.*, r.mail, case when not ours then k.family end as family,
            coalesce(r.by_signature, false) as by_signature,
            case when r.mail is not null then ''
                when coalesce(detour, false) or source_class = 'forwarder'
                    or (ours and coalesce(result = 'pass', false) and source_class not in ('own', 'third_party'))
                    then 'forwarded'
                when source_class = 'own' then
                    case when h.domain in (select domain from relayed) then 'bypass' else 'elsewhere' end
                when source_class = 'third_party' then 'third_party'
                when coalesce(dkim_aligned, false) or coalesce(spf_aligned, false) then 'unknown_sender'
                else 'forged' end as kind,
            r.mail is not null and k.d <> '' and coalesce(
                case when ours or kin then result <> 'pass' else not dkim_aligned end, false) as dkim_failed,
            r.mail is not null and not coalesce(spf_aligned, true) and not coalesce(spf_passed, false) as spf_failed
        from heard h left join ranked r on r.id = h.id and r.rank = 1 left join kinds_of_mail k on k.mail = r.mail
        """
    )


def lay(cursor: Any) -> None:
    """Table `laid`: messages of reports by day, exactly as many as the reports say.

    One period of one reporter and kind (or family) of mail has N messages, and the relay delivered w of them until the
    end of a day, of W within the period: then floor(N w / W) lie on that day or before. A family's day has a part for
    each of its mails. What is not ours is one kind of mail, row after row in an order of its own: a stranger's report
    of a year with very many rows is no more work than one of a day.
    """
    cursor.execute(
        "create temp table lined as with numbered as (select *, dense_rank() over "
        "(order by family, case when family is null then mail end, receiver, submitter, b, e) as period from claims) "
        "select *, sum(n) over (partition by period order by dkim_failed, spf_failed, by_signature, header_from, "
        "source_ip, d, s, kind, source_class, id) - n as first from numbered"
    )
    cursor.execute(
        "create temp table periods as select period, any_value(mail) as mail, any_value(family) as family, "
        "any_value(receiver) as receiver, any_value(b) as b, any_value(e) as e, sum(n) as n from lined group by period"
    )
    cursor.execute(
        "create temp table reach as select period, mail from periods where family is null and mail is not null "
        "union all select period, k.mail from periods join kinds_of_mail k using (family)"
    )
    cursor.execute("drop table claims")
    for table, leeway in (("strict", 0), ("wide", LEEWAY)):
        rest = "" if table == "strict" else "where period not in (select period from strict)"
        cursor.execute(
            f"create temp table {table} as select period, cast(slot // 96 as bigint) as day, s.mail, "
            f"cast(sum(s.n) as hugeint) as weight from (select * from periods {rest}) p join reach using (period) "
            "join sent s on s.mail = reach.mail and s.receiver = p.receiver "
            f"and s.slot * 900 >= p.b - {leeway} and s.slot * 900 < p.e + {leeway} group by all"
        )
    cursor.execute(
        f"""
        create temp table laid as
        with rest as (
            select period, b, least(e, b + {LONGEST} * 86400) as e from periods
            where period not in (select period from strict) and period not in (select period from wide)
        ), timed as (
            select period, day, null as mail, least(e, (day + 1) * 86400) - greatest(b, day * 86400) as weight
            from (select *, unnest(generate_series(b // 86400, (e - 1) // 86400)) as day from rest)
        ), weights as (
            select * from strict union all select * from wide
            union all select period, day, mail, cast(weight as hugeint) from timed
        ), reached as (
            select period, day, mail, weight, sum(weight) over (partition by period order by day, mail) as upto,
                sum(weight) over (partition by period) as whole from weights
        ), days as (
            select r.period, r.day, r.mail, p.n * (upto - weight) // whole as low, p.n * upto // whole as high
            from reached r join periods p using (period)
        ) select l.* exclude (n, first, period, b, e, mail), coalesce(d.mail, l.mail) as mail, d.day,
            least(l.first + l.n, d.high) - greatest(l.first, d.low) as n
        from lined l join days d on d.period = l.period and d.low < l.first + l.n and d.high > l.first
        """
    )
    gone = ("heard", "lined", "periods", "reach", "strict", "wide", "cells")
    for table in gone:  # their memory is needed for the answer
        cursor.execute(f"drop table {table}")
