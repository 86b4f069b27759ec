"""A small client of the web app's HTTP API; the standard library alone.

from pipelines.app_client import AppClient

client = AppClient("http://127.0.0.1:8000")
job = client.wait(client.submit(Path("photo.jpg"), preset="fast"))
client.fetch(job, "mesh.glb", Path("photo.glb"))
"""

from __future__ import annotations

import ipaddress
import json
import os
import select
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from http.cookiejar import CookieJar
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

_HEADER = {"X-Turnabout": "1"}
_BLOCK = 2**16


class AppError(ValueError):
    """What the app refused, and why; or why a job failed."""


class _Connection(HTTPConnection):
    """Reads an answer that comes before the end of an upload.

    urllib asks the server to close the connection after its answer. What it has not read of the upload by then resets
    the connection, and the reason for a refusal is gone.
    """

    def request(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, Any] | None = None, **more: Any
    ) -> None:
        headers = dict(headers or {})
        if body is not None:
            body = self._until_answered(body)
            del headers["Connection"]
        super().request(method, url, body, headers, **more)

    def _until_answered(self, file: IO[bytes]) -> Iterator[bytes]:
        while block := file.read(_BLOCK):
            yield block
            # What can be read of an encrypted connection need not be an answer.
            if not isinstance(self.sock, ssl.SSLSocket) and select.select([self.sock], [], [], 0)[0]:
                return


class _SafeConnection(_Connection, HTTPSConnection):
    pass


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Connection, request)


class _SafeHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_SafeConnection, request)


class AppClient:
    """One user of an app. Jobs are dictionaries as the API tells them: id, name, state, stages, notes, message, files.

    Args:
        url: of the app, such as "http://127.0.0.1:8000".
        timeout: seconds to wait for each answer.
    """

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        handlers = [urllib.request.HTTPCookieProcessor(CookieJar()), _Handler(), _SafeHandler()]
        if _is_this_machine(urlsplit(url).hostname or ""):  # which no proxy can reach
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def submit(self, file: Path, preset: str = "fast") -> dict[str, Any]:
        """Uploads a photo or a video.

        Raises:
            AppError: if the app refuses it.
            OSError: if the file or the app cannot be reached.
        """
        query = urlencode({"name": file.name, "preset": preset})
        headers = _HEADER | {"Content-Length": str(file.stat().st_size), "Content-Type": "application/octet-stream"}
        with file.open("rb") as body:
            return self._json(urllib.request.Request(f"{self._url}/api/jobs?{query}", body, headers, method="POST"))

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as it is now.

        Raises:
            AppError: if it is gone.
        """
        return self._json(urllib.request.Request(f"{self._url}/api/jobs/{quote(job['id'])}"))

    def wait(
        self, job: dict[str, Any], every: float = 1.0, progress: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """The job when it is done.

        Args:
            every: seconds between two questions.
            progress: told the job after each.

        Raises:
            AppError: if it failed, or is gone.
        """
        while True:
            job = self.job(job)
            if progress is not None:
                progress(job)
            if job["state"] == "done":
                return job
            if job["state"] not in ("waiting", "running"):
                raise AppError(f"{job['name']}: {job['state']}: {job['message']}")
            time.sleep(every)

    def fetch(self, job: dict[str, Any], name: str, path: Path) -> None:
        """Saves one of the job's files; `path` appears whole or not at all.

        Raises:
            AppError: if there is no such file.
            OSError: if it cannot be written.
        """
        request = urllib.request.Request(f"{self._url}/api/jobs/{quote(job['id'])}/files/{quote(name)}")
        draft = path.with_name(f".{path.name}.partial")
        try:
            with self._open(request) as answer, draft.open("wb") as file:
                shutil.copyfileobj(answer, file)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)

    def remove(self, job: dict[str, Any]) -> None:
        """Ends the job if it runs, and deletes its files.

        Raises:
            AppError: if it is gone already.
        """
        url = f"{self._url}/api/jobs/{quote(job['id'])}"
        self._open(urllib.request.Request(url, headers=_HEADER, method="DELETE")).close()

    def _json(self, request: urllib.request.Request) -> dict[str, Any]:
        with self._open(request) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def _open(self, request: urllib.request.Request) -> Any:
        try:
            return self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            try:
                message = json.load(error)["error"]
            except (ValueError, KeyError, TypeError):
                message = error.reason
            raise AppError(f"{request.full_url}: {error.code}: {message}") from error


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
