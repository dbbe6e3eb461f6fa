"""Stands before every request: whose browser may ask and in what shape, what a page may load, files packed once.

There is no login, so a page of some other site must not be able to read or write through the user's browser:
the Host check stops DNS rebinding, the Origin check stops forged POSTs.
"""

from __future__ import annotations

import gzip
import ipaddress
import posixpath
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from dash.exceptions import DependencyException
from dash.fingerprint import check_fingerprint
from flask import Flask, Request, Response, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from dmarcview.dashboard import given

_PACKED_TYPES = (".js", ".css", ".svg", ".json", ".txt")
_STATIC_FOLDERS = ("_dash-component-suites/", "assets/")
_CALLBACKS = "_dash-update-component"
_WORTH_PACKING = 1_000  # bytes
_CACHE_FILES = 300
_YEAR = "public, max-age=31536000, immutable"
_READS = ("GET", "HEAD", "OPTIONS")


def allowed_host(netloc: str, names: frozenset[str]) -> bool:
    """True for an IP literal, `localhost` or a configured name, whatever the port: rebinding needs a foreign name."""
    try:
        host = (urlsplit("//" + netloc).hostname or "").rstrip(".")
        if host in names or host == "localhost":
            return True
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def same_origin(asked: Request, names: frozenset[str]) -> bool:
    """True unless a browser says that another site sent this request. Programs send no Origin and pass."""
    origin = asked.headers.get("Origin")
    if origin is None:
        return asked.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    try:
        there = urlsplit(origin)
        return there.netloc == asked.host or (there.hostname or "") in names
    except ValueError:
        return False


def policy(hashes: Iterable[str]) -> str:
    """The Content-Security-Policy: own files only; styles inline because Mantine, Plotly and the grid write them."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {' '.join(hashes)}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class Packed:
    """Static files gzipped on first use and kept: packing 5 MB on each visit would cost half a second."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}
        self._lock = threading.Lock()

    def get(self, path: str) -> tuple[bytes, str] | None:
        """(packed bytes, media type) if `path` was packed before."""
        return self._files.get(path)

    def put(self, path: str, content: bytes, media: str) -> bytes:
        """Pack and keep the content of `path`."""
        packed = gzip.compress(content, 9, mtime=0)
        with self._lock:
            if len(self._files) < _CACHE_FILES:
                self._files[path] = (packed, media)
        return packed


def install(
    server: Flask,
    hosts: Iterable[str],
    hashes: Iterable[str],
    prefix: str = "/",
    known: Mapping[str, Mapping[str, Any]] | None = None,
) -> Packed:
    """Hang the checks, headers and packing on a Flask server; gives the cache of packed files.

    `prefix` is where the dashboard is served, with both slashes; `known` are the callbacks it answers.
    """
    names = frozenset(h.lower().rstrip(".") for h in hosts if h)
    folders = tuple(prefix + folder for folder in _STATIC_FOLDERS)
    csp = policy(hashes)
    cache = Packed()

    def before() -> Response | None:
        if not allowed_host(request.host, names):
            return _refuse(421, "This name is not served here. Add it to [dashboard] hosts, or ask by address.")
        if request.method not in _READS and not same_origin(request, names):
            return _refuse(403, "This request came from another site.")
        if request.method == "POST" and request.path == prefix + _CALLBACKS and not given.fits(_body(), known or {}):
            return _refuse(400, "No page of this version asks this. Load the page again.")
        if _static(request, folders) and _takes_gzip():
            kept = cache.get(_name(request.path))
            if kept is not None:
                return _packed_response(*kept)
        return None

    def after(response: Response) -> Response:
        headers = response.headers
        headers["Content-Security-Policy"] = csp
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers.pop("Server", None)
        if headers.get("Content-Encoding") or response.status_code != 200 or request.method == "HEAD":
            return response
        if _static(request, folders):
            if request.path.endswith(_PACKED_TYPES) and _takes_gzip():
                response.direct_passthrough = False
                packed = cache.put(_name(request.path), response.get_data(), response.mimetype or "")
                _set_packed(response, packed)
            _keep(response)
        elif response.mimetype in ("application/json", "text/html"):
            headers["Cache-Control"] = "no-store"
            if not response.is_streamed and _takes_gzip() and (response.content_length or 0) > _WORTH_PACKING:
                _set_packed(response, gzip.compress(response.get_data(), 1, mtime=0))
        return response

    server.before_request(before)
    server.after_request(after)
    # Dash raises for a file that no component has, and for source maps that its packages name and do not bring
    for error in (DependencyException, FileNotFoundError):
        server.register_error_handler(error, _missing(folders))
    return cache


def _static(asked: Request, folders: tuple[str, ...]) -> bool:
    """True when a route of files answers: below the prefix alone, and not the page that takes every other path."""
    rule = asked.url_rule
    return rule is not None and rule.rule.startswith(folders) and asked.path.startswith(folders)


def _name(path: str) -> str:
    """One name for each file, however its address spells it: neither dots nor a made-up version fill the cache."""
    bare: Any = check_fingerprint  # has no types
    return str(bare(posixpath.normpath(path))[0])


def _missing(folders: tuple[str, ...]) -> Callable[[Exception], Response]:
    def answer(error: Exception) -> Response:
        if not _static(request, folders):
            raise error
        return _refuse(404, "There is no such file.")

    return answer


def _body() -> Any:
    """The JSON of a request; None for what is none."""
    try:
        return request.get_json()
    except (BadRequest, UnsupportedMediaType, RequestEntityTooLarge, RecursionError):  # the last: brackets in brackets
        return None


def _takes_gzip() -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "").lower()


def _packed_response(packed: bytes, media: str) -> Response:
    response = Response(packed, mimetype=media)
    response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    _keep(response)
    return response


def _set_packed(response: Response, packed: bytes) -> None:
    response.set_data(packed)
    response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"


def _keep(response: Response) -> None:
    """Addresses of Dash's own files and of assets carry a version, so that a year is safe."""
    if "m=" in request.query_string.decode("latin-1") or ".v" in request.path:
        response.headers["Cache-Control"] = _YEAR


def _refuse(status: int, sentence: str) -> Response:
    return Response(sentence + "\n", status=status, mimetype="text/plain")


def warm(server: Flask, page: str = "/") -> int:
    """Ask once for every script and style that `page` names, so that the first visitor waits for no packing."""
    import re

    client: Any = server.test_client()
    asked = 0
    body = client.get(page, headers={"Host": "localhost"}).get_data(as_text=True)
    for address in re.findall(r'(?:src|href)="([^"]+\.(?:js|css|svg)[^"]*)"', body):
        client.get(address, headers={"Host": "localhost", "Accept-Encoding": "gzip"}).close()
        asked += 1
    return asked
