from __future__ import annotations

import hashlib
import random

import pytest

from gen.data.downloads import (
    ATTEMPTS,
    DownloadError,
    download,
    download_package,
    https_opener,
    unpack_member,
    whole_file,
)
from tests.gen.origin_lists import LIBRARY, debian_package
from tests.gen.serving import internet

URL = "https://example.org/thing.bin"


@pytest.fixture
def net():
    with internet() as served:
        yield served


def test_a_file_arrives_as_it_is(net):
    net.files[URL] = b"content" * 1000
    assert download(URL, net.opener) == b"content" * 1000


def test_a_passing_fault_is_tried_again(net):
    net.files[URL], net.faults[URL] = b"content", ATTEMPTS - 1
    assert download(URL, net.opener, pause=0) == b"content"
    assert len(net.asked) == ATTEMPTS


def test_a_fault_that_stays_is_named(net):
    net.files[URL], net.faults[URL] = b"content", ATTEMPTS
    with pytest.raises(DownloadError, match=r"thing\.bin: the server answers 503"):
        download(URL, net.opener, pause=0)


def test_a_missing_file_is_not_asked_for_twice(net):
    with pytest.raises(DownloadError, match="answers 404"):
        download(URL, net.opener, pause=0)
    assert net.asked == [URL]


def test_a_file_that_arrives_cut_off_is_refused(net):
    net.files[URL], net.promised[URL] = b"content", 100
    with pytest.raises(DownloadError, match="cut off after 7 of 100 bytes"):
        download(URL, net.opener, pause=0)
    assert len(net.asked) == ATTEMPTS


@pytest.mark.parametrize("promised", [1000, 10])
def test_a_file_that_is_too_large_is_refused(net, promised):
    net.files[URL], net.promised[URL] = b"x" * 1000, promised
    with pytest.raises(DownloadError, match=r"more than the (100|5) bytes allowed"):
        download(URL, net.opener, limit=min(100, promised // 2))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_nothing_but_https_is_opened(url):
    with pytest.raises(DownloadError, match="unknown url type"):
        download(url, https_opener(), pause=0)


def test_a_package_comes_from_the_first_address_that_has_the_right_one(net, tmp_path):
    urls = [f"https://{host}.example.org/package.deb" for host in ("gone", "other", "good", "spare")]
    net.files = {urls[1]: b"another", urls[2]: b"package", urls[3]: b"package"}
    download_package(urls, hashlib.sha256(b"package").hexdigest(), tmp_path / "package.deb", net.opener, pause=0)
    assert (tmp_path / "package.deb").read_bytes() == b"package"
    assert net.asked == urls[:3]


def test_a_package_with_another_hash_is_not_kept(net, tmp_path):
    net.files[URL] = b"another"
    with pytest.raises(DownloadError, match="expected the file with SHA-256 00"):
        download_package([URL], "00" * 32, tmp_path / "package.deb", net.opener, pause=0)
    assert not list(tmp_path.iterdir())


def test_a_file_is_taken_out_of_a_debian_package(tmp_path):
    package, target = tmp_path / "package.deb", tmp_path / "library"
    package.write_bytes(debian_package({"a.txt": b"hello"}))
    unpack_member(package, LIBRARY, target)
    assert b"hello" in target.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no package", "expected a Debian package"),
        (b"!<arch>\n" + b"x" * 60, r"expected data\.tar\.xz"),
        (debian_package({"noise": random.Random(0).randbytes(50_000)})[:-20_000], "damaged"),
        (debian_package({}), "expected the file usr/share/none"),
    ],
)
def test_a_bad_package_is_refused_and_leaves_nothing(tmp_path, content, message):
    package = tmp_path / "package.deb"
    package.write_bytes(content)
    with pytest.raises(DownloadError, match=message):
        unpack_member(package, "usr/share/none", tmp_path / "target")
    assert list(tmp_path.iterdir()) == [package]


def test_a_file_that_is_interrupted_leaves_nothing(tmp_path):
    def write_half() -> None:
        with whole_file(tmp_path / "target") as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert not list(tmp_path.iterdir())
