"""The web app's address space: a page, and an HTTP API that the page and `pipelines.app_client` use.

    POST   /api/jobs?name=photo.jpg&preset=fast   the file as the body -> the job, 202
    GET    /api/jobs                              the caller's jobs
    GET    /api/jobs/ID                           one job: state, place in the queue, stages, notes, message, files
    DELETE /api/jobs/ID                           ends it and deletes its files
    GET    /api/jobs/ID/files/NAME                mesh.glb, splat.ply, orbit.mp4, preview.png, report.json, view.html

A cookie that this server made, and nobody else can, says whose jobs they are. Requests that change something must
carry the header `X-Turnabout`, which pages of other sites cannot add; the names under which the server is asked for
are checked, too.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, JSONResponse
from starlette.requests import ClientDisconnect

from pipelines._app_jobs import PRESETS, Job, Jobs, QueueFullError

COOKIE, HEADER = "turnabout", "X-Turnabout"
MOST_PHOTO, MOST_VIDEO = 64 * 2**20, 512 * 2**20
"""Bytes of an upload."""
PATIENCE, SLOWEST = 30.0, 2**14
"""Seconds without a byte after which an upload is given up, and bytes a second that it has to keep after as many."""
_PAGES = {"/": ("app.html", "text/html"), "/app.js": ("app.js", "text/javascript"), "/app.css": ("app.css", "text/css")}
_POLICY = "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'self'"
_TYPES = {".glb": "model/gltf-binary", ".mp4": "video/mp4", ".png": "image/png", ".json": "application/json"}
_TYPES |= {".html": "text/html", ".ply": "application/octet-stream"}


def make_app(jobs: Jobs, hosts: Sequence[str]) -> FastAPI:
    """The FastAPI application over a queue.

    Args:
        hosts: names under which it may be asked for; "*" for any.
    """
    _kind("warm.up")  # imports what the first upload would wait for
    owners = _Owners()
    app = FastAPI(title="Turnabout", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    def refused(status: int, message: str) -> JSONResponse:
        return JSONResponse({"error": message}, status)

    def owner_of(request: Request) -> str:
        owner: str = request.state.owner
        return owner

    @app.middleware("http")
    async def owned(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        given = request.cookies.get(COOKIE, "")
        cookie = given if owners.of(given) else owners.new()
        request.state.owner = owners.of(cookie)
        if request.method not in ("GET", "HEAD") and HEADER.lower() not in request.headers:
            return refused(403, f"the header {HEADER} is missing")
        response = await call_next(request)
        if cookie != given:
            response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", max_age=86_400)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    read = functools.partial(app.api_route, methods=["GET", "HEAD"])

    def add_page(url: str, name: str, kind: str) -> None:
        text = (Path(__file__).parent / name).read_text(encoding="utf-8")

        @read(url)
        def page() -> Response:
            return Response(text, media_type=kind, headers={"Content-Security-Policy": _POLICY})

    for url, (name, kind) in _PAGES.items():
        add_page(url, name, kind)

    @read("/api/jobs")
    def listed(request: Request) -> Response:
        return JSONResponse([jobs.as_json(job) for job in jobs.of(owner_of(request))])

    @app.post("/api/jobs")
    async def submit(request: Request, name: str, preset: str = "fast") -> Response:
        if preset not in PRESETS:
            return refused(400, f"preset: expected {', '.join(PRESETS)}, found {preset!r}"[:200])
        is_video, safe = _kind(name)
        if is_video is None:
            return refused(415, f"{name!r}: expected a photo or a video"[:200])
        most = MOST_VIDEO if is_video else MOST_PHOTO
        if int(request.headers.get("content-length", 0)) > most:
            return refused(413, f"expected at most {most >> 20} MiB")
        try:
            folder = jobs.folder_for(owner_of(request))
        except QueueFullError as error:
            return refused(429, str(error))
        source = folder / safe
        try:
            await _store(request, source, most)
            await run_in_threadpool(_look_at, source, is_video)
        except BaseException as error:
            jobs.give_up(folder)
            if isinstance(error, _UnusableError):
                return refused(error.status, str(error))
            if isinstance(error, ClientDisconnect):
                return refused(400, "the upload broke off")
            raise
        job = jobs.submit(owner_of(request), source, name, preset, is_video=is_video)
        return JSONResponse(jobs.as_json(job), 202)

    def found(request: Request, job_id: str) -> Job | None:
        return jobs.get(owner_of(request), job_id)

    @read("/api/jobs/{job_id}")
    def told(request: Request, job_id: str) -> Response:
        job = found(request, job_id)
        return refused(404, "there is no such job") if job is None else JSONResponse(jobs.as_json(job))

    @app.delete("/api/jobs/{job_id}")
    def removed(request: Request, job_id: str) -> Response:
        job = found(request, job_id)
        if job is None:
            return refused(404, "there is no such job")
        jobs.remove(job)
        return Response(status_code=204)

    @read("/api/jobs/{job_id}/files/{name}")
    def fetched(request: Request, job_id: str, name: str, download: bool = False) -> Response:
        job = found(request, job_id)
        path = None if job is None else job.file(name)
        if job is None or path is None:
            return refused(404, "there is no such file, or not yet")
        title = f"{Path(job.source).stem}{path.suffix}" if download else None
        return FileResponse(path, media_type=_TYPES[path.suffix], filename=title)

    return app


class _Owners:
    """Whose a cookie is: a name that cannot be guessed, and a seal that only this server can put on it."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def new(self) -> str:
        """A cookie for somebody new."""
        name = secrets.token_hex(16)
        return f"{name}.{self._seal(name)}"

    def of(self, cookie: str) -> str:
        """The name in a cookie; "" if it was not made here."""
        name, _, seal = cookie.partition(".")
        return name if hmac.compare_digest(seal.encode(), self._seal(name).encode()) else ""

    def _seal(self, name: str) -> str:
        return hmac.digest(self._key, name.encode(), "sha256").hex()


class _UnusableError(ValueError):
    """An upload that is no photo or video of an acceptable size."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _kind(name: str) -> tuple[bool | None, str]:
    """Whether a file's name is a video's (None: neither), and a name that is fit for our folder."""
    from recon.capture.files import unique_names
    from recon.capture.heic import SUFFIXES as HEIC
    from recon.capture.unposed import PICTURES, VIDEOS

    path = Path(name.replace("\\", "/")).name
    suffix = Path(path).suffix.lower()
    safe = unique_names([Path(path).stem or "upload"])[0] + suffix
    if suffix in VIDEOS:
        return True, safe
    return (False, safe) if suffix in (*PICTURES, *HEIC) else (None, safe)


async def _store(request: Request, path: Path, most: int) -> None:
    """Writes what is uploaded to a file.

    Raises:
        _UnusableError: if it is more than `most` bytes, or comes so slowly that it would keep others waiting.
    """
    size, start, chunks = 0, time.monotonic(), aiter(request.stream())
    with path.open("wb") as file:
        while True:
            left = PATIENCE + size / SLOWEST - (time.monotonic() - start)
            try:
                chunk = await asyncio.wait_for(anext(chunks), min(left, PATIENCE))
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise _UnusableError(408, "the upload came too slowly") from error
            size += len(chunk)
            if size > most:
                raise _UnusableError(413, f"expected at most {most >> 20} MiB")
            file.write(chunk)


def _look_at(source: Path, is_video: bool) -> None:
    """Raises `_UnusableError` for what cannot be a photo; a video's run looks for itself."""
    from recon.capture.heic import is_heic, reads_heic
    from recon.capture.images import picture_size

    if source.stat().st_size == 0:
        raise _UnusableError(415, f"{source.name}: is empty")
    if is_video or (reads_heic() and is_heic(source)):  # which cannot be looked at without decoding it
        return
    try:
        picture_size(source)
    except ValueError as error:
        raise _UnusableError(415, str(error).replace(f"{source.parent}/", "")) from error
