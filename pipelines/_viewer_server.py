"""viser's server as we run it: with our script and style in its page, for its own page alone.

viser looks at nobody who connects. Any page of the web that is open in a browser on this machine could read what is
shown, so each request is looked at before viser has it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines._options import OptionsError

_OUR_NAMES = ("127.0.0.1", "localhost", "::1")
_MOST_PORT = 65535
_starting = threading.Lock()


def import_viser() -> Any:
    """The package viser.

    Raises:
        OptionsError: if it is not installed.
    """
    try:
        import viser
    except ImportError as cause:
        raise OptionsError("the viewer needs viser: pip install 'turnabout[view]'") from cause
    return viser


@contextmanager
def scene_server(host: str, port: int) -> Iterator[Any]:
    """A viser server with our axes, colours and page, stopped at the end.

    Raises:
        OptionsError: if the address cannot be had.
    """
    viser = import_viser()
    port = _free_port(host, port)
    with _guarded(host), contextlib.redirect_stdout(io.StringIO()):  # it prints addresses whatever it is told
        server = viser.ViserServer(host=host, port=port, label="Turnabout", verbose=False)
    try:
        server.scene.set_up_direction("+y")
        # Its button to share would let the world in through somebody's relay.
        server.gui.configure_theme(control_layout="collapsible", show_logo=False, show_share_button=False)
        yield server
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()


def address_of(server: Any) -> str:
    """Where a browser finds a viser server."""
    host = server.get_host()
    return f"http://{f'[{host}]' if ':' in host else host}:{server.get_port()}"


def head(more: str = "") -> str:
    """What our pages carry in their heads: our style and script, and what has to run `more`, before the script."""
    return f"<style>{_file('viewer.css')}</style><script>{more}{_file('viewer.js')}</script>"


def refusal(host: str, headers: Any) -> str:
    """Why a request is not answered by a server that listens on `host`; "" if it is.

    A page of another site names itself in `Origin`. One whose name was made to lead here (DNS rebinding) is asked for
    under that name, so a server that listens on this machine alone answers to this machine's names alone.
    """
    asked = headers.get("Host", "")
    origin = headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != asked:
        return f"pages of {origin} may not look at what is shown here\n"
    name = urlsplit(f"//{asked}").hostname
    if _is_local(host) and name not in _OUR_NAMES and name != host:
        return f"this is 127.0.0.1, not {asked}\n"
    return ""


def _free_port(host: str, port: int) -> int:
    """The first port from `port` on that is not in use, or 0, which stands for any. viser, in a thread of its own,
    leaves whoever started it waiting for ever if it cannot listen."""
    if not 0 <= port <= _MOST_PORT:
        raise OptionsError(f"expected a port from 0 to {_MOST_PORT}, found {port}")
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as cause:
        raise OptionsError(f"the host {host!r} has no address; 127.0.0.1 is this machine alone") from cause
    for candidate in range(port, _MOST_PORT + 1):
        try:
            for family, _, _, _, address in addresses:
                socket.create_server((address[0], candidate, *address[2:]), family=family).close()
            return candidate
        except OSError as cause:
            if cause.errno != errno.EADDRINUSE:
                reason = os.strerror(cause.errno or errno.EADDRNOTAVAIL)
                message = f"cannot listen at {host!r}, port {candidate}: {reason}; choose another host or port"
                raise OptionsError(message) from cause
    raise OptionsError(f"all ports of {host!r} from {port} on are in use; choose a lower one")


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _guarded(host: str) -> Iterator[None]:
    """Within, viser starts servers that look at requests first. It has no setting for it, so the function with which
    it starts them is held back for the moment."""
    from websockets.asyncio import server as sockets

    start = sockets.serve

    def serve(*arguments: Any, process_request: Callable[..., Any], **more: Any) -> Any:
        looks = functools.partial(_answer, host, process_request)
        return start(*arguments, process_request=looks, **more)

    with _starting:
        sockets.serve = serve  # type: ignore[assignment, misc]
        try:
            yield
        finally:
            sockets.serve = start  # type: ignore[misc]


def _answer(host: str, viser_answer: Callable[..., Any], connection: Any, request: Any) -> Any:
    if refused := refusal(host, request.headers):
        return connection.respond(HTTPStatus.FORBIDDEN, refused)
    if request.headers.get("Upgrade") == "websocket" or urlsplit(request.path).path not in ("/", "/index.html"):
        return viser_answer(connection, request)
    if "Accept-Encoding" in request.headers:
        del request.headers["Accept-Encoding"]  # so that the page comes as text
    response = viser_answer(connection, request)
    page = response.body.replace(b"</head>", head().encode() + b"</head>", 1)
    del response.headers["Content-Length"]
    response.headers["Content-Length"] = str(len(page))
    response.body = page
    return response


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
