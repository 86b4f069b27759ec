"""HEIC photos are read like any other, and where nothing reads them a message says what to install.

`phone.heic` is a picture of three flat colours (white above, red left, blue right; 96 x 64), told by EXIF to be turned
a quarter clockwise and to be taken at 26 mm, coded by pillow-heif.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipelines import video2mesh
from recon.capture.errors import PhotoError
from recon.capture.heic import reads_heic
from recon.capture.photo import read_photo
from recon.capture.unposed import photo_files

PHONE = Path(__file__).parent / "phone.heic"


@pytest.fixture
def without_heic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setattr("recon.capture.heic.importlib.util.find_spec", lambda name: None)
    reads_heic.cache_clear()
    assert not reads_heic()
    yield
    reads_heic.cache_clear()


@pytest.mark.parametrize("name", ["photo.heic", "photo.HIF", "renamed.jpg"])
def test_a_phones_photo_is_upright_and_knows_its_lens(tmp_path: Path, name: str) -> None:
    shutil.copy(PHONE, tmp_path / name)
    photo = read_photo(tmp_path / name)
    assert photo.rgb.shape == (96, 64, 3)
    assert photo.focal_35mm == 26
    for place, colour in (((20, 10), (200, 40, 40)), ((80, 10), (40, 60, 200)), ((48, 58), (240, 240, 240))):
        np.testing.assert_allclose(photo.rgb[place].tolist(), colour, atol=6)
    assert photo_files(tmp_path) == [tmp_path / name]


@pytest.mark.parametrize("bytes_left", [20, 300, 600])
def test_a_truncated_one_is_refused_by_name(tmp_path: Path, bytes_left: int) -> None:
    (tmp_path / "half.heic").write_bytes(PHONE.read_bytes()[:bytes_left])
    with pytest.raises(PhotoError, match=r"half\.heic"):
        read_photo(tmp_path / "half.heic")


def test_one_that_makes_its_decoder_crash_is_refused_like_any_damage(tmp_path: Path) -> None:
    data = bytearray(PHONE.read_bytes())
    assert data[176:180] == b"Exif"
    data[176] = 0xC5  # pi-heif 1.4 reads through a null pointer then
    (tmp_path / "crash.heic").write_bytes(data)
    with contextlib.suppress(PhotoError):  # another pi-heif may well read it
        assert read_photo(tmp_path / "crash.heic").rgb.shape == (96, 64, 3)


def test_one_whose_header_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(PHONE.read_bytes())
    place = data.index(b"ispe") + 8
    data[place : place + 8] = (10).to_bytes(4, "big") * 2
    (tmp_path / "lies.heic").write_bytes(data)
    with pytest.raises(PhotoError, match=r"lies\.heic"):
        read_photo(tmp_path / "lies.heic")


def test_its_pixels_are_counted_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon.capture.images.MAX_PIXELS", 64 * 96 - 1)
    with pytest.raises(PhotoError, match="64 x 96 pixels"):
        read_photo(PHONE)


def test_the_extra_is_named_where_it_is_missing(
    tmp_path: Path, without_heic: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(8):
        shutil.copy(PHONE, folder / f"{index}.heic")
    with pytest.raises(PhotoError, match=r"turnabout\[heic\]"):
        read_photo(folder / "0.heic")
    assert video2mesh.main([str(folder), "-o", str(tmp_path / "out")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "8 HEIC pictures" in said
    assert "turnabout[heic]" in said
    assert not (tmp_path / "out").exists()
