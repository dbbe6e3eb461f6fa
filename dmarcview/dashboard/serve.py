"""Serves the dashboard with waitress until the process is asked to stop."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dmarcview.dashboard import guard
from dmarcview.dashboard.app import END, WARM

if TYPE_CHECKING:
    from dash import Dash

log = logging.getLogger(__name__)
MAX_BODY = 2_000_000  # bytes of one request; callbacks send a few hundred
CONNECTIONS = 200
IDLE_SECONDS = 30
STOP_SECONDS = 2  # that answers under way may take at the stop


class Server:
    """A bound server: `port` is known before `run`, which returns after `stop` or a signal to the process."""

    def __init__(
        self, app: Dash, host: str = "127.0.0.1", port: int = 0, threads: int = 4, *, alone: bool = False
    ) -> None:
        """`alone`: the process does nothing else, so that what it has loaded by the first page is there to stay."""
        from waitress.server import create_server

        self.app, self._stopping, self._alone = app, False, alone
        # a page asks for six things at once; that some of them wait a moment is no warning
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._server: Any = create_server(
            app.server,
            host=host,
            port=port,
            threads=threads,
            ident=None,
            max_request_body_size=MAX_BODY,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            clear_untrusted_proxy_headers=True,
        )
        self.host, self.port = host, int(getattr(self._server, "effective_port", 0) or _first_port(self._server))

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.app.config.requests_pathname_prefix}"

    def run(self) -> None:
        """Serve until stopped. Meanwhile the first answers are fetched and the first files packed."""
        threading.Thread(target=self._warm, name="warm", daemon=True).start()
        try:
            self._server.run()
        except (OSError, ValueError):
            if not self._stopping:  # `stop` closes sockets under the loop that waits for them
                raise

    def _warm(self) -> None:
        """Load the engine and fill the caches; who comes before waits only for what is not there yet."""
        try:
            self.app.server.extensions[WARM]()
        except Exception:  # a page that asks the same tells its visitor
            log.exception("the first answers could not be fetched")
        guard.warm(self.app.server, self.app.config.routes_pathname_prefix)
        if self._alone:  # else each full collection walks through all libraries, and a page waits for it
            gc.collect()
            gc.freeze()

    def stop(self) -> None:
        """End `run` from another thread."""
        self._stopping = True
        self._server.close()
        # DuckDB fills the log with leaks when the process ends while threads or frozen objects hold what is its own
        self._server.task_dispatcher.shutdown(timeout=STOP_SECONDS)
        self.app.server.extensions[END]()
        gc.unfreeze()


def _first_port(server: Any) -> int:
    """The port of a server on several addresses (a name that has both IPv4 and IPv6)."""
    return int(server.effective_listen[0][1])


def serve(app: Dash, host: str, port: int, threads: int = 4, ready: Callable[[str], None] | None = None) -> None:
    """Bind, tell `ready` the address, and serve until a signal ends the process."""
    server = Server(app, host, port, threads)
    if ready is not None:
        ready(server.url)
    server.run()
