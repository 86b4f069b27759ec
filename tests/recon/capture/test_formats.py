"""A known point lands on the same pixel whatever format the capture went through, and the pixels survive too."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recon.capture import Camera, Capture, Similarity, Source, frame_from_tensors, orbit_camera
from recon.capture.errors import CaptureError, CaptureWarning
from recon.capture.files import unique_names
from recon.capture.images import read_array, write_rgba
from recon.capture.io_nerfstudio import read_transforms, write_transforms
from recon.capture.io_projection import read_middlebury, read_projection_list, read_projections
from recon.capture.io_synthetic import read_nerf_synthetic, write_nerf_synthetic
from recon.capture.lenses import undistorted_weight
from recon.capture.orbit import read_camera_path
from recon.capture.reading import read_capture
from tests.shared_data import shared_path

SIZE = 32
HOME: dict[str, object] = {"rotation": np.eye(3).tolist(), "translation": [0.0, 0.0, 0.0]}
POINTS = torch.tensor([[0.1, 0.2, 0.3], [-0.2, 0.05, 0.1], [0.0, 0.0, 0.0], [0.25, -0.3, -0.15]])


@pytest.fixture
def capture() -> Capture:
    """Three views of the orbit with a bright pixel where the first of `POINTS` lands, depth, normals and weights."""
    frames = []
    for index, azimuth in enumerate((0.0, 1.1, 4.0)):
        camera = orbit_camera(azimuth, 0.2, 0.6, SIZE, SIZE)
        pixels, _ = camera.project(POINTS[:1])
        rgba = torch.zeros(SIZE, SIZE, 4)
        rgba[int(pixels[0, 1]), int(pixels[0, 0])] = torch.tensor([1.0, 0.6, 0.2, 1.0])
        depth = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(index)) + 1
        depth[0, 0] = 0
        normal = torch.zeros(SIZE, SIZE, 3)
        normal[5:, :, 2] = 1.0
        weight = torch.linspace(0, 1, SIZE).expand(SIZE, SIZE)
        frames.append(
            frame_from_tensors(
                camera,
                rgba,
                time=0.25 * index,
                source=list(Source)[index],
                name=f"view-{index}",
                depth=depth,
                normal=normal,
                weight=weight,
            )
        )
    return Capture(tuple(frames), Similarity(torch.diag(torch.tensor([-1.0, 1.0, -1.0])), torch.ones(3), 2.5))


def bright_pixel(rgba: torch.Tensor) -> torch.Tensor:
    """Centre (x, y) of the brightest pixel, in the house's half-pixel convention."""
    index = int((rgba[..., 0] * rgba[..., 3]).argmax())
    return torch.tensor([index % rgba.shape[1] + 0.5, index // rgba.shape[1] + 0.5])


@pytest.mark.parametrize("kind", ["nerfstudio", "synthetic"])
def test_a_point_lands_on_its_pixel_through_every_format(capture: Capture, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "capture"
    (write_transforms if kind == "nerfstudio" else write_nerf_synthetic)(capture, folder)
    back = read_capture(folder)
    assert len(back) == len(capture)
    for before, after in zip(capture, back, strict=True):
        torch.testing.assert_close(after.camera.project(POINTS)[0], before.camera.project(POINTS)[0], atol=1e-3, rtol=0)
        assert (after.camera.project(POINTS[:1])[0][0] - bright_pixel(after.rgba())).abs().max() <= 0.5
        assert torch.equal(after.rgba(), (before.rgba() * 255).round() / 255)


def test_nerfstudio_gives_back_cameras_exactly_and_everything_else_within_its_quantum(
    capture: Capture, tmp_path: Path
) -> None:
    write_transforms(capture, tmp_path / "c")
    back = read_transforms(tmp_path / "c")
    for before, after in zip(capture, back, strict=True):
        assert torch.equal(after.camera.c2w, before.camera.c2w)
        assert torch.equal(after.camera.intrinsics, before.camera.intrinsics)
        assert (after.time, after.source, after.name) == (before.time, before.source, before.name)
        before_depth, after_depth = before.depth(), after.depth()
        assert before_depth is not None
        assert after_depth is not None
        assert after_depth[0, 0] == 0
        torch.testing.assert_close(after_depth, before_depth, atol=6e-5, rtol=0)
        torch.testing.assert_close(after.normal(), before.normal(), atol=0.01, rtol=0)
        torch.testing.assert_close(after.weight(), before.weight(), atol=1e-5, rtol=0)
    torch.testing.assert_close(back.to_source.apply(POINTS), capture.to_source.apply(POINTS))


def test_writing_twice_gives_the_same_bytes(capture: Capture, tmp_path: Path) -> None:
    write_transforms(capture, tmp_path / "a")
    write_transforms(read_transforms(tmp_path / "a"), tmp_path / "b")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 13
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_frames_of_different_sizes_and_lenses_keep_their_own_intrinsics(capture: Capture, tmp_path: Path) -> None:
    wide = Camera(capture[0].camera.c2w, torch.tensor([[40.0, 0, 21], [0, 44, 9], [0, 0, 1]]), 40, 20)
    mixed = Capture((capture[0], frame_from_tensors(wide, torch.ones(20, 40, 4), name="wide")))
    write_transforms(mixed, tmp_path / "c")
    back = read_transforms(tmp_path / "c")
    assert torch.equal(back[1].camera.intrinsics, wide.intrinsics)
    assert back[1].rgba().shape == (20, 40, 4)
    with pytest.raises(CaptureError, match="camera of its own"):
        write_nerf_synthetic(mixed, tmp_path / "d")


def test_a_failed_write_leaves_nothing_behind(capture: Capture, tmp_path: Path) -> None:
    def broken() -> torch.Tensor:
        raise OSError("disk full")

    bad = Capture((capture[0], replace(capture[1], load_rgba=broken)))
    with pytest.raises(OSError, match="disk full"):
        write_transforms(bad, tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_existing_content_and_unfit_names_are_refused(capture: Capture, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "precious.txt").write_text("mine")
    with pytest.raises(CaptureError, match="existing content"):
        write_transforms(capture, tmp_path / "c")
    with pytest.raises(CaptureError, match="Rename the frame"):
        write_transforms(Capture((replace(capture[0], name="../up"),)), tmp_path / "d")


def listing(folder: Path, **changes: object) -> Path:
    """A nerfstudio folder with one grey picture, its listing changed as asked."""

    folder.mkdir(exist_ok=True)
    Image.new("RGB", (8, 6), (90, 90, 90)).save(folder / "a.png")
    frame: dict[str, object] = {"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}
    meta: dict[str, object] = {"fl_x": 10.0, "fl_y": 10.0, "cx": 4.0, "cy": 3.0, "w": 8, "h": 6}
    meta |= {key: value for key, value in changes.items() if key in ("frames",) or key not in frame | {"mask_path": 0}}
    frame |= {key: value for key, value in changes.items() if key in ("file_path", "transform_matrix", "mask_path")}
    meta.setdefault("frames", [frame])
    (folder / "transforms.json").write_text(json.dumps(meta))
    return folder


def test_a_foreign_listing_is_turned_from_z_up_and_leads_back(tmp_path: Path) -> None:
    applied = [[1.0, 0, 0, 0.5], [0, 0, 1, 0], [0, -1, 0, 0]]
    back = read_transforms(listing(tmp_path / "c", applied_transform=applied))
    up_in_file = torch.tensor([[0.0, 0.0, 1.0]])
    original = torch.linalg.solve(torch.tensor(applied)[:, :3], up_in_file[0] - torch.tensor(applied)[:, 3])
    torch.testing.assert_close(back.to_source.apply(torch.tensor([[0.0, 1.0, 0.0]]))[0], original)
    torch.testing.assert_close(back[0].camera.forward, torch.tensor([0.0, -1.0, 0.0]))  # file's -Z is down


def test_intrinsics_stated_for_a_larger_picture_are_scaled(tmp_path: Path) -> None:
    back = read_transforms(listing(tmp_path / "c", w=80, h=60, fl_x=100.0, fl_y=100.0, cx=40.0, cy=30.0))
    torch.testing.assert_close(back[0].camera.intrinsics, torch.tensor([[10.0, 0, 4], [0, 10, 3], [0, 0, 1]]))


def test_a_mask_says_which_pixels_to_trust(tmp_path: Path) -> None:

    folder = listing(tmp_path / "c", mask_path="m.png")
    mask = np.zeros((6, 8), np.uint8)
    mask[2:] = 255
    Image.fromarray(mask).save(folder / "m.png")
    weight = read_transforms(folder)[0].weight()
    assert weight[:2].max() == 0
    assert weight[2:].min() == 1


def test_a_distorted_frame_is_undistorted_once_and_its_unseen_rim_not_trusted(tmp_path: Path) -> None:
    import cv2

    y, x = np.mgrid[0:60, 0:80]
    pattern = np.stack([x * 3, y * 4, 120 + 60 * np.sin(x / 9) * np.cos(y / 7)], axis=2).clip(0, 255).astype(np.uint8)
    folder = listing(tmp_path / "c", w=80, h=60, fl_x=70.0, fl_y=72.0, cx=41.0, cy=29.0, k1=0.2, k2=-0.03, p1=0.005)
    cv2.imwrite(str(folder / "a.png"), pattern[..., ::-1])
    frame = read_transforms(folder)[0]
    assert frame.camera.distortion is None
    integer_k = np.array([[70, 0, 40.5], [0, 72, 28.5], [0, 0, 1]])
    expected = cv2.undistort(pattern, integer_k, np.array([0.2, -0.03, 0.005, 0.0]))
    reached = cv2.undistort(np.ones((60, 80), np.float32), integer_k, np.array([0.2, -0.03, 0.005, 0.0])) > 0.999
    seen = (frame.weight() > 0) & torch.from_numpy(reached)
    assert 0.5 < seen.float().mean() < 1
    difference = (frame.rgba()[..., :3] * 255 - torch.from_numpy(expected).float()).abs().amax(-1)
    assert difference[seen].max() < 4


@pytest.mark.parametrize("k1", [-0.3, -1.0])  # folded once; through the middle and on the other side again
def test_where_a_lenss_polynomial_folds_the_picture_back_nothing_is_trusted(k1: float) -> None:
    intrinsics = torch.tensor([[60.0, 0, 64], [0, 60, 48], [0, 0, 1]])
    camera = Camera(torch.eye(4), intrinsics, 128, 96, torch.tensor([k1, 0.0, 0.0, 0.0]))
    y, x = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(128) + 0.5, indexing="ij")
    radius = torch.hypot(x - 64, y - 48) / 60
    turns_over = (-1 / (3 * k1)) ** 0.5  # r (1 + k1 r^2) falls beyond
    trusted = undistorted_weight(None, camera) > 0
    assert trusted[radius < turns_over - 0.02].all()
    assert not trusted[radius > turns_over + 0.02].any()


def test_a_fisheyes_picture_is_made_straight_as_opencv_does_it(tmp_path: Path) -> None:
    import cv2

    y, x = np.mgrid[0:60, 0:80]
    pattern = np.stack([x * 3, y * 4, 120 + 60 * np.sin(x / 9) * np.cos(y / 7)], axis=2).clip(0, 255).astype(np.uint8)
    lens = {"k1": 0.02, "k2": -0.01, "k3": 0.003, "k4": 0.001}
    folder = listing(
        tmp_path / "c", camera_model="OPENCV_FISHEYE", w=80, h=60, fl_x=40.0, fl_y=41.0, cx=41.0, cy=29.0, **lens
    )
    cv2.imwrite(str(folder / "a.png"), pattern[..., ::-1])
    (frame,) = read_transforms(folder)
    assert (frame.camera.distortion, frame.camera.fisheye) == (None, False)
    integer_k = np.array([[40, 0, 40.5], [0, 41, 28.5], [0, 0, 1]])
    bent = np.array(list(lens.values()))
    expected = cv2.fisheye.undistortImage(pattern, integer_k, bent, Knew=integer_k, new_size=(80, 60))
    difference = (frame.rgba()[..., :3] * 255 - torch.from_numpy(expected).float()).abs().amax(-1)
    assert (frame.weight() > 0).float().mean() > 0.9
    assert difference[1:-1, 1:-1].max() < 4
    still = Camera(frame.camera.c2w, frame.camera.intrinsics, 80, 60, torch.zeros(4), fisheye=True)
    write_transforms(Capture((frame_from_tensors(still, torch.ones(60, 80, 4)),)), tmp_path / "written")
    entry = json.loads((tmp_path / "written" / "transforms.json").read_text())
    assert "OPENCV_FISHEYE" in (entry.get("camera_model"), entry["frames"][0].get("camera_model"))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"file_path": "../outside.png"}, "outside of the capture"),
        ({"file_path": "/etc/hostname"}, "outside of the capture"),
        ({"file_path": "gone.png"}, "no file"),
        ({"file_path": 7}, "path 7"),
        ({"transform_matrix": [[1, 2], [3, 4]]}, "no finite matrix"),
        ({"transform_matrix": "unit"}, "no finite matrix"),
        ({"transform_matrix": np.diag([2.0, 2, 2, 1]).tolist()}, "not a rotation"),
        ({"transform_matrix": (2 * np.eye(4)).tolist()}, "last row"),
        ({"fl_x": -3.0}, "positive focal lengths"),
        ({"fl_x": "long"}, "fl_x = 'long'"),
        ({"w": 8.5}, "w = 8.5"),
        ({"w": 100, "h": 100}, "a picture of 8x6 for a camera of 100x100"),
        ({"camera_model": "FISHEYE624"}, "FISHEYE624"),
        ({"applied_scale": 0}, "applied_scale = 0"),
        ({"applied_scale": -2.5}, "applied_scale = -2.5"),
        ({"turnabout_world": "y_up", "to_source": {**HOME, "scale": 0}}, "to_source.scale = 0"),
        ({"turnabout_world": "y_up", "to_source": {**HOME, "scale": -1}}, "to_source.scale = -1"),
        ({"turnabout_world": "y_up", "to_source": {**HOME, "rotation": np.diag([1, 1, 2.0]).tolist()}}, "shear"),
        ({"turnabout_world": "y_up", "to_source": {**HOME, "rotation": np.diag([1, 1, -1.0]).tolist()}}, "mirror"),
        ({"frames": []}, 'no list "frames"'),
        ({"frames": {"a": 1}}, 'no list "frames"'),
    ],
)
def test_a_bad_listing_is_refused_by_name(tmp_path: Path, changes: dict[str, object], found: str) -> None:
    (tmp_path / "outside.png").write_bytes(b"x")
    folder = listing(tmp_path / "c", **changes)
    with pytest.raises(CaptureError, match="found") as caught:
        read_transforms(folder)
    assert found in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"frames": [NaN]}', b"3"])
def test_a_listing_that_is_no_listing_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "transforms.json").write_bytes(content)
    with pytest.raises(CaptureError, match="found"):
        read_transforms(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:

    Image.new("RGB", (8, 6)).save(tmp_path / "secret.png")
    folder = listing(tmp_path / "c", file_path="link.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(CaptureError, match="outside of the capture"):
        read_transforms(folder)


def test_a_pickled_depth_map_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(CaptureError, match="finite"):
        read_array(tmp_path / "d.npy")


def whole_array() -> bytes:
    out = BytesIO()
    np.save(out, np.ones((4, 5), np.float32))
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x05\x06",
        whole_array()[:60],
        whole_array()[:-3],
        whole_array().replace(b"(4, 5)", b"(4, 5("),
        whole_array().replace(b"'<f4'", b"'<f4("),
        whole_array().replace(b"descr", b"descn"),
    ],
)
def test_a_damaged_depth_array_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npy").write_bytes(content)
    with pytest.raises(CaptureError, match=r"d\.npy: found"):
        read_array(tmp_path / "d.npy")


def test_a_folder_without_cameras_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="transforms_train"):
        read_capture(tmp_path)


def test_a_camera_path_is_read_in_degrees_and_from_a_listing_without_pictures(tmp_path: Path, capture: Capture) -> None:
    path = tmp_path / "path.json"
    path.write_text(json.dumps([{"azimuth": 90}, {"azimuth": 180, "elevation": 20, "fov": 40, "distance": 3}]))
    first, second = read_camera_path(path, 64, elevation=0.1)
    reference = orbit_camera(math.pi / 2, 0.1, math.radians(33.8), 64, 64)
    torch.testing.assert_close(first.c2w, reference.c2w)
    assert abs(float(second.centre.norm()) - 3) < 1e-5
    write_transforms(capture, tmp_path / "c")
    (tmp_path / "bare.json").write_text((tmp_path / "c" / "transforms.json").read_text())
    cameras = read_camera_path(tmp_path / "bare.json", SIZE)
    assert all(torch.equal(a.c2w, b.c2w) for a, b in zip(cameras, capture.cameras, strict=True))


def test_pictures_and_matrices_that_are_missing_are_counted(tmp_path: Path) -> None:
    line = "50 0 8 0 50 6 0 0 1 1 0 0 0 1 0 0 0 1 0 0 4"
    (tmp_path / "m").mkdir()
    write_rgba(tmp_path / "m" / "a.png", torch.ones(12, 16, 4))
    (tmp_path / "m" / "dino_par.txt").write_text(f"3\na.png {line}\nb.png {line}\nc.png {line}\n")
    with pytest.warns(CaptureWarning, match=r"2 pictures that it names are not there .*b\.png, c\.png"):
        assert len(read_middlebury(tmp_path / "m")) == 1
    (tmp_path / "m" / "dino_par.txt").write_text(f"1\na.png {line.replace('50', 'nan', 1)}\n")
    with pytest.raises(CaptureError, match="NaN or infinity in line 2"):
        read_middlebury(tmp_path / "m")
    (tmp_path / "p").mkdir()
    for name in ("a.tif", "b.png"):
        write_rgba(tmp_path / "p" / f"{name}.png", torch.ones(12, 16, 4))
    Image.new("RGB", (16, 12)).save(tmp_path / "p" / "c.tif")
    (tmp_path / "p" / "c_P.txt").write_text("50 0 8 0\n0 50 6 0\n0 0 1 4\n")
    with pytest.warns(CaptureWarning, match="2 pictures have no _P"):
        assert [frame.name for frame in read_projections(tmp_path / "p")] == ["c"]


def test_a_list_of_projection_matrices_reads_as_their_files_do(tmp_path: Path) -> None:
    matrices = {"a": "50 0 8 0\n0 50 6 0\n0 0 1 4\n", "b": "50 0 8 9\n0 50 6 0\n0 0 1 4\n"}
    lines = []
    for name, matrix in matrices.items():
        write_rgba(tmp_path / f"{name}.png", torch.ones(12, 16, 4))
        (tmp_path / f"{name}_P.txt").write_text(matrix)
        lines.append(f"{name}.png {matrix.replace(chr(10), ' ')}\n")
    listing = tmp_path / "list.txt"
    listing.write_text("".join(lines))
    apart = read_projections(tmp_path)
    for capture in (read_capture(listing), read_capture(tmp_path / "a_P.txt")):
        assert [frame.name for frame in capture] == ["a", "b"]
        for camera, other in zip(capture.cameras, apart.cameras, strict=True):
            assert torch.equal(camera.c2w, other.c2w)
            assert torch.equal(camera.intrinsics, other.intrinsics)
    listing.write_text(lines[0] + "b.png 1 2 3\n")
    with pytest.raises(CaptureError, match="3 numbers in line 2"):
        read_projection_list(listing)
    listing.write_text(lines[0].replace("a.png", "../../a.png"))
    with pytest.raises(CaptureError, match="outside"):
        read_projection_list(listing)


def test_names_that_repeat_for_ever_cost_no_more_than_others() -> None:
    names = unique_names(["a"] * 50_000 + ["a-3"])  # seconds a thousand when each was looked for from the beginning
    assert names[:3] == ["a", "a-2", "a-3"]
    assert names[-1] == "a-3-2"
    assert len(set(names)) == len(names)


def test_cameras_to_draw_have_no_lens(tmp_path: Path) -> None:
    (camera,) = read_camera_path(listing(tmp_path / "c", k1=0.1, p2=0.01) / "transforms.json", 64)
    assert camera.distortion is None
    assert (camera.width, camera.height) == (64, 48)


@pytest.mark.parametrize("kind", ["list", "transforms"])
def test_more_cameras_than_can_be_drawn_at_once_are_refused(tmp_path: Path, kind: str) -> None:
    frame = {"transform_matrix": np.eye(4).tolist()}
    content = [{"azimuth": 1}] * 257 if kind == "list" else {"fl_x": 9, "w": 8, "h": 8, "frames": [frame] * 257}
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(CaptureError, match="257 cameras; expected at most 256"):
        read_camera_path(tmp_path / "p.json", 64)


@pytest.mark.parametrize(
    "entry", [{"azimut": 3}, {"distance": 0.2}, {"fov": 190}, {"fov": 0}, {"fov": -10}, {"azimuth": "east"}, 5]
)
def test_a_bad_camera_path_is_refused(tmp_path: Path, entry: object) -> None:
    (tmp_path / "p.json").write_text(json.dumps([entry]))
    with pytest.raises(CaptureError, match="found"):
        read_camera_path(tmp_path / "p.json", 64)


def test_lego_cameras_look_at_the_bricks_from_above() -> None:
    capture = read_nerf_synthetic(shared_path("captures/nerf_synthetic_lego"))
    assert len(capture) == 100
    assert all(float(camera.centre[1]) > -0.1 for camera in capture.cameras)
    pixels, depth = capture[0].camera.project(torch.zeros(1, 3))
    torch.testing.assert_close(pixels[0], torch.tensor([128.0, 128.0]), atol=1.0, rtol=0)
    assert 3.5 < float(depth[0]) < 4.5
    assert capture[0].rgba()[..., 3].unique().numel() > 2


def test_middlebury_cameras_agree_about_the_dinosaur() -> None:
    capture = read_middlebury(shared_path("captures/middlebury_dinoSparseRing"))
    corner, opposite = torch.tensor([-0.061897, -0.018874, -0.057845]), torch.tensor([0.010897, 0.068227, 0.015495])
    middle = ((corner + opposite) / 2)[None]
    for frame in list(capture)[::5]:
        pixel = frame.camera.project(middle)[0][0].round().long()
        assert frame.rgba()[pixel[1], pixel[0], :3].max() > 0.19


def test_projection_matrices_come_apart_into_the_camera_they_were_made_of() -> None:
    capture = read_projections(shared_path("captures/alicevision_buddha"), (2736, 1540))
    stored = np.loadtxt(shared_path("captures/alicevision_buddha/00006_P.txt"))
    points = torch.tensor([[0.1, 0.2, 0.3, 1.0], [-0.2, 0.0, 0.4, 1.0]])
    pixels = points.double() @ torch.from_numpy(stored).T
    camera = capture[0].camera
    scaled = (pixels[:, :2] / pixels[:, 2:]) * torch.tensor([camera.width / 2736, camera.height / 1540])
    torch.testing.assert_close(camera.project(points[:, :3])[0].double(), scaled, atol=0.3, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_folder_of_projection_matrices_is_a_capture_if_they_fit_its_pictures(
    tmp_path: Path, capture: Capture, scale: float
) -> None:
    stretch = torch.diag(torch.tensor([scale, scale, 1.0]))
    for frame in capture:
        write_rgba(tmp_path / f"{frame.name}.png", frame.rgba())
        matrix = stretch @ frame.camera.intrinsics @ frame.camera.w2c[:3]
        np.savetxt(tmp_path / f"{frame.name}_P.txt", matrix.numpy())
    if scale != 1:
        with pytest.raises(CaptureError, match=r"principal point at \(48, 48\), as of pictures of about 96x96"):
            read_capture(tmp_path)
        return
    back = read_capture(tmp_path)
    for before, after in zip(capture, back, strict=True):
        torch.testing.assert_close(after.camera.project(POINTS)[0], before.camera.project(POINTS)[0], atol=1e-2, rtol=0)
