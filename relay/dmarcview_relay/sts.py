"""MTA-STS (RFC 8461): a domain says by DNS and HTTPS which hosts take its mail, and that they speak verified TLS.

A policy that was seen once holds until its age ends, on disk over restarts; who blocks the DNS record or the web
server later cannot lower it. Looking takes at most FETCH_SECONDS, and a failed look is not repeated for a while.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from .dns import DnsFailure, Resolver
from .mx import is_private, ordered
from .settings import Delivery
from .tls import context

log = logging.getLogger(__name__)

FETCH_SECONDS = 30.0  # RFC 8461 section 3.3 suggests up to 60
RETRY_SECONDS = 300.0  # section 3.3: not more often after a failure
POLICY_BYTES = 65_536  # section 3.3
HEADER_BYTES = 32_768
MOST_AGE = 31_557_600  # seconds, section 3.2
MOST_POLICIES = 10_000
MOST_HOSTS = 100  # mx lines of one policy

_ID = re.compile(r"id *= *([A-Za-z0-9]{1,32}) *")  # section 3.1
_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+")
_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+")


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it was fetched. `until` is in seconds since 1970; `id` is that of the TXT record."""

    mode: str  # enforce, testing or none
    mx: tuple[str, ...]
    id: str
    until: float

    def allows(self, host: str) -> bool:
        """Whether an MX host is of the policy: `*.` stands for one label (section 4.1)."""
        _, dot, parent = host.partition(".")
        return host in self.mx or (bool(dot) and f"*.{parent}" in self.mx)


class PolicyError(Exception):
    """No policy could be had; the text says why."""


class MtaSts:
    """The policies that are known. `folder` keeps them over restarts; `port` is that of the web servers."""

    def __init__(
        self, resolver: Resolver, folder: Path | None, clock: Callable[[], float] = time.time, port: int = 443
    ) -> None:
        self._resolver = resolver
        self._folder = folder
        self._clock = clock
        self._port = port
        self._known: dict[str, Policy] = {}
        self._failed: dict[str, float] = {}
        self._looking: dict[str, asyncio.Task[Policy | None]] = {}
        self._loading: asyncio.Task[None] | None = None

    async def policy(self, domain: str, delivery: Delivery) -> Policy | None:
        """The policy that holds for a recipient domain in A-labels, None where there is none. Never raises."""
        if not _DOMAIN.fullmatch(domain):
            return None
        if self._loading is None:
            self._loading = asyncio.create_task(self._warm())
        await asyncio.shield(self._loading)  # nobody decides before the old policies are known
        task = self._looking.get(domain)
        if task is None:
            task = self._looking[domain] = asyncio.create_task(self._current(domain, delivery))
            task.add_done_callback(lambda _: self._looking.pop(domain, None))
        return await asyncio.shield(task)

    async def _current(self, domain: str, delivery: Delivery) -> Policy | None:
        now = self._clock()
        known = self._known.get(domain)
        if known and known.until <= now:
            known = None
            del self._known[domain]
        try:
            record = _record((await self._resolver.ask("TXT", f"_mta-sts.{domain}")).records)
        except DnsFailure:
            return known
        if not record or (known and known.id == record) or self._failed.get(domain, 0.0) > now:
            return known
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                found = read_policy(await self._fetch(domain, delivery), record, now)
        except (PolicyError, DnsFailure, OSError, EOFError, HTTPException, TimeoutError) as error:
            log.warning("MTA-STS of %s: no policy: %s", domain, str(error) or "no answer in time")
            self._failed = {name: until for name, until in self._failed.items() if until > now}
            if len(self._failed) < MOST_POLICIES:
                self._failed[domain] = now + RETRY_SECONDS
            return known
        if domain in self._known or len(self._known) < MOST_POLICIES:
            self._known[domain] = found
            await asyncio.to_thread(self._store, domain, found)
        return found

    # the web server

    async def _fetch(self, domain: str, delivery: Delivery) -> str:
        """The policy's text. Raises PolicyError, DnsFailure, OSError, EOFError, HTTPException."""
        host = f"mta-sts.{domain}"
        addresses: list[str] = []
        for kind in ("A", "AAAA"):
            addresses += (await self._resolver.ask(kind, host)).records
        addresses = [text for text in ordered(addresses, delivery.family) if delivery.private or not is_private(text)]
        if not addresses:
            raise PolicyError(f"{host} has no address that may be used")
        fault: Exception = PolicyError("no address answered")
        for address in addresses[:4]:
            try:
                return _body(await self._get(host, address, delivery))
            except OSError as error:
                fault = error
        raise fault

    async def _get(self, host: str, address: str, delivery: Delivery) -> bytes:
        source = delivery.source_ipv6 if ":" in address else delivery.source_ipv4
        reader, writer = await asyncio.open_connection(
            address,
            self._port,
            ssl=context(delivery.ca, verified=True),
            server_hostname=host,
            local_addr=(source, 0) if source else None,
            ssl_shutdown_timeout=1.0,
        )
        try:
            request = f"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\n"
            writer.write(f"{request}Connection: close\r\n\r\n".encode())
            answer = b""
            while piece := await reader.read(POLICY_BYTES):
                answer += piece
                if len(answer) > POLICY_BYTES + HEADER_BYTES:
                    raise PolicyError("the answer is too large")
            return answer
        finally:
            writer.transport.abort()

    # the disk

    async def _warm(self) -> None:
        if self._folder is not None:
            self._known |= await asyncio.to_thread(self._load)

    def _load(self) -> dict[str, Policy]:
        """What is on disk and has not ended; the rest is removed."""
        assert self._folder
        found: dict[str, Policy] = {}
        now = self._clock()
        for path in sorted(self._folder.glob("*.json"))[: 2 * MOST_POLICIES]:
            try:
                fields = json.loads(path.read_bytes())
                policy = Policy(
                    str(fields["mode"]), tuple(map(str, fields["mx"])), str(fields["id"]), float(fields["until"])
                )
            except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
                policy = None
            if policy and now < policy.until <= now + MOST_AGE and len(found) < MOST_POLICIES:
                found[path.stem] = policy
                continue
            try:
                path.unlink()
            except OSError as error:
                log.warning("MTA-STS: cannot remove %s: %s", path, error)
        return found

    def _store(self, domain: str, policy: Policy) -> None:
        """Keep it; a disk that is full costs only the memory of it."""
        if self._folder is None or len(domain) > 200:  # a name of a file ends at 255
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished = self._folder / f".{domain}"
            unfinished.write_text(json.dumps(asdict(policy)), "ascii")
            unfinished.replace(self._folder / f"{domain}.json")
        except OSError as error:
            log.warning("MTA-STS of %s: cannot keep its policy: %s", domain, error)


def read_policy(text: str, id: str, now: float) -> Policy:
    """Read a policy file (section 3.2); unknown keys are ignored, the first of a doubled one counts. Raises
    PolicyError.
    """
    fields: dict[str, str] = {}
    mx: list[str] = []
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "mx":
            mx.append(value.lower().rstrip("."))
        else:
            fields.setdefault(key, value)
    age = fields.get("max_age", "")
    if fields.get("version") != "STSv1" or fields.get("mode") not in ("enforce", "testing", "none"):
        raise PolicyError("the file has no version STSv1 or no known mode")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise PolicyError("the file has no max_age in seconds")
    if len(mx) > MOST_HOSTS or not all(_PATTERN.fullmatch(name) for name in mx):
        raise PolicyError("the file has too many mx lines, or one that names no host")
    if not mx and fields["mode"] != "none":
        raise PolicyError("the file names no mx")
    return Policy(fields["mode"], tuple(mx), id, now + min(int(age), MOST_AGE))


def _record(texts: tuple[str, ...]) -> str:
    """The id of the one record that counts, "" when there is none or more than one (section 3.1)."""
    records = [re.sub(r'" +"', "", text).strip('"') for text in texts]
    records = [text for text in records if re.match(r"v=STSv1 *(?:;|$)", text)]
    if len(records) != 1:
        return ""
    return next((match[1] for part in records[0].split(";") if (match := _ID.fullmatch(part.strip()))), "")


class _Answer:
    """Bytes where HTTPResponse expects a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def _body(answer: bytes) -> str:
    """The text of a 200 of type text/plain; redirections are not followed (section 3.3)."""
    response = HTTPResponse(_Answer(answer), method="GET")  # type: ignore[arg-type]
    response.begin()
    if response.status != 200:
        raise PolicyError(f"the web server answered {response.status}")
    kind = response.headers.get_content_type()
    if kind != "text/plain":
        raise PolicyError("the file is not of type text/plain")
    body = response.read(POLICY_BYTES + 1)
    if len(body) > POLICY_BYTES:
        raise PolicyError("the file is too large")
    return body.decode("utf-8", "replace")
