"""Client certificates as logins: by fingerprint, or by the private CA that signed them.

The handshake has checked dates and signatures already. A listener's `client_ca` holds CA certificates, certificates of
clients, or both: these last need no CA, but their fingerprints must be in `certificates`.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from .settings import ClientCertificate
from .users import Users

log = logging.getLogger(__name__)


class Recogniser:
    """Says whose certificate a client has shown."""

    def __init__(self, users: Users, pinned: Sequence[ClientCertificate], client_ca: Path) -> None:
        """Raises OSError or ValueError when the file cannot be used now; one that is bad later leaves the old."""
        self._users = users
        self._pinned = {entry.fingerprint.replace(":", "").lower(): entry.user for entry in pinned}
        self._file = client_ca
        self._state = client_ca.stat()
        self._authorities = self._read()

    def _read(self) -> list[x509.Certificate]:
        found = x509.load_pem_x509_certificates(self._file.read_bytes())
        return [one for one in found if _is_authority(one) and _print(one) not in self._pinned]

    def _renew(self) -> None:
        try:
            state = self._file.stat()
            if (state.st_mtime_ns, state.st_size, state.st_ino) == (
                self._state.st_mtime_ns, self._state.st_size, self._state.st_ino,
            ):  # fmt: skip
                return
            self._state = state
            self._authorities = self._read()
        except (OSError, ValueError) as error:
            log.error("%s not taken, the old CAs stay: %s", self._file, error)

    def user(self, tls: ssl.SSLObject) -> str:
        """The user of the client's certificate, "" for none."""
        self._renew()
        der = tls.getpeercert(binary_form=True)
        if not der:
            return ""
        try:
            shown = x509.load_der_x509_certificate(der)
            names = [self._pinned[_print(shown)]] if _print(shown) in self._pinned else self._names(shown)
        except ValueError:
            return ""
        user = next((name for name in names if self._users.find(name)), "")
        if not user:
            log.warning(
                "client certificate %s is nobody's: %s", _print(shown), ", ".join(map(repr, names)) or "no name"
            )
        return user

    def _names(self, shown: x509.Certificate) -> list[str]:
        """What a certificate of our CA calls its owner: mail addresses and host names, then the common name."""
        if not any(_signed(shown, authority) for authority in self._authorities):
            return []
        names: list[str] = []
        try:
            extension = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names += extension.get_values_for_type(x509.RFC822Name)
            names += extension.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:
            pass
        names += [str(one.value) for one in shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        return names


def _print(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex()


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    if certificate == authority:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
