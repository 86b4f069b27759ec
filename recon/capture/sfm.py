"""Cameras of pictures that have none: structure from motion by COLMAP's incremental mapper, on the CPU.

Schönberger and Frahm, Structure-from-Motion Revisited, CVPR 2016; through pycolmap, an optional package. Features come
from the subject alone where masks say which it is: behind an object on a turntable the world stands still.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from recon.capture._pycolmap import import_pycolmap, silenced
from recon.capture.camera import Camera
from recon.capture.colmap_model import ONE_FOCAL_LENGTH, PARAMETERS, ModelCamera
from recon.capture.conversions import without_distortion, wxyz_from_xyzw
from recon.capture.errors import CaptureError
from recon.capture.files import unique_names
from recon.capture.images import save_png
from recon.capture.io_colmap import camera_from_colmap
from recon.capture.lenses import undistorted_rgba, undistorted_weight
from recon.capture.pairs import pairs_to_match
from recon.capture.types import Capture, Frame
from recon.capture.unposed import UnposedFrame

MAX_PICTURES = 1000
Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""

_STRONGEST_LENS = 0.25
"""Part of its distance from the middle by which distortion may move a corner; with more the solution went astray."""
_CLEARLY_MORE, _CLEARLY_NEARER = 0.05, 0.9
"""Share of pictures or of sightings of points that a lens must add, or part of their error that it must leave."""
_REMEDY = (
    "Take more pictures with more overlap (at most 15 degrees apart), sharp, of a textured object, and cut the object "
    "out if it turns before a fixed background."
)


class SolveError(CaptureError):
    """Pictures whose cameras could not be solved."""


@dataclass(frozen=True)
class SfmOptions:
    """How cameras are solved."""

    seed: int = 0
    """Of all random sampling. The same seed gives the same bytes on one thread."""
    shared_camera: bool = True
    """One lens and focal length took all pictures of a size whose files tell of the same focal length; otherwise each
    picture has its own."""
    ordered: bool = False
    """Pictures follow each other in space, as a video's do; spares pairs that cannot overlap where there are many."""
    camera_model: str = "SIMPLE_RADIAL"
    """COLMAP's name; one of `recon.capture.colmap_model.PARAMETERS`, no fisheye."""
    max_image_size: int = 1600
    """Larger pictures are scaled down to this longest side before features are looked for."""
    max_features: int = 4096
    """A picture's, at most; matching takes the square of it."""
    num_threads: int = 1
    """More are faster, and then two runs need not agree."""


@dataclass(frozen=True)
class Solved:
    """Cameras that were found, in an arbitrary world: place, size and up mean nothing.

    Attributes:
        capture: the registered pictures in their order, undistorted; `to_source` is the identity.
        registered: for each picture, whether it is in `capture`.
        points: (N, 3) float32 sparse points in the capture's world.
        colours: (N, 3) float32 in [0, 1].
        reprojection_error: mean distance in pixels (of the scaled pictures) between a point and where it was seen.
        track_length: mean number of pictures that see a point.
        fewest_points: seen by the picture that sees fewest.
    """

    capture: Capture
    registered: tuple[bool, ...]
    points: Tensor
    colours: Tensor
    reprojection_error: float
    track_length: float
    fewest_points: int

    @property
    def share(self) -> float:
        """Of the pictures, in [0, 1]."""
        return sum(self.registered) / len(self.registered)

    @property
    def confidence(self) -> str:
        """`good`, `fair` or `poor`; a poor solution should give way to another solver."""
        if self.share >= 0.9 and self.track_length >= 3 and self.reprojection_error <= 1 and self.fewest_points >= 30:
            return "good"
        return "fair" if self.share >= 0.7 and self.track_length >= 2.5 and self.fewest_points >= 15 else "poor"

    def describe(self) -> str:
        """One clause for reports."""
        return (
            f"{sum(self.registered)} of {len(self.registered)} pictures, {len(self.points)} points seen by "
            f"{self.track_length:.1f} pictures each, {self.reprojection_error:.2f} pixels off: {self.confidence}"
        )


def solve_cameras(
    pictures: Sequence[UnposedFrame],
    options: SfmOptions | None = None,
    progress: Progress = lambda what, done, total: None,
    *,
    source: Path | str = "pictures",
) -> Solved:
    """The cameras of pictures of one still scene. What a picture's alpha leaves out contributes nothing.

    Args:
        pictures: focal lengths that they bring are starts, which are refined.
        source: what an error names.

    Raises:
        SolveError: if pycolmap is not installed, there are too few or too many pictures, or no two of them match.
        CaptureError: if a picture cannot be read.
    """
    options = options or SfmOptions()
    models = [name for name in PARAMETERS if not name.endswith("FISHEYE")]
    if options.camera_model not in models:
        raise ValueError(f"camera model {options.camera_model!r} is none of {', '.join(models)}")
    pycolmap = import_pycolmap(SolveError, source)
    if not 2 <= len(pictures) <= MAX_PICTURES:
        found, remedy = f"{len(pictures)} pictures", "Take more pictures." if len(pictures) < 2 else "Choose fewer."
        raise SolveError(source, found=found, expected=f"2 to {MAX_PICTURES} of them", remedy=remedy)
    with tempfile.TemporaryDirectory(prefix="turnabout-sfm-") as folder, silenced(pycolmap):
        workshop = _Workshop(pycolmap, Path(folder), options)
        sizes = [workshop.look_at(index, picture) for index, picture in _told(pictures, "features", progress)]
        workshop.match(len(pictures), progress)
        best = workshop.solve(len(pictures), progress)
        if best is None:
            raise SolveError(
                source,
                found=f"no two of {len(pictures)} pictures that can be matched reliably",
                expected="pictures of one textured object that overlap",
                remedy=_REMEDY,
            )
        return _solved(best, pictures, sizes, source)


class _Workshop:
    """A temporary folder with COLMAP's database and scaled copies of the pictures."""

    def __init__(self, pycolmap: Any, folder: Path, options: SfmOptions) -> None:
        self.pycolmap, self.folder, self.options = pycolmap, folder, options
        self.lenses: dict[tuple[int, int, float | None], int] = {}
        self.likeness: list[np.ndarray] = []
        self.database = folder / "database.db"
        for name in ("images", "masks", "models"):
            (folder / name).mkdir()
        pycolmap.set_random_seed(options.seed)

    def look_at(self, index: int, picture: UnposedFrame) -> tuple[int, int]:
        """Finds one picture's features; returns its (width, height)."""
        pycolmap, options = self.pycolmap, self.options
        rgba = picture.load_rgba()
        height, width = rgba.shape[:2]
        rgb, mask = _prepared(rgba, options.max_image_size)
        scale = max(rgb.shape[:2]) / max(height, width)
        self.likeness.append(_likeness(rgb))
        save_png(self.folder / "images" / _file_name(index), rgb)
        save_png(self.folder / "masks" / f"{_file_name(index)}.png", mask)
        reader = pycolmap.ImageReaderOptions(camera_model=options.camera_model, mask_path=self.folder / "masks")
        shape = (rgb.shape[1], rgb.shape[0])
        lens = (*shape, None if picture.focal is None else round(picture.focal * scale, 1))
        if options.shared_camera and lens in self.lenses:
            reader.existing_camera_id = self.lenses[lens]
        elif picture.focal is not None:
            reader.camera_params = ", ".join(
                map(repr, _first_guess(options.camera_model, picture.focal * scale, shape))
            )
        extraction = pycolmap.FeatureExtractionOptions(num_threads=options.num_threads, use_gpu=False)
        extraction.sift.max_num_features = options.max_features
        extraction.sift.peak_threshold = 0.002  # a third of COLMAP's: objects are plainer than streets
        pycolmap.extract_features(
            self.database,
            self.folder / "images",
            image_names=[_file_name(index)],
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader,
            extraction_options=extraction,
            device=pycolmap.Device.cpu,
        )
        if lens not in self.lenses:
            with pycolmap.Database.open(self.database) as database:
                self.lenses[lens] = database.read_image_with_name(_file_name(index)).camera_id
        return width, height

    def match(self, count: int, progress: Progress) -> None:
        """Matches the features of all pairs of pictures that may overlap."""
        pycolmap, options = self.pycolmap, self.options
        matching = pycolmap.FeatureMatchingOptions(num_threads=options.num_threads, use_gpu=False)
        verification = pycolmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = options.seed
        pairs = pairs_to_match(count, ordered=options.ordered, likeness=np.stack(self.likeness))
        block = math.ceil(len(pairs) / 10)
        for start in range(0, len(pairs), block):
            progress("matching", start, len(pairs))
            listing = self.folder / "pairs.txt"
            lines = [f"{_file_name(a)} {_file_name(b)}\n" for a, b in pairs[start : start + block]]
            listing.write_text("".join(lines), encoding="utf-8")
            pycolmap.match_image_pairs(
                self.database,
                matching_options=matching,
                pairing_options=pycolmap.ImportedPairingOptions(match_list_path=listing),
                verification_options=verification,
                device=pycolmap.Device.cpu,
            )
        progress("matching", len(pairs), len(pairs))

    def solve(self, count: int, progress: Progress) -> Any:
        """The reconstruction of most pictures, with a lens only where that explains them clearly better.

        A small object tells little of the lens: distortion left free then trades against focal length and distance.
        """
        plain = self._largest(count, progress, free_lens=False)
        bent = self._largest(count, progress, free_lens=True)
        if plain is None or bent is None or _strongest(bent) > _STRONGEST_LENS:
            return plain or bent
        gained = bent.num_reg_images() - plain.num_reg_images()
        seen, before = bent.compute_num_observations(), plain.compute_num_observations()
        off, off_before = bent.compute_mean_reprojection_error(), plain.compute_mean_reprojection_error()
        more = gained > _CLEARLY_MORE * count or seen > (1 + _CLEARLY_MORE) * before
        return bent if gained >= 0 and (more or off < _CLEARLY_NEARER * off_before) else plain

    def _largest(self, count: int, progress: Progress, *, free_lens: bool) -> Any:
        pycolmap, options = self.pycolmap, self.options
        pipeline = pycolmap.IncrementalPipelineOptions(
            num_threads=options.num_threads,
            random_seed=options.seed,
            min_model_size=2,
            max_num_models=8,
            ba_refine_extra_params=free_lens,
        )
        mapper = pipeline.mapper
        mapper.abs_pose_refine_extra_params = free_lens
        mapper.init_min_num_inliers, mapper.abs_pose_min_num_inliers = 30, 15  # masked pictures have few features
        start = count if free_lens else 0  # the second of two solutions
        done = start

        def registered() -> None:
            nonlocal done
            done = min(done + 1, start + count)
            progress("solving", done, 2 * count)

        progress("solving", start, 2 * count)
        models: dict[int, Any] = {}
        with suppress(RuntimeError, ValueError):  # COLMAP's checks fail on degenerate sets; that is no solution
            models = pycolmap.incremental_mapping(
                self.database,
                self.folder / "images",
                self.folder / "models",
                options=pipeline,
                next_image_callback=registered,
            )
        progress("solving", start + count, 2 * count)
        return max(models.values(), key=lambda model: (model.num_reg_images(), model.num_points3D()), default=None)


def _prepared(rgba: Tensor, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """(h, w, 3) and (h, w) uint8: the picture over its subject's mean colour, and where features may lie."""
    alpha = rgba[..., 3:]
    covered = alpha.sum().clamp_min(1)
    # Any fixed colour would draw an outline of strong features.
    mean = (rgba[..., :3] * alpha).sum(dim=(0, 1)) / covered
    rgb = ((rgba[..., :3] * alpha + mean * (1 - alpha)).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    allowed = ((alpha[..., 0] > 0.5).to(torch.uint8) * 255).numpy()
    height, width = rgb.shape[:2]
    if max(height, width) > longest:
        scale = longest / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        allowed = cv2.resize(allowed, size, interpolation=cv2.INTER_NEAREST)
    return rgb, allowed


def _likeness(rgb: np.ndarray) -> np.ndarray:
    """(192,) the picture at eight by eight pixels, of one brightness and contrast."""
    small = cv2.resize(rgb, (8, 8), interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    return (small - small.mean()) / max(small.std(), 1.0)


def _first_guess(model: str, focal: float, size: tuple[int, int]) -> list[float]:
    focals = [focal] if model in ONE_FOCAL_LENGTH else [focal, focal]
    known = [*focals, size[0] / 2, size[1] / 2]
    return known + [0.0] * (PARAMETERS[model] - len(known))


def _strongest(model: Any) -> float:
    """By what part of its distance from the middle a corner of any picture is moved."""
    moved = 0.0
    for lens in model.cameras.values():
        corner = np.array([lens.width, lens.height]) / 2 / lens.mean_focal_length()
        bent = lens.img_from_cam(np.append(corner, 1.0))
        if bent is None:
            return math.inf
        bent = (bent - [lens.principal_point_x, lens.principal_point_y]) / lens.mean_focal_length()
        moved = max(moved, float(np.linalg.norm(bent - corner) / np.linalg.norm(corner)))
    return moved


def _solved(
    model: Any, pictures: Sequence[UnposedFrame], sizes: Sequence[tuple[int, int]], source: Path | str
) -> Solved:
    names = unique_names([picture.name for picture in pictures])
    found = {image.name: image for image in model.images.values() if image.has_pose}
    frames, registered = [], []
    for index, (picture, name, size) in enumerate(zip(pictures, names, sizes, strict=True)):
        image = found.get(_file_name(index))
        registered.append(image is not None)
        if image is not None:
            try:
                camera = _camera(image).resized(*size)
            except ValueError as cause:
                what, expected = f"a solution that is none: {cause}", "pictures that tell how they were taken"
                raise SolveError(source, found=what, expected=expected, remedy=_REMEDY) from cause
            frames.append(_frame(picture, name, camera))
    ids = sorted(model.points3D)
    points = np.array([model.points3D[number].xyz for number in ids], np.float32).reshape(-1, 3)
    colours = np.array([model.points3D[number].color for number in ids], np.float32).reshape(-1, 3)
    return Solved(
        capture=Capture(tuple(frames)),
        registered=tuple(registered),
        points=torch.from_numpy(points),
        colours=torch.from_numpy(colours) / 255,
        reprojection_error=float(model.compute_mean_reprojection_error()),
        track_length=float(model.compute_mean_track_length()),
        fewest_points=min(image.num_points3D for image in found.values()),
    )


def _camera(image: Any) -> Camera:
    lens, motion = image.camera, image.cam_from_world()
    stated = ModelCamera(lens.model.name, lens.width, lens.height, tuple(map(float, lens.params)))
    rotation = wxyz_from_xyzw(torch.from_numpy(np.array(motion.rotation.quat)))
    return camera_from_colmap(stated, rotation.tolist(), motion.translation.tolist())


def _frame(picture: UnposedFrame, name: str, camera: Camera) -> Frame:
    return Frame(
        camera=without_distortion(camera),
        load_rgba=lambda: undistorted_rgba(picture.load_rgba(), camera),
        time=picture.time,
        name=name,
        load_weight=None if camera.distortion is None else partial(undistorted_weight, None, camera),
    )


def _told(pictures: Sequence[UnposedFrame], what: str, progress: Progress) -> Iterator[tuple[int, UnposedFrame]]:
    for index, picture in enumerate(pictures):
        progress(what, index, len(pictures))
        yield index, picture
    progress(what, len(pictures), len(pictures))


def _file_name(index: int) -> str:
    return f"{index:06d}.png"
