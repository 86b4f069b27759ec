"""COLMAP's models mean here what pycolmap says they mean, come back as they were written, and open in pycolmap."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recon.capture import Camera, Capture, Similarity, frame_from_tensors, orbit_camera
from recon.capture.conversions import distorted_pixels
from recon.capture.errors import CaptureError, CaptureWarning
from recon.capture.io_colmap import read_colmap, read_colmap_points, write_colmap
from recon.capture.io_nerfstudio import write_transforms
from recon.capture.reading import read_capture

SIZE = 32
POINTS = torch.tensor([[0.1, 0.2, 0.3], [-0.2, 0.05, 0.1], [0.0, 0.0, 0.0], [0.25, -0.3, -0.15]])
LENSES = {
    "SIMPLE_PINHOLE": [60.0, 31.0, 23.5],
    "PINHOLE": [60.0, 62.0, 31.0, 23.5],
    "SIMPLE_RADIAL": [60.0, 31.0, 23.5, 0.1],
    "RADIAL": [60.0, 31.0, 23.5, 0.1, -0.03],
    "OPENCV": [60.0, 62.0, 31.0, 23.5, 0.1, -0.03, 0.004, -0.002],
    "FULL_OPENCV": [60.0, 62.0, 31.0, 23.5, 0.1, -0.03, 0.004, -0.002, 0.01, 0.05, -0.02, 0.003],
    "SIMPLE_RADIAL_FISHEYE": [60.0, 31.0, 23.5, 0.1],
    "RADIAL_FISHEYE": [60.0, 31.0, 23.5, 0.1, -0.03],
    "OPENCV_FISHEYE": [60.0, 62.0, 31.0, 23.5, 0.1, -0.03, 0.004, -0.002],
}


def solved_elsewhere(model: str, views: int = 3):
    """A reconstruction that pycolmap made up, of pictures of 64x48 pixels."""
    import pycolmap

    options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=views)
    options.num_points3D, options.camera_width, options.camera_height = 20, 64, 48
    options.camera_model_id, options.camera_params = getattr(pycolmap.CameraModelId, model), LENSES[model]
    pycolmap.set_random_seed(3)
    return pycolmap.synthesize_dataset(options)


def save(reconstruction, project: Path, form: str) -> None:
    folder = project / "sparse" / "0"
    folder.mkdir(parents=True)
    (project / "images").mkdir()
    if form == "text":
        reconstruction.write_text(folder)
    else:
        reconstruction.write_binary(folder)
    for index, image in enumerate(sorted(reconstruction.images.values(), key=lambda image: image.name)):
        (project / "images" / image.name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), (index + 1, 0, 0)).save(project / "images" / image.name)


@pytest.fixture
def capture() -> Capture:
    """Three opaque-cornered views of the orbit, one of them of its own size and focal lengths."""
    frames = []
    for index, azimuth in enumerate((0.0, 1.1, 4.0)):
        camera = orbit_camera(azimuth, 0.2, 0.6, SIZE, SIZE)
        if index == 2:
            camera = Camera(camera.c2w, torch.tensor([[40.0, 0, 21], [0, 44, 9], [0, 0, 1]]), 40, 20)
        generator = torch.Generator().manual_seed(index)
        rgba = torch.randint(0, 256, (camera.height, camera.width, 4), generator=generator) / 255
        frames.append(frame_from_tensors(camera, rgba, name=f"view-{index}"))
    return Capture(tuple(frames), Similarity(scale=2.0))


@pytest.mark.parametrize("form", ["binary", "text"])
@pytest.mark.parametrize("model", LENSES)
def test_points_land_where_pycolmap_says(tmp_path: Path, model: str, form: str) -> None:
    theirs = solved_elsewhere(model)
    save(theirs, tmp_path, form)
    places, _ = read_colmap_points(tmp_path)
    lens = torch.tensor(LENSES[model])
    back = read_capture(tmp_path)
    images = sorted(theirs.images.values(), key=lambda image: image.name)
    assert len(back) == len(images) == 3
    for frame, image in zip(back, images, strict=True):
        seen = [image.project_point(np.array(place, np.float64)) for place in places.tolist()]
        pixels, depth = frame.camera.project(places)
        coefficients = lens[3:] if "RADIAL" in model else lens[4:]
        if "PINHOLE" not in model:
            padded = torch.nn.functional.pad(coefficients, (0, max(0, 4 - len(coefficients))))
            bent = replace(frame.camera, distortion=padded, fisheye=model.endswith("FISHEYE"))
            pixels = distorted_pixels(pixels, bent)
        assert (depth > 0).any()
        for there, here, ahead in zip(seen, pixels, depth, strict=True):
            assert (there is not None) == bool(ahead > 0)
            if there is not None and np.abs(there).max() < 1e4:
                torch.testing.assert_close(here.double(), torch.from_numpy(there), atol=2e-2, rtol=1e-4)


def test_points_come_with_their_colours_in_the_cameras_world(tmp_path: Path) -> None:
    theirs = solved_elsewhere("PINHOLE")
    for index, point in enumerate(theirs.points3D.values()):
        point.color = np.array([index, 255, 7], np.uint8)
    save(theirs, tmp_path, "binary")
    theirs.write_text(tmp_path / "images")
    for folder in (tmp_path, tmp_path / "images"):
        places, colours = read_colmap_points(folder)
        order = np.lexsort(places.numpy().T)
        expected = np.array([point.xyz for point in theirs.points3D.values()], np.float32)
        shades = np.array([point.color for point in theirs.points3D.values()], np.float32)
        expected_order = np.lexsort(expected.T)
        np.testing.assert_allclose(places.numpy()[order], expected[expected_order], rtol=1e-6)
        np.testing.assert_allclose(colours.numpy()[order] * 255, shades[expected_order], atol=1e-4)


def test_pycolmap_opens_what_was_written(tmp_path: Path, capture: Capture) -> None:
    import pycolmap

    write_colmap(capture, tmp_path / "c", (POINTS, torch.full((4, 3), 0.5)))
    theirs = pycolmap.Reconstruction(tmp_path / "c" / "sparse" / "0")
    assert theirs.num_reg_images() == 3
    assert theirs.num_cameras() == 2
    assert theirs.num_points3D() == 4
    assert next(iter(theirs.points3D.values())).color.tolist() == [128, 128, 128]
    for frame in capture:
        image = theirs.find_image_with_name(f"{frame.name}.png")
        expected, _ = frame.camera.project(POINTS)
        seen = np.array([image.project_point(place.double().numpy()) for place in POINTS])
        torch.testing.assert_close(torch.from_numpy(seen), expected.double(), atol=1e-3, rtol=0)
        bitmap = pycolmap.Bitmap.read(tmp_path / "c" / "images" / image.name, True)
        assert (bitmap.width, bitmap.height) == (frame.camera.width, frame.camera.height)


def test_a_capture_comes_back_as_it_was_written(tmp_path: Path, capture: Capture) -> None:
    write_colmap(capture, tmp_path / "c", (POINTS, torch.full((4, 3), 0.2)))
    back = read_colmap(tmp_path / "c")
    for before, after in zip(capture, back, strict=True):
        assert after.name == before.name
        assert torch.equal(after.camera.intrinsics, before.camera.intrinsics)
        torch.testing.assert_close(after.camera.c2w, before.camera.c2w, atol=1e-6, rtol=0)
        assert torch.equal(after.rgba(), before.rgba())
    places, colours = read_colmap_points(tmp_path / "c")
    assert torch.equal(places, POINTS)
    torch.testing.assert_close(colours, torch.full((4, 3), 51 / 255))
    assert torch.equal(back.to_source.apply(POINTS), POINTS)


def test_pycolmaps_text_and_binary_of_one_model_read_the_same(tmp_path: Path) -> None:
    theirs = solved_elsewhere("OPENCV")
    for form in ("text", "binary"):
        save(theirs, tmp_path / form, form)
    for one, other in zip(read_colmap(tmp_path / "text"), read_colmap(tmp_path / "binary"), strict=True):
        torch.testing.assert_close(one.camera.c2w, other.camera.c2w, atol=1e-6, rtol=0)
        assert torch.equal(one.camera.intrinsics, other.camera.intrinsics)
        assert torch.equal(one.rgba(), other.rgba())


@pytest.mark.parametrize("where", ["", "sparse", "sparse/0", "sparse/0/images.bin", "other"])
def test_pictures_are_found_from_the_project_and_from_its_model(tmp_path: Path, where: str) -> None:
    save(solved_elsewhere("PINHOLE"), tmp_path, "binary")
    (tmp_path / "images_2").mkdir()
    path = tmp_path / where
    if where == "sparse":
        for file in list((tmp_path / "sparse" / "0").iterdir()):
            file.rename(tmp_path / "sparse" / file.name)
    if where == "other":
        (tmp_path / "colmap").mkdir()
        (tmp_path / "sparse").rename(tmp_path / "colmap" / "sparse")
        path = tmp_path / "colmap" / "sparse" / "0"
        assert len(read_capture(tmp_path)) == 3
    assert [round(float(frame.rgba()[0, 0, 0]) * 255) for frame in read_capture(path)] == [1, 2, 3]


def test_pictures_elsewhere_can_be_named(tmp_path: Path) -> None:
    save(solved_elsewhere("PINHOLE"), tmp_path, "binary")
    (tmp_path / "images").rename(tmp_path / "frames")
    with pytest.raises(CaptureError, match=r"none of its 3 pictures \(.*\) in .*images") as caught:
        read_colmap(tmp_path)
    assert str(tmp_path / "images") in caught.value.found
    assert len(read_colmap(tmp_path, tmp_path / "frames")) == 3


def test_removed_pictures_are_left_out_and_said(tmp_path: Path) -> None:
    save(solved_elsewhere("PINHOLE", views=4), tmp_path, "binary")
    gone = sorted((tmp_path / "images").rglob("*.png"))[1]
    gone.unlink()
    with pytest.warns(CaptureWarning, match=f"1 of 4 pictures .*{gone.name}"):
        back = read_colmap(tmp_path)
    assert [round(float(frame.rgba()[0, 0, 0]) * 255) for frame in back] == [1, 3, 4]


@pytest.mark.parametrize("ending", [".png.png", ".png"])
def test_a_mask_beside_the_pictures_is_the_alpha_of_those_that_have_none(
    tmp_path: Path, capture: Capture, ending: str
) -> None:
    write_colmap(capture, tmp_path / "c")
    opaque = tmp_path / "c" / "images" / "view-0.png"
    Image.open(opaque).convert("RGB").save(opaque)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:] = 255
    (tmp_path / "c" / "masks").mkdir()
    for name in ("view-0", "view-1"):
        Image.fromarray(mask).save(tmp_path / "c" / "masks" / (name + ending))
    back = read_colmap(tmp_path / "c")
    assert torch.equal(back[0].rgba()[..., 3], torch.from_numpy(mask) / 255)
    assert torch.equal(back[1].rgba(), capture[1].rgba())
    Image.fromarray(mask[:20]).save(tmp_path / "c" / "masks" / ("view-0" + ending))
    with pytest.raises(CaptureError, match="found 32x20 pixels; expected 32x32"):
        read_colmap(tmp_path / "c")


@pytest.mark.parametrize("model", ["SIMPLE_RADIAL", "OPENCV", "FULL_OPENCV", "RADIAL_FISHEYE", "OPENCV_FISHEYE"])
def test_distortion_is_undone_as_pycolmap_does_and_the_unseen_rim_not_trusted(tmp_path: Path, model: str) -> None:
    import pycolmap

    save(solved_elsewhere(model), tmp_path, "binary")
    y, x = np.mgrid[0:48, 0:64]
    pattern = np.stack([x * 3, y * 4, 120 + 60 * np.sin(x / 9) * np.cos(y / 7)], axis=2).clip(0, 255).astype(np.uint8)
    for file in (tmp_path / "images").rglob("*.png"):
        Image.fromarray(pattern).save(file)
    frame = read_colmap(tmp_path)[0]
    assert frame.camera.distortion is None
    lens = pycolmap.Camera(model=model, width=64, height=48, params=LENSES[model])
    options = pycolmap.UndistortCameraOptions(min_scale=1, max_scale=1)
    theirs, pinhole = pycolmap.undistort_image(options, pycolmap.Bitmap.from_array(pattern), lens)
    np.testing.assert_allclose(pinhole.calibration_matrix(), frame.camera.intrinsics)
    white = pycolmap.Bitmap.from_array(np.full((48, 64), 255, np.uint8))
    seen = torch.from_numpy(pycolmap.undistort_image(options, white, lens)[0].to_array()) == 255
    has_rim = not model.endswith("FISHEYE")  # which draw in what a pinhole would not see
    assert seen.float().mean() > 0.5
    assert bool(seen.all()) != has_rim
    assert (frame.weight()[seen] > 0.999).all()
    assert bool((frame.weight() == 0).any()) == has_rim
    assert (frame.rgba()[..., :3] * 255 - torch.from_numpy(theirs.to_array()).float()).abs().amax(-1)[seen].max() < 1


def test_scaled_pictures_get_scaled_cameras_and_others_are_refused(tmp_path: Path) -> None:
    save(solved_elsewhere("PINHOLE"), tmp_path, "binary")
    files = sorted((tmp_path / "images").rglob("*.png"))
    Image.new("RGB", (32, 24)).save(files[0])
    half, whole, _ = read_colmap(tmp_path)
    torch.testing.assert_close(half.camera.intrinsics[:2], whole.camera.intrinsics[:2] / 2)
    Image.new("RGB", (48, 48)).save(files[0])
    with pytest.raises(CaptureError, match="48x48 for a camera of 64x48"):
        read_colmap(tmp_path)


def test_a_lens_with_distortion_is_written_as_colmap_has_it(tmp_path: Path) -> None:
    import pycolmap

    camera = orbit_camera(0.3, 0.1, 0.6, SIZE, SIZE)
    lenses = {
        "OPENCV": [0.1, -0.02, 0.003, 0.001],
        "FULL_OPENCV": [0.1, 0, 0, 0, 0.2],
        "OPENCV_FISHEYE": [0.1, 0, 0, 0],
    }
    for name, coefficients in lenses.items():
        fisheye = name.endswith("FISHEYE")
        bent = Camera(camera.c2w, camera.intrinsics, SIZE, SIZE, torch.tensor(coefficients), fisheye)
        write_colmap(Capture((frame_from_tensors(bent, torch.ones(SIZE, SIZE, 4)),)), tmp_path / name)
        (theirs,) = pycolmap.Reconstruction(tmp_path / name / "sparse" / "0").cameras.values()
        assert theirs.model.name == name
        np.testing.assert_allclose(theirs.params[4 : 4 + len(coefficients)], coefficients, rtol=1e-6)


def test_a_folder_of_nerfstudio_with_colmap_inside_is_read_as_nerfstudio(tmp_path: Path, capture: Capture) -> None:
    write_transforms(capture, tmp_path / "c")
    write_colmap(capture, tmp_path / "d")
    (tmp_path / "d" / "sparse").rename(tmp_path / "c" / "sparse")
    assert read_capture(tmp_path / "c").to_source.scale == 2.0


def test_nothing_is_written_over_or_left_half_written(tmp_path: Path, capture: Capture) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "precious.txt").write_text("mine")
    with pytest.raises(CaptureError, match="existing content"):
        write_colmap(capture, tmp_path / "c")
    skewed = capture[0].camera.intrinsics.clone()
    skewed[0, 1] = 0.5
    bad = frame_from_tensors(Camera(capture[0].camera.c2w, skewed, SIZE, SIZE), capture[0].rgba())
    with pytest.raises(CaptureError, match="skew"):
        write_colmap(Capture((bad,)), tmp_path / "d")
    with pytest.raises(CaptureError, match="Rename the frame"):
        write_colmap(Capture((frame_from_tensors(capture[0].camera, capture[0].rgba(), name="../up"),)), tmp_path / "e")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_reading_needs_no_pycolmap(tmp_path: Path, capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pycolmap", None)
    write_colmap(capture, tmp_path / "c")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_colmap(tmp_path / "c")) == 3
