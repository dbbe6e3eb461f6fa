"""Plain addresses beside the pages: health, readiness, gauges, raw XML, CSV of what a page shows."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from flask import Flask, Response, jsonify, request

from dmarcview.dashboard import text, url
from dmarcview.dashboard.alerts import AlertFrames
from dmarcview.dashboard.faults import WORDS_CAP
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.papers import Papers, slices
from dmarcview.dashboard.reconcile import ReconcileFrames
from dmarcview.dashboard.sent import SentFrames

log = logging.getLogger(__name__)
CSV_SLICE = 500  # rows at a time
METRICS_DAYS = 7  # so many days back their completeness is a gauge
Answer = TypeVar("Answer")


class Versions(NamedTuple):
    """What moves when rows, the sent log, or incidents and published records have changed."""

    store: str
    sent: int
    alerts: int


def register(server: Flask, papers: Papers, compared: ReconcileFrames, alerts: AlertFrames, prefix: str) -> None:
    """Hang the routes below `prefix` on a server."""
    frames = papers.frames

    def version() -> Response:
        found = versions(alerts)
        if found is None:
            return _plain("the store does not answer\n", 503)
        slow = compared.slowly.finished + alerts.slowly.finished
        return jsonify(version=found.store, waiting=papers.backlog(), sent=found.sent, alerts=found.alerts, slow=slow)

    def healthz() -> Response:
        return _plain("ok\n")

    def readyz() -> Response:
        return _plain("ready\n") if versions(alerts) is not None else _plain("the store does not answer\n", 503)

    def metrics() -> Response:
        from dmarcview.alerts.gauges import CONTENT_TYPE

        found = _answered(lambda: _gauges(frames))
        return found if isinstance(found, Response) else Response(found, content_type=CONTENT_TYPE)

    def raw(key: str) -> Response:
        xml = _answered(lambda: papers.xml(key)) if key.isalnum() else None
        if isinstance(xml, Response):
            return xml
        if xml is None:
            return _plain("This report is not in the archive.\n", 404)
        answer = Response(slices(xml), mimetype="application/octet-stream")
        answer.headers["Content-Length"] = str(len(xml))
        answer.headers["Content-Disposition"] = f'attachment; filename="{key[:64]}.xml"'
        return answer

    def table(name: str) -> Response:
        view = url.parse(request.query_string.decode("latin-1"))
        asks: dict[str, Callable[[], pd.DataFrame]] = {
            "sources": lambda: frames.sources(view, limit=None),
            "reports": lambda: papers.reports(view, limit=None),
            "sent": lambda: SentFrames(frames).rows(view, limit=None),
            "reconcile": lambda: compared.rows(view),
            "probes": lambda: SentFrames(frames).probes(compared.said),
        }
        if name not in asks:
            return _plain("There is no such table.\n", 404)
        found = _answered(asks[name])
        return found if isinstance(found, Response) else _csv(found, name)

    for rule, view_function, endpoint in (
        ("version", version, "version"),
        ("healthz", healthz, "healthz"),
        ("readyz", readyz, "readyz"),
        ("metrics", metrics, "metrics"),
        ("raw/<key>.xml", raw, "raw"),
        ("export/<name>.csv", table, "export"),
    ):
        _add(server, prefix + rule, endpoint, view_function)


def _gauges(frames: Frames) -> bytes:
    """The gauges; a day is as complete as the pages say."""
    from dmarcview.alerts.gauges import exposition

    view, today = url.View(), pd.Timestamp(frames.today())
    days, _ = frames.freshness(view)
    shares = {int((today - day).days): float(share) for day, share in zip(days["day"], days["share"], strict=True)}
    known = {ago: share for ago, share in shares.items() if ago <= METRICS_DAYS and not math.isnan(share)}
    return exposition(frames.store, frames.last_complete(view), known, verified=not frames.doubtful)


def versions(alerts: AlertFrames) -> Versions | None:
    """The versions as of now; None, and a line in the log, when the store does not answer."""
    from sqlalchemy.exc import SQLAlchemyError

    from dmarcview.store import StoreError

    frames = alerts.frames
    try:
        return Versions(str(frames.version()), SentFrames(frames).version(), alerts.version())
    except (StoreError, SQLAlchemyError, OSError) as error:
        log.error("the store does not answer: %s", error)
        return None


def _answered(ask: Callable[[], Answer]) -> Answer | Response:
    """What the store answers; 503, a sentence and a line in the log when it does not."""
    import duckdb
    from sqlalchemy.exc import SQLAlchemyError

    from dmarcview.store import StoreError

    try:
        return ask()
    except (StoreError, SQLAlchemyError, duckdb.Error, OSError) as error:
        log.exception("%s could not be answered", text.show(request.path))
        said = f": {text.show(str(error), WORDS_CAP)}" if isinstance(error, StoreError) else " just now"
        return _plain(f"The store does not answer{said}. Nothing was sent; try again later.\n", 503)


def _add(server: Flask, rule: str, endpoint: str, function: Any) -> None:
    server.add_url_rule(rule, f"dmarcview-{endpoint}", function)
    # Dash's own catch-all route is older than these: the more specific rule wins in Werkzeug whatever the order


def _plain(body: str, status: int = 200) -> Response:
    return Response(body, status=status, mimetype="text/plain")


def _csv(frame: pd.DataFrame, name: str) -> Response:
    """The table as a download. Its first piece is made at once, so that what fails on it is no answer of 200."""

    def lines() -> Iterator[str]:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(frame.columns)
        for start in range(0, max(len(frame), 1), CSV_SLICE):
            for row in frame.iloc[start : start + CSV_SLICE].itertuples(index=False):
                writer.writerow([_cell(value) for value in row])
            yield out.getvalue()
            out.seek(0)
            out.truncate()

    def told(pieces: Iterator[str]) -> Iterator[str]:
        try:
            yield from pieces
        except Exception:  # the server cuts the connection without the end mark, and the log says why
            log.exception("the export of %s ended before its last row", name)
            raise

    pieces = lines()
    answer = Response(told(chain([next(pieces)], pieces)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return answer


def _cell(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return "" if value is pd.NaT or value is pd.NA else text.csv_cell(value)
