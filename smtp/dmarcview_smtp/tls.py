"""The certificate of a front door, read again when its files change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)

_Print = tuple[tuple[int, int, int], ...]


class Certificate:
    """A certificate chain and its key, both PEM. `context` is always whole: a bad new pair leaves the old in use."""

    def __init__(self, chain: Path, key: Path, client_ca: Path | None = None) -> None:
        """`client_ca` as in `asking`. Raises OSError or ssl.SSLError when the files cannot be used now."""
        self._chain = chain
        self._key = key
        self._client_ca = client_ca
        self._asking: dict[Path, Certificate] = {}
        self._print = self._fingerprint()
        self._context = self._load()

    def asking(self, client_ca: Path) -> Certificate:
        """The same for doors where clients may show a certificate: one in that PEM file, or signed by one in it.

        Raises OSError or ssl.SSLError.
        """
        if client_ca not in self._asking:
            self._asking[client_ca] = Certificate(self._chain, self._key, client_ca)
        return self._asking[client_ca]

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next handshake. Looks at the files each time, which costs two stat calls."""
        try:
            current = self._fingerprint()
        except OSError:
            current = ()
        if current != self._print:
            self._print = current
            self._renew()
        return self._context

    def _renew(self) -> None:
        try:
            self._context = self._load()
        except (OSError, ssl.SSLError) as error:
            log.error("certificate %s not taken, the old one stays: %s", self._chain, error)
        else:
            log.info("certificate %s read again", self._chain)

    def _fingerprint(self) -> _Print:
        files = [self._chain, self._key, *([self._client_ca] if self._client_ca else [])]
        states = [file.stat() for file in files]
        return tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in states)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.load_cert_chain(self._chain, self._key)
        if self._client_ca:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # a certificate needs no CA here
            context.load_verify_locations(self._client_ca)
        return context
