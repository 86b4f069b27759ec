"""`python -m pipelines.app`: photos and videos to meshes in the browser, and an HTTP API for programs."""

from __future__ import annotations

import ipaddress
import signal
import sys
from dataclasses import dataclass

import tyro

from pipelines._command import ended_as_interrupted, run_command
from pipelines._options import OptionsError


@dataclass(frozen=True)
class AppOptions:
    """Serves a page on which a photo or a video is dropped and a mesh comes out; docs/viewing.md describes the API.

    Needs pip install 'turnabout[app]'."""

    host: str = "127.0.0.1"
    """Where to listen. Anybody who can reach it can use it: there are no passwords."""
    port: int = 8000
    """The port; 0 takes a free one."""
    waiting: int = 8
    """Uploads that may wait; one is worked on at a time."""
    keep_minutes: float = 60.0
    """How long finished jobs are kept, unless they are deleted before; all go when the app ends."""


def run(options: AppOptions) -> None:
    """Serves until it is stopped.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from pipelines._app_jobs import Jobs
    from pipelines._viewer_server import import_viser

    try:
        import uvicorn

        from pipelines._app_server import make_app
    except ImportError as cause:
        raise OptionsError("the app needs FastAPI: pip install 'turnabout[app]'") from cause
    import_viser()
    if not 1 <= options.waiting <= 1000 or not 0 < options.keep_minutes < 1e6:
        raise OptionsError("expected --waiting of 1 to 1000 and positive --keep-minutes")
    if not 0 <= options.port <= 65_535:
        raise OptionsError(f"expected --port of 0 to 65535, found {options.port}")
    jobs = Jobs(options.waiting, 60 * options.keep_minutes)
    try:
        app = make_app(jobs, _names(options.host))
        config = uvicorn.Config(
            app, host=options.host, port=options.port, log_level="warning", timeout_graceful_shutdown=3
        )
        socket = config.bind_socket()
        socket.listen()  # so that who reads the address can ask at once
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"http://{host}:{socket.getsockname()[1]}  (Ctrl-C ends it)", file=sys.stderr, flush=True)
        server = uvicorn.Server(config)
        hangup = getattr(signal, "SIGHUP", None)  # not on Windows
        if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
            signal.signal(hangup, server.handle_exit)  # as it treats SIGINT and SIGTERM; `main` puts the old one back
        server.run(sockets=[socket])
    except KeyboardInterrupt:
        pass
    except SystemExit as stop:  # uvicorn has said why
        raise OSError(f"{options.host}:{options.port}: cannot be listened on; choose another --port") from stop
    finally:
        jobs.close()


def _names(host: str) -> list[str]:
    """Host names under which the app may be asked for: on this machine its own alone, so that no page of another site
    can pretend to be it (DNS rebinding); elsewhere any."""
    local = ["127.0.0.1", "localhost", "[::1]"]
    try:
        return local if host == "localhost" or ipaddress.ip_address(host).is_loopback else ["*"]
    except ValueError:
        return ["*"]


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(AppOptions, args=args, prog="app", config=(tyro.conf.FlagCreatePairsOff,))
    with ended_as_interrupted():  # else the files would stay
        return run_command(lambda: run(options), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
