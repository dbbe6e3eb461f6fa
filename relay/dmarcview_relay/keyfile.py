"""Private keys of DKIM as PEM files: made, read with care, written so that no other user can read them.

RSA keys are written in PKCS#1, which every signer reads; Ed25519 keys in PKCS#8 (RFC 8410).
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from dmarcview_smtp.files import sync_folder

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

RSA, ED25519 = "rsa", "ed25519"
LEAST_BITS = 1024  # RFC 8301 section 3.2
GOOD_BITS = 2048  # below it we warn
MOST_BITS = 8192
NEW_BITS = (2048, 3072, 4096)
FILE_BYTES = 65_536  # longest key file


class KeyFault(Exception):
    """A key cannot be used or made; the text says why and what to do."""


def make(algorithm: str, bits: int = GOOD_BITS) -> PrivateKey:
    """A new key of the algorithm; `bits` count for RSA only."""
    if algorithm == ED25519:
        return Ed25519PrivateKey.generate()
    if bits not in NEW_BITS:
        raise KeyFault(f"a new RSA key has {', '.join(map(str, NEW_BITS))} bits, not {bits}")
    return generate_private_key(public_exponent=65_537, key_size=bits)


def read(path: Path) -> PrivateKey:
    """The key of a file, or of what a symbolic link names. Raises KeyFault."""
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise KeyFault(f"{path} is no file")
            private_enough(path, info)
            pem = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise KeyFault(f"{path}: {error.strerror}") from None
    if len(pem) > FILE_BYTES:
        raise KeyFault(f"{path} is too long for a key")
    return parse(pem, str(path))


def private_enough(path: Path, info: os.stat_result) -> None:
    """Refuse a key that others can read or change. Group-readable passes when the file is root's. Raises KeyFault."""
    if info.st_mode & (0o037 if info.st_uid == 0 else 0o077):
        raise KeyFault(
            f"{path} can be read or changed by others (mode {stat.S_IMODE(info.st_mode):04o}): "
            f"chmod {'640' if info.st_uid == 0 else '600'} {path}"
        )


def parse(pem: bytes, what: str) -> PrivateKey:
    """The key of a PEM text that has no passphrase; `what` names it in errors. Raises KeyFault."""
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise KeyFault(f"{what} has a passphrase; write it without: openssl pkey -in OLD -out NEW") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFault(f"{what} holds no private key in PEM form") from None
    if isinstance(key, RSAPrivateKey):
        if not LEAST_BITS <= key.key_size <= MOST_BITS:
            raise KeyFault(
                f"{what} has {key.key_size} bits; receivers take {LEAST_BITS} to {MOST_BITS} (RFC 8301): "
                "make one with `dmarcview key new`"
            )
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise KeyFault(f"{what} is neither an RSA nor an Ed25519 key; DKIM knows no others")


def write(path: Path, key: PrivateKey) -> None:
    """Write a key for its owner only; it is on disk when this returns. Raises FileExistsError, OSError."""
    shape = PrivateFormat.TraditionalOpenSSL if isinstance(key, RSAPrivateKey) else PrivateFormat.PKCS8
    pem = key.private_bytes(Encoding.PEM, shape, NoEncryption())
    private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # half a key would keep a relay from its others
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            give(file.fileno(), path.parent)
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    finally:
        draft.unlink()
    sync_folder(path.parent)
    sync_folder(path.parent.parent)


def private_folder(folder: Path) -> None:
    """Make a folder and those above it, for the owner only. Raises OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
        give(one, one.parent)


def give(what: Path | int, folder: Path) -> None:
    """Root writes for the owner of the folder: the relay, which runs as its own user, must read what is made here."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(what, owner.st_uid, owner.st_gid)


def algorithm_of(key: PrivateKey) -> str:
    """The `k=` of its DNS record."""
    return RSA if isinstance(key, RSAPrivateKey) else ED25519


def bits_of(key: PrivateKey) -> int:
    """Its length in bits."""
    return key.key_size if isinstance(key, RSAPrivateKey) else 256


def public_of(key: PrivateKey) -> str:
    """The `p=` of its DNS record: SubjectPublicKeyInfo (RFC 6376 section 3.6.1), or the bare key (RFC 8463)."""
    if isinstance(key, RSAPrivateKey):
        data = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        data = key.public_key().public_bytes_raw()
    return base64.b64encode(data).decode("ascii")
