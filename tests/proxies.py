"""A small TCP proxy that can be told to cut, to refuse and to keep silent."""

import socket
import threading
from contextlib import suppress


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


class Proxy:
    """Passes bytes on between its own port and ``target``: (host, port), or a socket's path."""

    def __init__(self, target):
        self._target = target
        self._is_cut, self._silent = False, False
        self._left = None
        self._open, self._lock = [], threading.Lock()

    def __enter__(self):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listening.close()
        self.cut()

    def cut(self):
        """Drop every connection, and refuse new ones."""
        self._is_cut = True
        self._drop()

    def cut_after(self, n_bytes):
        """Cut in the middle of what the client sends, after so many bytes."""
        self._left = n_bytes

    def keep_silent(self):
        """Take new connections, and never answer."""
        self._silent = True

    def mend(self):
        """Pass everything on again."""
        self._is_cut, self._silent, self._left = False, False, None
        self._drop()

    def _drop(self):
        with self._lock:
            dropped, self._open = self._open, []
        for each in dropped:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            with self._lock:
                self._open.append(client)
            if not self._silent:
                server = self._connect()
                for ends in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _connect(self):
        if isinstance(self._target, str):
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
        else:
            server = socket.create_connection(self._target)
        with self._lock:
            self._open.append(server)
        return server

    def _pass(self, source, sink, is_from_client):
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                if is_from_client and self._left is not None:
                    piece, self._left = piece[: self._left], self._left - len(piece)
                    sink.sendall(piece)
                    if self._left <= 0:
                        self.cut()
                        return
                    continue
                sink.sendall(piece)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
