"""A local preview of a built site, with the headers that hosts are asked to send."""

from __future__ import annotations

import fnmatch
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from atlas.errors import InputError
from atlas.hosts import HEADERS

ADDRESS = "127.0.0.1"
"""Only this machine: a preview is nobody else's."""


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder quietly, with the headers of `atlas.hosts`."""

    def end_headers(self) -> None:
        for pattern, values in HEADERS.items():
            if fnmatch.fnmatchcase(self.path, pattern):
                for name, value in values.items():
                    self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


def site_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of ``folder`` that is bound and waits to be told ``serve_forever()``.

    Args:
        folder: a built site.
        port: 0 takes any free one (``server_address[1]`` says which).

    Raises:
        InputError: there is no site, or the port is taken.
    """
    if not (folder / "index.html").is_file():
        raise InputError(f"{folder} holds no index.html: build a site first, with `atlas site` or `atlas demo`")
    try:
        return ThreadingHTTPServer((ADDRESS, port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}): choose another with --port") from error
