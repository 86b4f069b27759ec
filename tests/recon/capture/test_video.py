"""Videos of every usual kind give their pictures, upright and in the right colours; damaged ones give messages."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from recon.capture import hdr
from recon.capture.errors import CaptureError
from recon.capture.video import _widened, read_pictures, scan_video
from tests.recon.capture.video_files import noise, sliding, turned_in_its_header, write_sound, write_video

UNEVEN = [0.0, 0.04, 0.2, 0.21, 0.5, 0.9]
KINDS = {
    "h264.mp4": ("libx264", "yuv420p"),
    "h264.mov": ("libx264", "yuv420p"),
    "h264.mkv": ("libx264", "yuv420p"),
    "vp9.webm": ("libvpx-vp9", "yuv420p"),
    "ten_bit.mp4": ("libx264", "yuv420p10le"),
}


@pytest.mark.parametrize("name", KINDS)
def test_videos_of_uneven_rate_are_read_with_their_times(tmp_path, name):
    codec, pixels = KINDS[name]
    pictures = sliding([0, 2, 2, 2, 2, 2])
    path = write_video(tmp_path / name, pictures, codec=codec, pixels=pixels, times=UNEVEN, options={"crf": "10"})
    scan = scan_video(path)
    assert np.allclose(scan.times, UNEVEN, atol=0.002)
    assert (scan.width, scan.height) == (144, 96)
    assert scan.motion[0] == 0
    assert np.allclose(scan.motion[1:], 2 / 144, atol=0.006)
    found = list(read_pictures(path, [4, 1]))
    assert [picture.index for picture in found] == [1, 4]
    for picture in found:
        assert np.abs(picture.rgb.astype(int) - pictures[picture.index]).mean() < 8
        assert picture.time == pytest.approx(UNEVEN[picture.index], abs=0.002)


def test_an_animated_gif_is_a_video(tmp_path):
    pictures = sliding([0, 4, 4, 4])
    path = write_video(tmp_path / "a.gif", pictures, codec="gif", pixels="rgb8")
    assert len(scan_video(path).times) == 4
    (picture,) = read_pictures(path, [2])
    assert np.abs(picture.rgb.astype(int) - pictures[2]).mean() < 24  # 256 fixed colours


def test_transparency_of_webm_is_kept(tmp_path):
    alpha = np.zeros((96, 144, 1), np.uint8)
    alpha[24:72, 40:100] = 255
    pictures = [np.dstack((picture, alpha)) for picture in sliding([0, 2, 2])]
    path = write_video(tmp_path / "a.webm", pictures, codec="libvpx-vp9", pixels="yuva420p")
    (picture,) = read_pictures(path, [1])
    assert ((picture.alpha > 128) != (alpha[..., 0] > 128)).mean() < 0.01


@pytest.mark.parametrize(("aspect", "width"), [(Fraction(4, 3), 192), (Fraction(1, 2), 72), (Fraction(99, 1), 144)])
def test_pixels_that_are_not_square_are_made_square(tmp_path, aspect, width):
    pictures = sliding([0, 2, 2])
    path = write_video(tmp_path / "a.mp4", pictures, aspect=aspect, options={"crf": "10"})
    scan = scan_video(path)
    assert (scan.width, scan.height) == (width, 96)
    (picture,) = read_pictures(path, [1])
    assert picture.rgb.shape == (96, width, 3)
    expected = cv2.resize(pictures[1], (width, 96), interpolation=cv2.INTER_LINEAR)
    assert np.abs(picture.rgb.astype(int) - expected).mean() < 10


def test_a_transparent_surrounding_stays_out_of_colours_that_are_widened():
    rgb, alpha = np.zeros((8, 16, 3), np.uint8), np.zeros((8, 16), np.uint8)
    rgb[:, 4:12], alpha[:, 4:12] = (200, 100, 50), 255
    for width in (21, 11):
        wide, cover = _widened(rgb, alpha, width)
        assert wide.shape == (8, width, 3)
        assert np.abs(wide[cover > 8].astype(int) - (200, 100, 50)).max() <= 3
        assert abs(cover.mean() - alpha.mean()) < 8


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_phones_pictures_come_upright(tmp_path, degrees):
    picture = noise()
    path = turned_in_its_header(write_video(tmp_path / "a.mp4", [picture] * 3), degrees)
    upright = np.rot90(picture, -degrees // 90)
    scan = scan_video(path)
    assert (scan.height, scan.width) == upright.shape[:2]
    (found,) = read_pictures(path, [1])
    assert np.abs(found.rgb.astype(int) - upright).mean() < 8


@pytest.mark.parametrize("matrix", [1, 5], ids=["BT.709", "BT.601"])
def test_colours_follow_the_matrix_that_the_file_states(tmp_path, matrix):
    red = np.full((64, 64, 3), (200, 30, 60), np.uint8)
    path = write_video(tmp_path / "a.mp4", [red] * 3, colors={"colorspace": matrix}, options={"qp": "0"})
    (found,) = read_pictures(path, [0])
    assert np.abs(found.rgb.astype(int) - red).max() <= 4


@pytest.mark.parametrize(("number", "transfer"), [(16, "pq"), (18, "hlg")])
def test_hdr_greys_stay_grey_ordered_and_within_white(tmp_path, number, transfer):
    ramp = np.linspace(0, 65535, 128).astype(np.uint16)
    picture = np.repeat(np.broadcast_to(ramp[None, :, None], (64, 128, 3)).copy(), 1, axis=0)
    mapped = hdr.tone_mapped(picture, transfer)
    grey = mapped[0].astype(int)
    assert (np.ptp(grey, axis=1) <= 2).all()
    assert (np.diff(grey[:, 1]) >= 0).all()
    assert grey[0, 1] == 0
    assert grey[-1, 1] >= 240
    # Diffuse white, 203 cd/m2: 58 % of PQ's signal and 75 % of HLG's (ITU-R BT.2408, table 1)
    white = hdr.tone_mapped(
        np.full((1, 1, 3), round((0.58 if transfer == "pq" else 0.75) * 65535), np.uint16), transfer
    )
    assert 225 <= white.min() <= white.max() <= 250
    path = write_video(
        tmp_path / "a.mp4", [picture] * 3, codec="libx264", pixels="yuv420p10le", deep=True,
        colors={"color_trc": number, "color_primaries": 9, "colorspace": 1},
    )  # fmt: skip
    (found,) = read_pictures(path, [0])
    assert np.abs(found.rgb.astype(int) - mapped).mean() < 6


def test_a_file_with_sound_alone_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="sound only"):
        scan_video(write_sound(tmp_path / "a.mp4"))


@pytest.mark.parametrize("name", ["index_behind.mp4", "index_in_front.mp4", "a.mkv"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_a_truncated_video_is_refused(tmp_path, name, share):
    front = {"movflags": "faststart"} if name == "index_in_front.mp4" else {}
    path = write_video(tmp_path / name, [noise(i) for i in range(20)], container_options=front)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CaptureError, match=name):
        scan_video(path)


@pytest.mark.parametrize("share", [0.4, 0.75, 0.98])
def test_a_truncated_gif_is_refused_and_a_padded_one_is_not(tmp_path, share):
    frames = [Image.fromarray(noise(i)) for i in range(8)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40, loop=0)
    data = path.read_bytes()
    path.write_bytes(data + b"\0\0")
    assert len(scan_video(path).times) == 8
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CaptureError, match="without its end"):
        scan_video(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"no video" * 100),
        ("noise.mp4", np.random.default_rng(0).bytes(5000)),
        ("list.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"),
        ("concat.txt", b"ffconcat version 1.0\nfile /etc/passwd\n"),
    ],
)
def test_what_is_no_video_is_refused_and_nothing_that_it_names_is_opened(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CaptureError, match=name):
        scan_video(tmp_path / name)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(CaptureError, match="no file"):
        scan_video(tmp_path / "nowhere.mp4")
    with pytest.raises(CaptureError, match="a folder"):
        scan_video(tmp_path)


def test_pictures_too_large_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", [noise()] * 2)
    monkeypatch.setattr("recon.capture.video.MAX_PIXELS", 1000)
    with pytest.raises(CaptureError, match="144 x 96"):
        scan_video(path)


def test_videos_too_long_are_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", [noise()] * 6)
    monkeypatch.setattr("recon.capture.video.MAX_FRAMES", 5)
    with pytest.raises(CaptureError, match="more than 5 frames"):
        scan_video(path)


@pytest.mark.parametrize("shape", [(32, 320), (96, 720), (16, 128), (320, 32)])
def test_very_wide_and_very_high_videos_are_scanned(tmp_path, shape):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (*shape, 3), dtype=np.uint8) for _ in range(8)]
    scan = scan_video(write_video(tmp_path / "a.mp4", pictures))
    assert (scan.height, scan.width) == shape
    assert len(scan.times) == 8


def test_a_last_frame_that_is_held_is_no_truncation(tmp_path):
    path = write_video(tmp_path / "a.webm", sliding([0, 2, 2, 2]), codec="libvpx-vp9", times=[0, 0.04, 0.08, 4.0])
    assert len(scan_video(path).times) == 4


def test_frames_that_an_edit_list_hides_are_no_truncation(tmp_path):
    """As a phone trims a video: the header still counts all frames."""
    pictures = sliding([0] + [3] * 29)
    path = write_video(tmp_path / "a.mp4", pictures, times=[i / 25 for i in range(30)])
    data = bytearray(path.read_bytes())
    place = data.index(b"elst")
    # version 0: count, then duration (movie's scale), media time (track's scale), rate
    scale = int.from_bytes(data[data.index(b"mdhd") + 16 : data.index(b"mdhd") + 20], "big")
    start = int.from_bytes(data[place + 16 : place + 20], "big") + round(0.6 * scale)
    data[place + 16 : place + 20] = start.to_bytes(4, "big")
    path.write_bytes(bytes(data))
    found = len(scan_video(path).times)
    assert 10 <= found <= 20
