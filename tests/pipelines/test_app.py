"""The web app over real HTTP, with a program in place of the chain that says and writes what the chain would.

The chain itself behind it, in a browser, is in `tests/acceptance/test_viewer.py`.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image

from pipelines import _app_server, app
from pipelines._app_jobs import Jobs
from pipelines._app_root import LOCK
from pipelines.app_client import AppClient, AppError

PROGRAM = """#!{python}
import os, pathlib, subprocess, sys, time
module, source, *rest = sys.argv[2:]
if module == "pipelines.view":
    pathlib.Path(rest[1]).write_text("<html>page</html>")
    sys.exit()
out = pathlib.Path(rest[1])
say = lambda line: print(line, file=sys.stderr, flush=True)
if "bad" in pathlib.Path(source).name:
    say(f"error: {{source}}: found nothing in it: '{{source[:-12]}}; expected more")  # some cut what they quote
    sys.exit(2)
out.mkdir()
say("note: something is assumed")
os.write(2, b"no text: \\xff\\xfe\\n")
say("photo       0.5 s")
if "slow" in pathlib.Path(source).name:
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    child = subprocess.Popen([{python!r}, "-c", deaf], stdout=subprocess.PIPE)
    child.stdout.readline()  # it no longer hears what it is told
    pathlib.Path(os.environ["TOLD"]).write_text(f"{{os.getpid()}} {{child.pid}}")
    time.sleep(600)
for name in ("mesh.glb", "splat.ply", "orbit.mp4", "preview.png", "report.json", "secret.txt"):
    (out / name).write_text(f"{{module}} {{rest[-1]}}")
say("mesh        2.0 s")
"""


@dataclass
class Served:
    url: str
    jobs: Jobs
    port: int

    def client(self) -> AppClient:
        return AppClient(self.url)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "program"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setattr("pipelines._app_jobs.sys", type("Fake", (), {"executable": str(path)}))
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    return path


@pytest.fixture
def served(program: Path) -> Iterator[Served]:
    jobs = Jobs(most_waiting=2, keep=3600)
    config = uvicorn.Config(_app_server.make_app(jobs, ["127.0.0.1"]), host="127.0.0.1", port=0, log_level="error")
    socket = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    port = socket.getsockname()[1]
    settled(lambda: server.started)
    yield Served(f"http://127.0.0.1:{port}", jobs, port)
    server.should_exit = True
    thread.join(10)
    jobs.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8), (200, 30, 40)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def settled(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def renamed(photo: Path, name: str) -> Path:
    path = photo.with_name(name)
    path.write_bytes(photo.read_bytes())
    return path


def test_a_photo_becomes_files_and_every_stage_is_told(served, photo, tmp_path):
    client = served.client()
    job = client.submit(photo, preset="balanced")
    assert job["state"] in ("waiting", "running")
    done = client.wait(job, every=0.05)
    assert {stage["name"]: stage["seconds"] for stage in done["stages"]} == {
        "photo": 0.5, "orbit": None, "video": None, "splat": None, "mesh": 2.0, "preview": None,
        "page": done["stages"][-1]["seconds"],
    }  # fmt: skip
    assert 0 < done["stages"][-1]["seconds"] < 20
    assert done["notes"] == ["something is assumed"]
    assert done["files"] == ["mesh.glb", "splat.ply", "orbit.mp4", "preview.png", "report.json", "view.html"]
    client.fetch(done, "mesh.glb", tmp_path / "got.glb")
    assert (tmp_path / "got.glb").read_text() == "pipelines.img2mesh balanced"
    assert sorted(path.name for path in tmp_path.glob("got*")) == ["got.glb"]


def test_a_video_goes_to_the_other_command(served, photo, tmp_path):
    client = served.client()
    done = client.wait(client.submit(renamed(photo, "Turn.MP4")), every=0.05)
    assert [stage["name"] for stage in done["stages"]][:2] == ["frames", "cameras"]
    client.fetch(done, "mesh.glb", tmp_path / "got.glb")
    assert (tmp_path / "got.glb").read_text() == "pipelines.video2mesh fast"


def test_a_run_that_fails_says_why_and_not_where(served, photo):
    client = served.client()
    with pytest.raises(AppError, match=r"failed: bad\.png: found nothing in it: the upload; expected more$"):
        client.wait(client.submit(renamed(photo, "bad.png")), every=0.05)


def test_a_running_job_is_ended_with_all_that_it_started_and_leaves_nothing(served, photo, tmp_path):
    client = served.client()
    job = client.submit(renamed(photo, "slow.png"))
    settled((tmp_path / "told").exists)
    settled((tmp_path / "told").read_text)
    client.remove(job)
    for pid in map(int, (tmp_path / "told").read_text().split()):
        settled(functools.partial(ended, pid))
    settled(lambda: not files_below(served.jobs.root))
    with pytest.raises(AppError, match="404"):
        client.job(job)
    assert client.wait(client.submit(photo), every=0.05)["state"] == "done"  # the next one has its turn


def files_below(folder: Path) -> list[str]:
    """Also while they are being deleted."""
    return [name for _, _, names in os.walk(folder) for name in names if name != LOCK]


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_those_that_wait_can_be_taken_back_and_are_limited(served, photo, tmp_path):
    client = served.client()
    slow = client.submit(renamed(photo, "slow.png"))
    settled((tmp_path / "told").exists)
    waiting = [client.submit(photo), client.submit(photo)]
    assert [client.job(job)["place"] for job in (slow, *waiting)] == [None, 1, 2]
    with pytest.raises(AppError, match=r"429.*2 jobs wait and 0 uploads arrive"):
        client.submit(photo)
    client.remove(waiting[0])
    assert client.job(waiting[1])["place"] == 1
    client.submit(photo)
    client.remove(slow)
    assert client.wait(waiting[1], every=0.05)["state"] == "done"


@pytest.mark.parametrize("told", [True, False])
def test_what_is_too_large_is_refused_before_it_is_stored(served, photo, monkeypatch, told):
    monkeypatch.setattr(_app_server, "MOST_PHOTO", 2**20)
    connection = HTTPConnection("127.0.0.1", served.port, timeout=20)
    chunks = (b"x" * 2**16 for _ in range(100))
    headers = {"X-Turnabout": "1"} | (
        {"Content-Length": str(100 * 2**16)} if told else {"Transfer-Encoding": "chunked"}
    )
    connection.request("POST", "/api/jobs?name=a.png", chunks, headers, encode_chunked=not told)
    assert connection.getresponse().status == 413
    assert not files_below(served.jobs.root)


@pytest.mark.parametrize(("name", "words"), [("large.png", "413: expected at most 64 MiB"), ("setup.exe", "415: ")])
def test_the_client_hears_why_an_upload_is_refused_that_no_buffer_holds(served, tmp_path, name, words):
    with (tmp_path / name).open("wb") as file:
        file.truncate(200 * 2**20)  # takes no room
    for _ in range(5):
        with pytest.raises(AppError, match=words):
            served.client().submit(tmp_path / name)


def test_who_stops_uploading_gives_up_the_place(served, photo, monkeypatch):
    monkeypatch.setattr(_app_server, "PATIENCE", 1.5)
    head = b"POST /api/jobs?name=a.png HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Turnabout: 1\r\nContent-Length: 1000000\r\n\r\n"
    stopped = [socket.create_connection(("127.0.0.1", served.port), timeout=20) for _ in range(2)]
    for connection in stopped:
        connection.sendall(head + b"abc")
    settled(lambda: len(files_below(served.jobs.root)) == 2)
    with pytest.raises(AppError, match=r"429.*0 jobs wait and 2 uploads arrive"):
        served.client().submit(photo)
    for connection in stopped:
        assert connection.recv(2**12).startswith(b"HTTP/1.1 408 ")
        connection.close()
    assert served.client().submit(photo)["name"] == "photo.png"


def test_who_trickles_an_upload_is_refused_while_who_sends_on_is_not(served, photo, monkeypatch):
    monkeypatch.setattr(_app_server, "PATIENCE", 0.5)
    data = photo.read_bytes()
    headers = {"X-Turnabout": "1", "Content-Length": str(len(data))}

    def slowly() -> Iterator[bytes]:
        for i in range(0, len(data), 8):
            time.sleep(0.1)
            yield data[i : i + 8]

    def answer() -> int:
        connection = HTTPConnection("127.0.0.1", served.port, timeout=20)
        connection.request("POST", "/api/jobs?name=a.png", slowly(), headers)
        return connection.getresponse().status

    assert len(data) > 60  # a second at least
    assert answer() == 408
    monkeypatch.setattr(_app_server, "SLOWEST", 40)
    assert answer() == 202


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"text", "expected a photo or a video"),
        ("noname", b"text", "expected a photo or a video"),
        ("empty.png", b"", "is empty"),
        ("false.png", b"<svg onload=alert(1)>", "no picture that can be read"),
        ("half.jpg", b"\xff\xd8\xff\xe0", "half.jpg"),
    ],
)
def test_what_is_no_photo_is_refused_by_name(served, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    for _ in range(5):  # what is refused takes nobody's place
        with pytest.raises(AppError, match="415"):
            served.client().submit(tmp_path / name)
    with pytest.raises(AppError, match="415") as refused:
        served.client().submit(tmp_path / name)
    assert words in str(refused.value)
    assert str(served.jobs.root) not in str(refused.value)
    assert not files_below(served.jobs.root)


def test_names_do_not_lead_out_of_the_folder_nor_files_out_of_the_list(served, photo):
    client = served.client()
    request = urllib.request.Request(
        f"{served.url}/api/jobs?name=..%2F..%2F..%2Fetc%2Fx%20y.png", photo.read_bytes(), {"X-Turnabout": "1"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        job = json.load(answer)
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    (own,) = served.jobs.of(cookie.split("=")[1].split(".")[0])
    assert own.source.resolve().is_relative_to(served.jobs.root.resolve())
    settled(lambda: own.state == "done")
    for name in ("secret.txt", "..%2Fx_y.png", "%2e%2e%2freport.json", "view.htm"):
        with pytest.raises(urllib.error.HTTPError) as error:
            get(f"{served.url}/api/jobs/{job['id']}/files/{name}", cookie.split(";")[0])
        assert error.value.code == 404
    with pytest.raises(AppError, match="404"):
        client.job(job)  # another user's
    assert get(f"{served.url}/api/jobs/{job['id']}/files/report.json", cookie.split(";")[0]).startswith(b"pipelines")


def get(url: str, cookie: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Cookie": cookie}), timeout=20) as answer:
        data: bytes = answer.read()
        return data


def test_other_sites_cannot_use_it(served, photo):
    for headers, code in (({}, 403), ({"X-Turnabout": "1", "Host": "evil.example"}, 400)):
        request = urllib.request.Request(f"{served.url}/api/jobs?name=a.png", photo.read_bytes(), headers)
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request, timeout=20)
        assert error.value.code == code
    assert app._names("127.0.0.1") == app._names("localhost") == ["127.0.0.1", "localhost", "[::1]"]
    assert app._names("0.0.0.0") == ["*"]


def test_the_page_and_what_it_asks_for_are_there(served):
    for url, words in (("/", b"Choose a photo"), ("/app.js", b"'use strict'"), ("/app.css", b"prefers-color-scheme")):
        with urllib.request.urlopen(served.url + url, timeout=20) as answer:
            assert words in answer.read()
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(served.url + "/app.py", timeout=20)


def test_the_orbit_can_be_stopped_and_starts_only_for_those_who_do_not_mind(served):
    with urllib.request.urlopen(served.url, timeout=20) as answer:
        video = answer.read().decode().split("<video", 1)[1].split(">")[0].split()
    assert "controls" in video
    assert "autoplay" not in video
    with urllib.request.urlopen(f"{served.url}/app.js", timeout=20) as answer:
        assert "autoplay = !matchMedia('(prefers-reduced-motion: reduce)').matches" in answer.read().decode()


def test_what_can_be_fetched_can_be_asked_about(served):
    for url in ("/", "/app.js", "/api/jobs"):
        with urllib.request.urlopen(urllib.request.Request(served.url + url, method="HEAD"), timeout=20) as answer:
            assert answer.status == 200
            assert int(answer.headers["Content-Length"]) > 0
            assert answer.read() == b""


def test_the_client_asks_no_proxy_for_this_machine(served, photo, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody listens
    assert served.client().submit(photo)["name"] == "photo.png"
    with pytest.raises(OSError, match="refused"):
        AppClient("http://app.example").submit(photo)


def test_a_wrong_preset_is_named(served, photo):
    with pytest.raises(AppError, match=r"400.*preset.*found 'best'"):
        served.client().submit(photo, preset="best")


def test_finished_jobs_go_after_a_while_and_all_with_the_app(program, photo):
    jobs = Jobs(keep=0.2)
    folder = jobs.folder_for("a" * 32)
    (folder / "photo.png").write_bytes(photo.read_bytes())
    job = jobs.submit("a" * 32, folder / "photo.png", "photo.png", "fast", is_video=False)
    settled(lambda: job.state == "done")
    settled(lambda: not folder.exists())
    assert jobs.of("a" * 32) == []
    settled(lambda: [path.name for path in jobs.root.iterdir()] == [LOCK])
    jobs.close()
    assert not jobs.root.exists()


def test_finished_jobs_go_while_another_one_runs(program, photo, tmp_path):
    jobs = Jobs(keep=0.5)
    folders = []
    for name in ("photo.png", "slow.png"):
        folders.append(jobs.folder_for("a" * 32))
        (folders[-1] / name).write_bytes(photo.read_bytes())
        job = jobs.submit("a" * 32, folders[-1] / name, name, "fast", is_video=False)
    settled((tmp_path / "told").exists)
    settled(lambda: not folders[0].exists())
    assert job.state == "running"
    assert jobs.of("a" * 32) == [job]
    jobs.close()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_serves_until_it_is_told_to_stop_and_cleans_up(tmp_path, sent):
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "pipelines.app", "--port", "0"]
    # Under nohup, which these tests may run under, the app is right not to hear of a terminal that is gone.
    heard = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heard) as process:
        try:
            address = process.stderr.readline().split()[0]
            with urllib.request.urlopen(address, timeout=20) as answer:
                assert answer.status == 200
            assert len(list(tmp_path.iterdir())) == 1
            process.send_signal(sent)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_and_a_missing_extra_are_named(served, capsys, monkeypatch):
    assert app.main(["--port", str(served.port)]) == 2
    assert "--port" in capsys.readouterr().err
    assert app.main(["--waiting", "0"]) == 2
    assert "--waiting" in capsys.readouterr().err
    assert app.main(["--port", "99999"]) == 2
    assert "--port" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert app.main([]) == 2
    assert "turnabout[app]" in capsys.readouterr().err


def progress_of(job: dict[str, Any]) -> list[str]:
    return [stage["name"] for stage in job["stages"] if stage["seconds"] is not None]


def test_the_client_tells_how_far_a_job_is(served, photo):
    heard: list[list[str]] = []
    client = served.client()
    client.wait(client.submit(photo), every=0.01, progress=lambda job: heard.append(progress_of(job)))
    assert heard[-1] == ["photo", "mesh", "page"]


def test_a_cookie_that_the_server_did_not_make_is_nobody_s(served):
    """Another program on this host can put cookies where the browser sends them to us."""
    url = f"{served.url}/api/jobs"
    with urllib.request.urlopen(url, timeout=20) as answer:
        own = answer.headers["Set-Cookie"].split(";")[0]
    seal = own.split(".")[1]
    name = 32 * "a"
    for forged in (f"turnabout={name}", f"turnabout={name}.{seal}", f"{own}0", "turnabout=", "turnabout=."):
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Cookie": forged}), timeout=20) as answer:
            assert answer.headers["Set-Cookie"] is not None
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Cookie": own}), timeout=20) as answer:
        assert answer.headers["Set-Cookie"] is None
