"""Photos: hostile files are refused with a reason, good ones end upright, cut out and framed as the house frames."""

from __future__ import annotations

import math
import struct
import sys
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recon.capture import orbit_camera
from recon.capture.errors import CaptureError, PhotoError
from recon.capture.images import read_rgba
from recon.capture.matting import count_subjects, cut_off, find_foreground
from recon.capture.orbit import DEFAULT_FOV
from recon.capture.photo import MAX_SIDE, SILHOUETTE_FILL, Photo, common_sides, frame_subject, read_photo, subject_fov
from tests.shared_data import ROOT, shared_path


def scene(background: str = "white", size: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A red-and-blue pear-like subject on some background, uint8, and its true mask."""
    y, x = np.mgrid[0:size, 0:size] / size
    mask = ((x - 0.5) ** 2 + (y - 0.62) ** 2 < 0.2**2) | ((x - 0.5) ** 2 + (y - 0.36) ** 2 < 0.11**2)
    grounds = {
        "white": np.ones((size, size, 3)),
        "gradient": np.stack([0.6 + 0.2 * y, 0.65 + 0.1 * x, 0.7 + 0.1 * y], axis=2),
        "shadow": 0.85
        - 0.3 * np.exp(-((((x - 0.5) / 0.33) ** 2 + ((y - 0.83) / 0.06) ** 2) ** 2))[..., None] * [1, 1, 1],
        "stripes": 0.45 + 0.12 * np.sin(40 * x + 9 * y)[..., None] * np.array([0.3, 1.0, 0.6]),
    }
    subject = np.where((y < 0.5)[..., None], [0.75, 0.15, 0.1], [0.15, 0.2, 0.6]) * (0.75 + 0.5 * (0.8 - x))[..., None]
    picture = np.where(mask[..., None], subject, grounds[background])
    noise = np.random.default_rng(0).normal(0, 0.004, picture.shape)
    return (np.clip(picture + noise, 0, 1) * 255).round().astype(np.uint8), mask


def photo_of(pixels: np.ndarray) -> Photo:
    return Photo(Path("test.png"), torch.from_numpy(pixels))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("background", ["white", "gradient", "shadow", "stripes"])
def test_the_subject_is_found_and_its_shadow_is_not(background: str) -> None:
    pixels, mask = scene(background)
    alpha = find_foreground(photo_of(pixels)).numpy()
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    assert overlap(alpha > 0.5, mask) > 0.93


def test_the_same_photo_gives_the_same_matte_whatever_ran_before() -> None:
    import cv2

    pixels, _ = scene("stripes")
    first = find_foreground(photo_of(pixels))
    cv2.setRNGSeed(99)
    find_foreground(photo_of(scene("gradient")[0]))
    assert torch.equal(first, find_foreground(photo_of(pixels)))


def test_a_window_through_the_subject_is_seen_through() -> None:
    pixels, mask = scene("white")
    y, x = np.mgrid[0:160, 0:160]
    window = (abs(x - 80) < 10) & (abs(y - 100) < 10)
    pixels[window] = 255
    assert overlap((find_foreground(photo_of(pixels)) > 0.5).numpy(), mask & ~window) > 0.93


def test_the_files_own_alpha_wins(tmp_path: Path) -> None:
    pixels, mask = scene("stripes")
    alpha = np.where(np.roll(mask, 9, 1), 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert photo.has_matte
    assert torch.equal(find_foreground(photo), torch.from_numpy(alpha).float() / 255)
    Image.fromarray(np.dstack([pixels, np.full_like(alpha, 255)])).save(tmp_path / "b.png")
    assert not read_photo(tmp_path / "b.png").has_matte


def test_an_empty_picture_a_full_one_and_two_subjects_are_refused_with_a_remedy() -> None:
    flat = np.full((120, 120, 3), 128, np.uint8)
    pixels, mask = scene("white")
    pair = np.concatenate([pixels, pixels], axis=1)
    opaque = Photo(Path("test.png"), torch.from_numpy(pixels), torch.zeros(160, 160, dtype=torch.uint8))
    almost = torch.full((160, 160), 255, dtype=torch.uint8)
    almost[:3, :100] = 0
    full = Photo(Path("test.png"), torch.from_numpy(pixels), almost)
    cases = {"no subject": photo_of(flat), "2 separate": photo_of(pair), "empty": opaque, "fills": full}
    for found, photo in cases.items():
        with pytest.raises(PhotoError, match=found) as caught:
            find_foreground(photo)
        assert "transparent" in caught.value.remedy
        assert caught.value.path.name == "test.png"


def cup_and_saucer(how: str) -> np.ndarray:
    """A photograph of a coffee cup on a wooden table, changed in a way that must not matter."""
    pixels = read_photo(ROOT / "assets" / "photos" / "coffee.jpg").rgb.numpy()
    if how == "three quarters of the size":
        return np.array(Image.fromarray(pixels).resize((450, 300), Image.Resampling.BOX))
    changes = {"as it is": pixels, "mirrored": pixels[:, ::-1], "cropped by 4 pixels": pixels[4:-4, 4:-4]}
    return np.ascontiguousarray(changes[how])


@pytest.mark.parametrize("how", ["as it is", "mirrored", "cropped by 4 pixels", "three quarters of the size"])
def test_a_cup_on_a_table_keeps_its_saucer(how: str) -> None:
    alpha = find_foreground(photo_of(cup_and_saucer(how)))
    assert 0.4 < float((alpha > 0.5).float().mean()) < 0.55
    height, width = alpha.shape
    for x, y in ((0.17, 0.6), (0.5, 0.9), (0.75, 0.65), (0.5, 0.3)):  # the saucer's left, front and right, the coffee
        assert alpha[int(y * height), int((1 - x if how == "mirrored" else x) * width)] > 0.9


@pytest.mark.parametrize("crop", [slice(None), slice(40, None)])
def test_a_face_that_fills_the_picture_is_refused_rather_than_cut_to_its_eyes(crop: slice) -> None:
    pixels = read_photo(ROOT / "assets" / "photos" / "chelsea.jpg").rgb.numpy()[:, crop]
    with pytest.raises(PhotoError, match=r"no clear subject|scattered parts") as caught:
        find_foreground(photo_of(np.ascontiguousarray(pixels)))
    for remedy in ("Crop closer", "plain background", "transparent background", "--matting"):
        assert remedy in caught.value.remedy


def test_an_alpha_that_is_nowhere_opaque_is_said_to_be_that() -> None:
    pixels, mask = scene("white")
    faint = Photo(Path("test.png"), torch.from_numpy(pixels), torch.from_numpy(mask.astype(np.uint8) * 102))
    with pytest.raises(PhotoError, match=r"nowhere above one half \(at most 40%\)"):
        find_foreground(faint)


def test_how_much_of_a_subject_s_outline_lies_on_the_border_is_measured() -> None:
    for left, share in ((3, 0.0), (0, 40 / 116)):  # a bar of 20 x 40 pixels beside the border and at it
        alpha = torch.zeros(90, 60, dtype=torch.uint8)
        alpha[25:65, left : left + 20] = 255
        given = Photo(Path("test.png"), torch.zeros(90, 60, 3, dtype=torch.uint8), alpha)
        assert cut_off(given, find_foreground(given)) == pytest.approx(share)
    cut = np.ascontiguousarray(scene("white")[0][:, :75])
    assert 0.1 < cut_off(photo_of(cut), find_foreground(photo_of(cut))) < 0.5


def test_parts_that_the_alpha_shows_are_meant_but_counted() -> None:
    pixels, mask = scene("white")
    pair, both = np.concatenate([pixels, pixels], axis=1), np.concatenate([mask, mask], axis=1)
    photo = Photo(Path("test.png"), torch.from_numpy(pair), torch.from_numpy(both.astype(np.uint8) * 255))
    assert count_subjects(find_foreground(photo) > 0.5) == 2
    assert count_subjects(torch.from_numpy(mask)) == 1


def test_noise_is_refused_as_ambiguous_or_empty() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 120, 3), dtype=np.uint8)
    with pytest.raises(PhotoError, match="found"):
        find_foreground(photo_of(noise))


def test_a_network_without_its_runtime_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what Python does when it is not installed
    (tmp_path / "isnet.onnx").write_bytes(b"weights")
    pixels, _ = scene()
    with pytest.raises(PhotoError, match=r"\.\[matting\]"):
        find_foreground(photo_of(pixels), tmp_path / "isnet.onnx")
    with pytest.raises(PhotoError, match="no file"):
        find_foreground(photo_of(pixels), tmp_path / "gone.onnx")


def test_framing_follows_the_house_convention() -> None:
    pixels, mask = scene("white")
    alpha = torch.from_numpy(mask.astype(np.float32))
    frame = frame_subject(photo_of(pixels), alpha, size=128, elevation=0.2, fov=0.6)
    reference = orbit_camera(0.0, 0.2, 0.6, 128, 128)
    assert torch.equal(frame.camera.c2w, reference.c2w)
    assert torch.equal(frame.camera.intrinsics, reference.intrinsics)
    rows, columns = np.nonzero(frame.rgba()[..., 3].numpy() > 0.5)
    assert abs((rows.min() + rows.max() + 1) / 2 - 64) <= 1
    assert abs((columns.min() + columns.max() + 1) / 2 - 64) <= 1
    assert abs((np.ptp(rows) + 1) / 128 - SILHOUETTE_FILL) < 0.03  # this subject is as tall as its enclosing circle


def bar(width: int, height: int, picture: int = 900) -> tuple[Photo, torch.Tensor]:
    """A photo with an upright rectangle as its subject, and its matte."""
    alpha = torch.zeros(picture, picture)
    top, left = (picture - height) // 2, (picture - width) // 2
    alpha[top : top + height, left : left + width] = 1
    return photo_of(np.full((picture, picture, 3), 200, np.uint8)), alpha


def test_several_photos_show_the_object_at_one_scale() -> None:
    (side_on, side_matte), (end_on, end_matte) = bar(800, 80), bar(160, 160)  # the second from half the distance
    sides = common_sides((side_on, end_on), (side_matte, end_matte), 0.0)
    assert sides[0] == pytest.approx(math.hypot(800, 80) / SILHOUETTE_FILL, abs=2), "the longest fills its picture"
    assert sides[1] == 2 * sides[0]
    heights = []
    for photo, matte, side in zip((side_on, end_on), (side_matte, end_matte), sides, strict=True):
        shown = frame_subject(photo, matte, size=500, side=side).rgba()[..., 3]
        heights.append(float(shown.sum(0).max()))
    assert heights[0] == pytest.approx(heights[1], abs=0.5)


@pytest.mark.parametrize("degrees", [-20.0, 10.0, 35.0])
def test_a_long_object_s_depth_is_not_taken_for_height(degrees: float) -> None:
    c, s = math.cos(math.radians(degrees)), abs(math.sin(math.radians(degrees)))
    length, thickness = 500, 60  # a beam from afar, from its side and from its end
    side_on, side_matte = bar(length, round(thickness * c + thickness * s))
    end_on, end_matte = bar(thickness, round(thickness * c + length * s))
    sides = common_sides((side_on, end_on), (side_matte, end_matte), math.radians(degrees))
    assert sides[0] == pytest.approx(sides[1], rel=0.01)


def test_the_only_photo_s_own_circle_fills_its_picture() -> None:
    photo, alpha = bar(300, 200)
    (side,) = common_sides((photo,), (alpha,), 0.4)
    assert abs(side - frame_subject(photo, alpha).camera.width) <= 1


def test_a_small_silhouette_at_a_long_object_s_scale_needs_no_huge_picture() -> None:
    photo, alpha = bar(800, 800)
    frame = frame_subject(photo, alpha, size=512, side=40_000)
    assert frame_subject(photo, alpha, side=40_000).camera.width == MAX_SIDE
    shown = frame.rgba()[..., 3]
    assert float(shown.sum()) == pytest.approx((800 * 512 / 40_000) ** 2, rel=0.05)
    rows, columns = np.nonzero(shown.numpy() > 0.5)
    assert abs(rows.mean() + 0.5 - 256) < 1
    assert abs(columns.mean() + 0.5 - 256) < 1


def test_the_native_crop_keeps_every_pixel_of_the_subject() -> None:
    pixels, mask = scene("gradient")
    frame = frame_subject(photo_of(pixels), torch.from_numpy(mask.astype(np.float32)))
    assert int((frame.rgba()[..., 3] > 0.5).sum()) == int(mask.sum())
    inside = frame.rgba()[frame.camera.height // 2 + 10, frame.camera.width // 2, :3]
    assert any(torch.equal((inside * 255).round().byte(), torch.from_numpy(p)) for p in pixels[mask])


def test_a_subject_at_the_edge_is_framed_with_transparency_outside() -> None:
    pixels = np.full((60, 60, 3), 255, np.uint8)
    pixels[:40, 20:40] = (200, 30, 30)
    alpha = torch.zeros(60, 60)
    alpha[:40, 20:40] = 1
    rgba = frame_subject(photo_of(pixels), alpha, size=64).rgba()
    assert rgba[:3, :, 3].max() == 0
    assert rgba[32, 32, 3] == 1


def test_no_rim_of_the_old_background_stays_on_a_found_subject() -> None:
    pixels, _ = scene("white", 240)
    photo = photo_of(pixels)
    rgba = frame_subject(photo, find_foreground(photo), size=200).rgba()
    visible = rgba[rgba[..., 3] > 0.3][:, :3]
    assert float((visible.min(1).values > 0.7).float().mean()) < 0.002


def test_focal_length_comes_from_exif_or_is_assumed_and_said_so(tmp_path: Path) -> None:
    pixels, mask = scene("white")
    alpha = torch.from_numpy(mask.astype(np.float32))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50
    Image.fromarray(pixels).save(tmp_path / "p.jpg", exif=exif)
    photo = read_photo(tmp_path / "p.jpg")
    assert photo.focal_35mm == 50
    assert photo.focal_pixels is not None
    assert abs(photo.focal_pixels - 50 / math.hypot(36, 24) * math.hypot(160, 160)) < 1e-6
    fov, origin = subject_fov(photo, alpha)
    side = frame_subject(photo, alpha).camera.width
    assert origin == "exif"
    assert fov == pytest.approx(2 * math.atan(side / 2 / photo.focal_pixels))
    assert fov > math.radians(20)
    assert subject_fov(replace(photo, focal_35mm=200.0), alpha) == (math.radians(20), "exif, limited")
    assert subject_fov(replace(photo, focal_35mm=10.0), alpha) == (math.radians(60), "exif, limited")
    assert subject_fov(photo, alpha, 0.5) == (0.5, "given")
    assert subject_fov(photo_of(pixels), alpha) == (DEFAULT_FOV, "assumed")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_ends_upright(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((30, 20, 3), np.uint8)
    upright[:10, :10] = 255
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undo[orientation](upright))).save(tmp_path / "o.png", exif=exif)
    assert np.array_equal(read_photo(tmp_path / "o.png").rgb.numpy(), upright)


@pytest.mark.parametrize(
    "entry",
    [
        (256, 2, 4, b"12\0\0"),  # ImageWidth as text
        (256, 11, 1, struct.pack("<f", 128.0)),  # as a float
        (0x8769, 2, 4, b"abc\0"),  # the further tags' place as text
    ],
)
def test_exif_of_unusual_types_does_no_harm(tmp_path: Path, entry: tuple[int, int, int, bytes]) -> None:
    entries = sorted([(274, 3, 1, struct.pack("<HH", 6, 0)), entry])
    exif = b"II*\0" + struct.pack("<IH", 8, len(entries))
    exif += b"".join(struct.pack("<HHI", *head) + value for *head, value in entries) + struct.pack("<I", 0)
    Image.new("RGB", (24, 16), (200, 30, 40)).save(tmp_path / "odd.jpg", exif=b"Exif\0\0" + exif)
    assert read_photo(tmp_path / "odd.jpg").rgb.shape == (24, 16, 3)


@pytest.mark.skipif("AVIF" not in Image.SAVE and not Image.init(), reason="this Pillow writes no AVIF")
def test_damaged_avif_is_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(scene(size=48)[0]).save(tmp_path / "whole.avif")
    data, random = (tmp_path / "whole.avif").read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        for place in random.integers(0, min(len(data), 400), 3):
            damaged[place] ^= int(random.integers(1, 256))
        (tmp_path / "damaged.avif").write_bytes(damaged)
        try:
            read_photo(tmp_path / "damaged.avif")
        except PhotoError as error:
            refused += "damaged.avif" in str(error)
    assert refused > 10


def test_unusual_but_good_pictures_are_read(tmp_path: Path) -> None:
    grey = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert np.array_equal(read_photo(tmp_path / "deep.png").rgb[..., 1].numpy(), ((grey.astype(int) + 128) // 257))

    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 250, 10, 20] + [0] * 762)
    palette.paste(0, (0, 0, 4, 8))
    palette.save(tmp_path / "palette.png", transparency=0)
    photo = read_photo(tmp_path / "palette.png")
    assert photo.alpha is not None
    assert photo.alpha[0, 0] == 0
    assert photo.alpha[0, 7] == 255
    assert photo.rgb[0, 7].tolist() == [250, 10, 20]

    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    red, green, _ = read_photo(tmp_path / "print.jpg").rgb[4, 4].tolist()
    assert red > 200
    assert green < 60
    Image.new("LA", (8, 8), (100, 50)).save(tmp_path / "la.png")
    assert read_rgba(tmp_path / "la.png")[0, 0].mul(255).round().tolist() == [100, 100, 100, 50]
    Image.new("1", (8, 8), 1).save(tmp_path / "bit.png")
    assert int(read_photo(tmp_path / "bit.png").rgb.min()) == 255
    Image.fromarray(scene()[0]).save(tmp_path / "still.gif")
    assert read_photo(tmp_path / "still.gif").rgb.shape == (160, 160, 3)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def encoded(kind: str) -> bytes:
    out = BytesIO()
    frames = [Image.new("RGB", (16, 16), (i, 0, 0)) for i in (0, 90, 200)]
    if kind in ("GIF", "WEBP", "PNG", "TIFF"):
        frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    elif kind == "float":
        Image.fromarray(np.ones((8, 8), np.float32)).save(out, "TIFF")
    else:
        Image.fromarray(scene()[0]).save(out, kind.split("-")[0])
        return out.getvalue()[: len(out.getvalue()) // 2]
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"GIF89a", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        (b"%PDF-1.7", "no picture"),
        (png_header(60_000, 60_000), "megapixels"),
        (png_header(12_000, 12_000), "12000 x 12000"),
        (png_header(500, 500), "damaged or truncated"),
        (encoded("GIF"), "an animation"),
        (encoded("WEBP"), "an animation"),
        (encoded("PNG"), "an animation"),
        (encoded("TIFF"), "several pages"),
        (encoded("float"), "pixels of kind 'F'"),
        (encoded("JPEG-cut"), "truncated"),
        (encoded("PNG-cut"), "truncated"),
        (encoded("WEBP-cut"), "found"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_file_is_refused_by_name(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "hostile.img"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match="found") as caught:
        read_photo(path)
    assert found in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.expected
    assert caught.value.remedy


def test_a_missing_file_a_folder_and_a_single_pixel_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="no file"):
        read_photo(tmp_path / "gone.png")
    with pytest.raises(PhotoError, match="a folder"):
        read_photo(tmp_path)
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    with pytest.raises(PhotoError, match="1 x 1 pixels"):
        find_foreground(read_photo(tmp_path / "dot.png"))
    Image.new("RGB", (4000, 2)).save(tmp_path / "line.png")
    with pytest.raises(PhotoError, match="4000 x 2 pixels"):
        find_foreground(read_photo(tmp_path / "line.png"))
    Image.new("RGBA", (1, 1), (9, 9, 9, 0)).save(tmp_path / "clear.png")
    with pytest.raises(PhotoError, match="empty"):
        find_foreground(read_photo(tmp_path / "clear.png"))


def test_capture_pictures_are_refused_with_the_captures_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(CaptureError, match="no picture") as caught:
        read_rgba(tmp_path / "a.png")
    assert not isinstance(caught.value, PhotoError)


def test_all_shared_photos_go_through() -> None:
    """With and without alpha; none is refused. `docs/evaluation.md` names the mattes that look wrong."""
    paths = sorted(shared_path("photos").glob("*.webp"))
    assert len(paths) == 64
    for path in paths:
        photo = read_photo(path)
        frame = frame_subject(photo, find_foreground(photo), size=64)
        assert 0.02 < float((frame.rgba()[..., 3] > 0.5).float().mean()) < 0.8
