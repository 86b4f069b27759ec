"""A web server on this machine that plays the internet: every https address is asked of it."""

from __future__ import annotations

import contextlib
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote
from urllib.request import OpenerDirector


class Internet:
    """Serves `files`, by their addresses.

    Attributes:
        files: address -> content.
        promised: address -> what its Content-Length says instead of the truth.
        faults: address -> how often it answers 503 before it works.
        asked: the addresses that were asked for, in that order.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.promised: dict[str, int] = {}
        self.faults: dict[str, int] = {}
        self.asked: list[str] = []
        self.opener = OpenerDirector()

    def connect(self, port: int) -> None:
        class Https(urllib.request.BaseHandler):
            def https_open(self, request):
                return self.parent.open(f"http://127.0.0.1:{port}/{request.full_url}")

        for handler in (
            Https(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self.opener.add_handler(handler)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = unquote(handler.path[1:])
        self.asked.append(url)
        if self.faults.get(url, 0) > 0:
            self.faults[url] -= 1
            handler.send_error(503)
        elif url not in self.files:
            handler.send_error(404)
        else:
            content = self.files[url]
            handler.send_response(200)
            handler.send_header("Content-Length", str(self.promised.get(url, len(content))))
            handler.end_headers()
            with contextlib.suppress(ConnectionError):  # whoever asked has heard enough
                handler.wfile.write(content)


@contextlib.contextmanager
def internet() -> Iterator[Internet]:
    net = Internet()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            net.answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    net.connect(server.server_port)
    try:
        yield net
    finally:
        server.shutdown()
        server.server_close()
