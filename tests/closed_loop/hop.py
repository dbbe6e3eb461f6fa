"""Something on the way that changes mail: it passes SMTP on from the sender's own address, and adds a line to each."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

from tests.closed_loop.namespace import HOP, MX, OURS

ADDED = b"Added on the way.\r\n"


class _Pass(socketserver.StreamRequestHandler):
    """One session: lines go on as they are, but for the one before the final dot."""

    def handle(self) -> None:
        with socket.create_connection((MX, 25), 30, source_address=(OURS, 0)) as onward:
            back = threading.Thread(target=self._back, args=(onward,))
            back.start()
            for line in self.rfile:
                onward.sendall(ADDED + line if line == b".\r\n" else line)
            onward.shutdown(socket.SHUT_WR)
            back.join()

    def _back(self, onward: socket.socket) -> None:
        while said := onward.recv(65_536):
            self.wfile.write(said)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextlib.contextmanager
def hop() -> Iterator[None]:
    """It listens on its address while the block runs."""
    with _Server((HOP, 25), _Pass) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
