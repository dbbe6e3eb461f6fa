"""The certificates that our own listeners show: read from their files, as far as their end."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path


class CertificateFault(Exception):
    """A certificate or its key cannot be read; the text says why."""


def ends(chain: str, key: str) -> datetime:
    """When the certificate of a chain ends (UTC), the first in its file. Raises CertificateFault."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(Path(chain).read_bytes())
        Path(key).read_bytes()
    except (OSError, ValueError) as error:
        raise CertificateFault(str(error)) from None
    return found.not_valid_after_utc
