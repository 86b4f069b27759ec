"""What a fit estimates of each frame beside the scene: how its camera, its exposure and its pixels are off.

Frames that a generator drew disagree: each shows the object a little turned, a little brighter, or with a handle where
the others have none. Held to them all, a scene is their blur. So each such frame gets a rigid motion of its camera, an
exposure, and a confidence of its pixels, estimated in the fit's own loop. What was observed is the gauge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recon.capture import Capture, Frame, Source
from recon.splat.adam import AdamRows
from recon.splat.resizing import resized

CONFIDENCE_CELLS = 16
"""Cells a side of a frame's map of residuals: what a frame shows wrongly is a part of the object, not a pixel."""
_USUAL = 0.9
"""Share of all cells whose residuals are as usual and get full confidence. Outlines and detail are never drawn as well
as the rest; doubting whatever is above the average would fade them in all frames."""
_MEMORY = 0.5
"""Share of a residual that is kept when its frame is drawn again."""

_THRESHOLDS = 0.2, 0.8
"""Between these a generated mask is decided."""


@dataclass(frozen=True)
class CorrectionOptions:
    """What is estimated of which frames."""

    pose: bool = True
    """Move the cameras of generated frames. Those of others are the gauge and stay."""
    observed_pose: bool = False
    """Move the cameras of the others too, for photographs whose cameras were only estimated; the scene's place, turn
    and size are then held by nothing but the expectation that motions are small."""
    focal: bool = False
    """Correct the focal length, one for all frames. Cameras draw back as it grows, so that the world's origin keeps its
    size in the picture."""
    exposure: bool = True
    """Gain and offset of each channel of generated frames."""
    observed_exposure: bool = False
    """The same of frames that were not generated, for photographs that a camera exposed by itself."""
    confidence: bool = True
    """Let pixels of generated frames count less where the scene, held to all frames, explains them badly."""
    decided_masks: bool = True
    """Take the masks of generated frames, which are probabilities, as yes or no: see `decided`."""
    generated_geometry: float = 0.0
    """Share of the weights of depth and normals that holds for generated frames. Their depth places the first
    Gaussians all the same."""
    settled: float = 0.0
    """Share of the fit in which cameras and focal length wait, so that they are not moved to suit a scene that has no
    shape yet."""
    pose_rate: float = 1e-3
    """Adam's step size for the motion: radians, and world units."""
    focal_rate: float = 5e-3
    """Adam's step size for the focal length's logarithm."""
    exposure_rate: float = 5e-3
    """Adam's step size for gains and offsets."""
    pose_prior: float = 0.05
    """Standard deviation of the motions that are expected."""
    focal_prior: float = 0.1
    """Standard deviation of the focal length's logarithm that is expected."""
    exposure_prior: float = 0.1
    """Standard deviation of the gains and offsets that are expected."""
    prior_weight: float = 1e-3
    """Weight of these expectations against the photometric loss."""


NO_CORRECTIONS = CorrectionOptions(
    pose=False, exposure=False, confidence=False, decided_masks=False, generated_geometry=1.0
)
"""Every frame is believed."""


@dataclass(frozen=True)
class FrameCorrection:
    """What the fit found about one frame.

    Attributes:
        motion: (4, 4) rigid; the frame's true world-to-camera matrix is `motion @ camera.w2c`.
        gain, offset: (3,) the frame's colours are `gain * color + offset`, where the scene has `color`.
        confidence: (h, w) in (0, 1], coarse, 1 where a pixel is believed.
        focal: the true focal length over that of the frame's camera.
    """

    motion: Tensor
    gain: Tensor
    offset: Tensor
    confidence: Tensor
    focal: float = 1.0


class FrameCorrections:
    """The state of all frames' corrections during a fit.

    Motions turn about the world's origin as the frame's camera sees it, so that turning does not shift the object in
    the picture.

    Confidences are the weights of iteratively reweighted least squares for Huber's loss (Huber 1964; Holland & Welsch
    1977), on residuals averaged over a cell as in RobustNeRF (Sabour et al. 2023): 1 where a cell's residual is usual,
    falling with its inverse beyond.

    Args:
        frames: the capture's.
        options: what is estimated.
        iterations: length of the schedule; step sizes fall to a tenth.
    """

    def __init__(self, frames: Sequence[Frame], options: CorrectionOptions, iterations: int) -> None:
        self._options = options
        self._iterations = iterations
        self._generated = generated = [frame.source is Source.GENERATED for frame in frames]
        self._moves = [options.pose if made else options.observed_pose for made in generated]
        self._exposes = [options.exposure if made else options.observed_exposure for made in generated]
        self._doubts = [options.confidence and made for made in generated]
        self._w2c = torch.stack([frame.camera.w2c for frame in frames])
        count = len(frames)
        self._twists = AdamRows(torch.zeros(count, 6), options.pose_rate)
        self._exposures = AdamRows(torch.zeros(count, 2, 3), options.exposure_rate)
        self._log_focal = AdamRows(torch.zeros(1, 1), options.focal_rate)
        self._residuals = torch.zeros(count, CONFIDENCE_CELLS, CONFIDENCE_CELLS)
        self._covered = torch.zeros(count, CONFIDENCE_CELLS, CONFIDENCE_CELLS)

    def leaves(self) -> list[Tensor]:
        """What gradients are wanted of."""
        return [self._twists.values, self._exposures.values, self._log_focal.values]

    def viewmat(self, index: int) -> Tensor:
        """(4, 4) world-to-camera of a frame; gradients reach its motion."""
        w2c = self._w2c[index]
        if self._moves[index]:
            w2c = self._motion(index) @ w2c
        if self._options.focal:
            farther = torch.cat((w2c[:3, 3] * self._log_focal.values[0].exp(), torch.ones(1)))
            w2c = torch.cat((w2c[:, :3], farther[:, None]), 1)
        return w2c

    def intrinsics(self, given: Tensor) -> Tensor:
        """(3, 3) of a frame whose camera has the `given` ones; gradients reach the focal length."""
        if not self._options.focal:
            return given
        focal = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
        return given * torch.where(focal > 0, self._log_focal.values.exp(), 1.0)

    def corrects(self, index: int) -> bool:
        """Whether a frame has a motion, a focal length or an exposure to be estimated."""
        return self._moves[index] or self._exposes[index] or self._options.focal

    def exposed(self, index: int, rgb: Tensor, alpha: Tensor) -> Tensor:
        """(H, W, 3) drawn colours, premultiplied by alpha (H, W), as the frame's exposure shows them."""
        if not self._exposes[index]:
            return rgb
        gain, offset = self._exposures.values[index].to(rgb)
        return rgb * (1 + gain) + alpha[..., None] * offset

    def penalty(self, index: int) -> Tensor:
        """What a frame's corrections cost, so that they stay small where the pictures do not ask for them."""
        options = self._options
        cost = torch.zeros(())
        if self._moves[index]:
            cost = cost + (self._twists.values[index] / options.pose_prior).square().sum()
        if self._exposes[index]:
            cost = cost + (self._exposures.values[index] / options.exposure_prior).square().sum()
        if options.focal:
            cost = cost + (self._log_focal.values / options.focal_prior).square().sum()
        return options.prior_weight * cost

    def geometry(self, index: int) -> float:
        """Share of the weights of depth and normals that holds for a frame."""
        return self._options.generated_geometry if self._generated[index] else 1.0

    @torch.no_grad()
    def confidence(self, index: int, size: tuple[int, int]) -> Tensor | None:
        """(H, W) weights in (0, 1] of a frame's pixels; None where none is doubted."""
        if not self._doubts[index]:
            return None
        return resized(self._cells(index)[..., None], size, "bilinear")[..., 0]

    def _cells(self, index: int) -> Tensor:
        """(h, w) in (0, 1]."""
        ones = torch.ones(CONFIDENCE_CELLS, CONFIDENCE_CELLS)
        known = self._covered > 0
        if not self._doubts[index] or not bool(known[index].any()):
            return ones
        usual = torch.quantile(self._residuals[known], _USUAL).clamp_min(1e-9)
        return torch.where(known[index], usual / self._residuals[index].clamp_min(usual), ones)

    @torch.no_grad()
    def observe(self, index: int, residual: Tensor, drawn: Tensor, wanted: Tensor) -> None:
        """Notes how far a frame is from what was drawn for it.

        Args:
            index: of the frame.
            residual: (H, W) not negative.
            drawn, wanted: (H, W) alphas of the drawing and of the frame.
        """
        if not self._doubts[index]:
            return
        cells = (CONFIDENCE_CELLS, CONFIDENCE_CELLS)
        found = torch.nn.functional.adaptive_avg_pool2d(residual[None], cells)[0].cpu()
        kept = _MEMORY * (self._covered[index] > 0)
        self._residuals[index] = kept * self._residuals[index] + (1 - kept) * found
        shown = torch.maximum(drawn, wanted)
        self._covered[index] = torch.nn.functional.adaptive_avg_pool2d(shown[None], cells)[0].cpu()

    @torch.no_grad()
    def step(self, done: int, gradients: Sequence[Tensor]) -> None:
        """One Adam step of the frames that have gradients.

        Args:
            done: steps so far, this one included.
            gradients: one for each of `leaves`; none where no frame of the step is corrected.
        """
        if not gradients:
            return
        slow = 0.1 ** (done / self._iterations)
        waits = done <= self._options.settled * self._iterations
        for rows, gradient in zip((self._twists, self._exposures, self._log_focal), gradients, strict=True):
            if not waits or rows is self._exposures:
                rows.step(gradient, slow)
        # Without a frame of fixed exposure, scene and frames could brighten and darken together.
        if all(self._exposes):
            self._exposures.values -= self._exposures.values.mean(0)

    @torch.no_grad()
    def result(self) -> tuple[FrameCorrection, ...]:
        """What was found, frame by frame."""
        return tuple(
            FrameCorrection(
                self._moved(index),
                1 + self._exposures.values[index, 0],
                self._exposures.values[index, 1].clone(),
                self._cells(index),
                float(self._log_focal.values[0].exp()),
            )
            for index in range(len(self._w2c))
        )

    def _moved(self, index: int) -> Tensor:
        """(4, 4) all that has moved a frame's camera."""
        if self._options.focal:
            return self.viewmat(index) @ torch.linalg.inv(self._w2c[index])
        return self._motion(index) if self._moves[index] else torch.eye(4)

    def _motion(self, index: int) -> Tensor:
        """(4, 4) exponential of the twist, about the world's origin in the camera's frame."""
        turn, shift = self._twists.values[index].split(3)
        x, y, z = turn
        zero = torch.zeros(())
        skew = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero)).reshape(3, 3)
        rotation = torch.linalg.matrix_exp(skew)
        pivot = self._w2c[index, :3, 3]
        translation = pivot + shift - rotation @ pivot
        return torch.cat((torch.cat((rotation, translation[:, None]), 1), torch.tensor([[0.0, 0.0, 0.0, 1.0]])))


def decided(frame: Frame) -> Frame:
    """A generated frame with a mask of zeros and ones, and its certainty multiplied into the weights; others as they
    are.

    A generator that minimises squared errors draws in alpha how probable it is that a pixel shows the object. Held to
    probabilities, the scene's outline would be a soft rim. Decided at one half, what is thin or unsure would vanish:
    the mask would be smaller than the object is on average. So it is decided where it covers as many pixels as are
    expected to be covered, the sum of the probabilities.
    """
    if frame.source is not Source.GENERATED:
        return frame

    def rgba() -> Tensor:
        picture = frame.rgba()
        alpha = picture[..., 3:]
        return torch.cat((picture[..., :3], (alpha > _threshold(alpha)).to(picture)), dim=-1)

    def weight() -> Tensor:
        alpha = frame.rgba()[..., 3]
        threshold = _threshold(alpha)
        return frame.weight() * torch.where(
            alpha > threshold, (alpha - threshold) / (1 - threshold), 1 - alpha / threshold
        )

    return replace(frame, load_rgba=rgba, load_weight=weight)


def _threshold(alpha: Tensor) -> float:
    """What as many pixels exceed as are expected to be covered, within bounds that a nearly empty mask needs."""
    expected = round(float(alpha.sum()))
    if expected >= alpha.numel():
        return _THRESHOLDS[0]
    found = float(alpha.flatten().topk(expected + 1).values[-1])
    return min(max(found, _THRESHOLDS[0]), _THRESHOLDS[1])


def corrected_capture(capture: Capture, corrections: Sequence[FrameCorrection]) -> Capture:
    """The capture with the corrections applied: cameras moved (normals turn along), exposures undone, and confidences
    multiplied into the weight maps."""
    pairs = zip(capture.frames, corrections, strict=True)
    return replace(capture, frames=tuple(_corrected(frame, correction) for frame, correction in pairs))


def _corrected(frame: Frame, correction: FrameCorrection) -> Frame:
    size = (frame.camera.height, frame.camera.width)
    c2w = frame.camera.c2w @ torch.linalg.inv(correction.motion)
    intrinsics = frame.camera.intrinsics.clone()
    intrinsics[:2, :2] *= correction.focal
    # Normals are the camera's own and turn with it.
    turn = c2w[:3, :3] @ frame.camera.w2c[:3, :3]
    load_normal = frame.load_normal

    def rgba() -> Tensor:
        picture = frame.rgba()
        color = (picture[..., :3] - correction.offset) / correction.gain
        return torch.cat((color.clamp(0, 1), picture[..., 3:]), dim=-1)

    def weight() -> Tensor:
        return frame.weight() * resized(correction.confidence[..., None], size, "bilinear")[..., 0]

    return replace(
        frame,
        camera=replace(frame.camera, c2w=c2w, intrinsics=intrinsics),
        load_rgba=rgba,
        load_normal=None if load_normal is None else lambda: load_normal() @ turn.T,
        load_weight=weight,
    )
