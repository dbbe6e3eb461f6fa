"""Puts the dashboard together: `create_app` makes the server, its guard and its callbacks. Nothing happens at import.

Callbacks only translate: URL -> View, View -> frames (cached), frames -> components by pure functions of `pages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dash import Dash

from dmarcview.dashboard import callbacks, faults, guard, routes, shell
from dmarcview.dashboard.alerts import AlertFrames
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.papers import Papers
from dmarcview.dashboard.reconcile import ReconcileFrames

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store


WARM = "dmarcview-warm"  # the Flask extension that fills the cache before the first visitor
END = "dmarcview-end"  # and the one that ends what is still being asked


def create_app(
    source: Store | Config | Frames,
    *,
    prefix: str = "/",
    title: str = "dmarcview",
    hosts: tuple[str, ...] = (),
    watched: tuple[str, ...] = (),
    address: str = "",
    receivers: Mapping[str, str] | None = None,
) -> Dash:
    """The dashboard over a store.

    `source` is an open Store, a Config (its store is opened and its settings are used), or ready-made Frames.
    `prefix` is the path under which a proxy serves it, `hosts` names by which it may be asked beside loopback,
    `watched` and `address` fill the record to publish while there is no data, `receivers` is
    `[reconcile] receivers`. Raises StoreError when the store cannot be opened.
    """
    frames, settings = _frames(source)
    prefix = "/" + (settings.get("prefix") or prefix).strip("/")
    prefix = prefix if prefix.endswith("/") else prefix + "/"
    title = settings.get("title") or title
    watched = settings.get("watched") or watched
    app = Dash(
        __name__,
        assets_folder="assets",
        assets_ignore=r"early\.js|.*\.txt|.*\.svg",
        requests_pathname_prefix=prefix,
        routes_pathname_prefix=prefix,
        index_string=shell.index(prefix + "assets"),
        serve_locally=True,
        suppress_callback_exceptions=True,
        update_title=None,  # type: ignore[arg-type]  # None: the title does not flash on each poll
        title=title,
        add_log_handler=False,
        compress=False,
        on_error=faults.caught,
    )
    app.enable_dev_tools(debug=False)
    receivers = settings.get("receivers") or receivers
    alerts = AlertFrames(frames, settings.get("alerts"), receivers)
    app.layout = lambda: _layout(prefix, title, alerts)
    app.server.extensions[WARM] = frames.warm
    papers = Papers(frames, limits=settings.get("limits"))
    compared = ReconcileFrames(frames, receivers)
    app.server.extensions[END] = lambda: _close(compared, alerts)
    desk = callbacks.Desk(frames, papers, compared, alerts, prefix, watched, settings.get("address") or address)
    callbacks.register(app, desk)
    routes.register(app.server, papers, compared, alerts, prefix)
    guard.install(app.server, (*hosts, *settings.get("hosts", ())), app.csp_hashes(), prefix, app.callback_map)
    return app


def _close(compared: ReconcileFrames, alerts: AlertFrames) -> None:
    for slowly in (compared.slowly, alerts.slowly):
        slowly.close()


def _layout(prefix: str, title: str, alerts: AlertFrames) -> Any:
    """The frame; it comes without versions while the store does not answer."""
    found = routes.versions(alerts)
    return shell.layout(prefix, title, found.store if found else "", found.alerts if found else None)


def _frames(source: Any) -> tuple[Frames, dict[str, Any]]:
    if isinstance(source, Frames):
        return source, {}
    if not hasattr(source, "dashboard"):
        return Frames(source), {}
    from dmarcview.config import data_dir
    from dmarcview.store import Store

    url = source.data.url or None
    store = Store.open(data_dir(source), url=url, watched=source.domains.watched)
    pages = source.dashboard
    return Frames(store, doubtful=source.trust.unverified, watched=source.domains.watched), {
        "prefix": pages.prefix,
        "title": pages.title,
        "hosts": (*pages.hosts, pages.listen),
        "watched": tuple(source.domains.watched),
        "address": next(iter(source.receive.rua), ""),
        "limits": source.limits,
        "receivers": source.reconcile.receivers,
        "alerts": source.alerts,
    }
