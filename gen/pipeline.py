"""`OrbitPipeline`: context frames and target cameras in, a completed `Capture` out.

The diffusers face of the generator: `from_pretrained`, `save_pretrained`, any of its flow-matching samplers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from diffusers import ConfigMixin, DiffusionPipeline, FlowMatchEulerDiscreteScheduler, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from gen.gauge import APPEARANCE, CHANNELS, Gauge, encode, encode_appearance, make_gauge, stack_cameras
from gen.model import OrbitConfig, OrbitTransformer
from gen.predict import Belief, ask, believe
from gen.splats import draw_frames
from recon.capture import Camera, Capture, Frame, Source, frame_from_tensors
from recon.capture.files import unique_names

TOLD_FRAMES = 6
"""Frames that tell the scene, context and targets together, if there are so many; of the targets at least three."""
_DRAWN_AT_ONCE = 16


class OrbitModel(ModelMixin, ConfigMixin):
    """`OrbitTransformer` with diffusers' loading and saving; arguments as in `OrbitConfig`."""

    @register_to_config
    def __init__(
        self, sample_size: int = 64, patch_size: int = 8, width: int = 256, depth: int = 8, heads: int = 4
    ) -> None:
        super().__init__()
        self.net = OrbitTransformer(OrbitConfig(sample_size, patch_size, width, depth, heads))

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """See `OrbitTransformer.forward`."""
        return self.net(*args, **kwargs)


class OrbitPipeline(DiffusionPipeline):
    """Draws the target views of an object of which some frames are known."""

    model_cpu_offload_seq = "transformer"

    def __init__(self, transformer: OrbitModel, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        super().__init__()
        self.register_modules(transformer=transformer, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self,
        context: Sequence[Frame],
        targets: Sequence[Camera],
        *,
        size: int | tuple[int, int] | None = None,
        num_inference_steps: int = 1,
        guidance_scale: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        start: Sequence[Frame] | None = None,
        strength: float = 0.5,
        callback_on_step_end: Callable[[OrbitPipeline, int, int, dict[str, Tensor]], dict[str, Tensor]] | None = None,
    ) -> Capture:
        """Completes a capture.

        The network sees the context and a few of the target views, evenly spread, and tells a scene, from which all
        frames are drawn. So they agree with each other, however many there are.

        Args:
            context: clean frames; the first fixes the gauge.
            targets: cameras to draw, in the same world; the object's centre is the origin.
            size: side of the generated frames in pixels, or their height and width; the network's own size unless
                given. Gaussians are not bound to it.
            num_inference_steps: evaluations of the network (times two with guidance); 1 gives the blurred mean.
            guidance_scale: above 1, pushes away from what would be drawn without the context, in all steps but the
                last; so not at all where there is one step.
            generator: source of noise, for repeatable results; on the CPU or on the model's device, alone or as a list
                of one, as there is one scene.
            start: frames with depth and normals through the cameras of context and targets, in this order, to begin
                from instead of noise: renders of the scene that was fitted to an earlier answer.
            strength: noise level, in (0, 1], that `start` is brought to, or the nearest one that the sampler visits.
            callback_on_step_end: as in diffusers; may change `latents` (1, F, H, W, 8), the noised channels of context
                and anchors. The scene of the last evaluation comes out, so the last change has no effect.

        Returns:
            The context frames as given, now with depth and normals, then the generated frames with theirs, in the order
            of `targets`. The names of the generated ones differ from all others.

        Raises:
            ValueError: if context or targets are missing, context names are not unique, the size is none, there is more
                than one generator, or `start` does not fit.
        """
        if not context or not targets:
            raise ValueError("the orbit needs at least one context frame and one target camera")
        if isinstance(generator, list) and len(generator) != 1:
            raise ValueError(f"expected one generator, as one scene is drawn, found {len(generator)}")
        size = self.transformer.config.sample_size if size is None else size
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise ValueError(f"frames of {width}x{height} pixels cannot be drawn")
        device = self._execution_device
        known = len(context)
        asked = (*(f.camera for f in context), *targets)
        chosen = spread(asked[:known], targets, max(3, TOLD_FRAMES - known))
        which = [*range(known), *(known + i for i in chosen)]
        told = [asked[i] for i in which]
        seen = self._seen_size(height, width)
        gauge = _gauge(told, *seen, device)
        shape = (1, len(told), *seen, CHANNELS)
        noise = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        steps, levels = self._schedule(num_inference_steps, 1.0 if start is None else strength, device)
        latents = noise.clone()
        if start is not None:
            if len(start) != len(asked):
                raise ValueError(f"expected a frame to start from for each of {len(asked)} cameras, found {len(start)}")
            latents = torch.lerp(_encode([start[i] for i in which], gauge, *seen, device), noise, levels[0])
        latents[:, :known, ..., APPEARANCE] = encode_appearance(_stack(context, *seen, device))
        for i, timestep in enumerate(self.progress_bar(steps)):
            belief = self._believe(latents, levels[i], gauge, known)
            if i + 1 < len(steps):
                predicted = belief.channels(gauge)
                if guidance_scale != 1.0:
                    blind = latents.clone()
                    blind[:, :known, ..., APPEARANCE] = noise[:, :known, ..., APPEARANCE]
                    without = self._believe(blind, levels[i], gauge, 0).channels(gauge)
                    predicted = without + guidance_scale * (predicted - without)
                velocity = (latents - predicted) / levels[i]
                velocity[:, :known, ..., APPEARANCE] = 0
                latents = self.scheduler.step(velocity, timestep, latents, return_dict=False)[0]
            if callback_on_step_end is not None:
                latents = callback_on_step_end(self, i, int(timestep), {"latents": latents}).get("latents", latents)

        parts = []
        for first in range(0, len(asked), _DRAWN_AT_ONCE):
            some = asked[first : first + _DRAWN_AT_ONCE]
            fine = _gauge((asked[0], *some), height, width, device, gauge.unit).only(slice(1, None))
            parts.append(draw_frames(belief.gaussians, belief.normals, fine, height, width))
        premultiplied, depth, normal = (torch.cat(x).cpu() for x in zip(*parts))
        cameras = [camera.resized(width, height) for camera in asked]
        observed = [_with_geometry(frame, depth[i], normal[i]) for i, frame in enumerate(context)]
        names = unique_names([f.name for f in context] + [f"generated_{i:03d}" for i in range(len(targets))])
        generated = [
            frame_from_tensors(
                cameras[i],
                _straight(premultiplied[i]),
                source=Source.GENERATED,
                name=names[i],
                depth=depth[i],
                normal=normal[i],
            )
            for i in range(known, len(cameras))
        ]
        return Capture((*observed, *generated))

    def _schedule(self, count: int, strength: float, device: torch.device) -> tuple[Tensor, list[float]]:
        """The scheduler's timesteps and noise levels: `count` steps from `strength` to nothing."""
        if not 0 < strength <= 1:
            raise ValueError(f"strength must lie in (0, 1], found {strength}")
        steps, skipped = self._timesteps(max(count, round(count / strength)), device), 0
        if strength < 1:  # as diffusers' image-to-image pipelines do: the last steps of a longer way
            skipped = len(steps) - count
            self.scheduler.set_begin_index(skipped)
        return steps[skipped:], self.scheduler.sigmas[skipped:].tolist()

    def _timesteps(self, count: int, device: torch.device) -> Tensor:
        if not hasattr(self.scheduler, "sigmas"):
            raise ValueError(
                f"{type(self.scheduler).__name__} has no sigmas: the orbit model needs a scheduler for flow matching, "
                "such as FlowMatchEulerDiscreteScheduler, or DPM-Solver++ and UniPC with use_flow_sigmas=True"
            )
        if hasattr(self.scheduler, "sigma_min"):
            # The flow samplers' own spacing ends at 0.001: an evaluation spent on frames that are all but finished,
            # and a velocity in which the network's error is divided by next to nothing.
            self.scheduler.sigma_min = 1 / count
        self.scheduler.set_timesteps(count, device=device)
        return self.scheduler.timesteps

    def _seen_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in which the network sees frames: the shorter side as it was trained, whole patches."""
        config = self.transformer.config
        scale = config.sample_size / min(height, width) / config.patch_size
        return max(1, round(height * scale)) * config.patch_size, max(1, round(width * scale)) * config.patch_size

    def _believe(self, latents: Tensor, level: float, gauge: Gauge, known: int) -> Belief:
        levels = torch.full((*latents.shape[:2], 2), level, device=latents.device)
        levels[:, :known, 0] = 0
        times = torch.zeros(latents.shape[:2], device=latents.device)
        shown = torch.ones(latents.shape[:2], dtype=torch.bool, device=latents.device)
        told = ask(self.transformer, latents, levels, gauge.rays, times, shown, self.transformer.dtype)
        return believe(told, latents, levels, gauge, shown)


def spread(known: Sequence[Camera], targets: Sequence[Camera], count: int) -> list[int]:
    """Places of up to `count` targets, in rising order, that see the origin from as different sides as they can: one
    after the other the one that is farthest from all before it (Gonzalez 1985)."""
    directions = normalize(torch.stack([camera.c2w[:3, 3] for camera in (*known, *targets)]), dim=-1)
    cosines = (directions[len(known) :] @ directions.T).clone()
    nearest = cosines[:, : len(known)].max(dim=1).values
    chosen: list[int] = []
    for _ in range(min(count, len(targets))):
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, cosines[:, len(known) + chosen[-1]])
        nearest[chosen] = math.inf
    return sorted(chosen)


def _gauge(
    cameras: Sequence[Camera], height: int, width: int, device: torch.device, unit: Tensor | None = None
) -> Gauge:
    c2w, intrinsics = stack_cameras([camera.resized(width, height) for camera in cameras])
    return make_gauge(c2w[None].to(device), intrinsics[None].to(device), height, width, unit=unit)


def _stack(frames: Sequence[Frame], height: int, width: int, device: torch.device) -> Tensor:
    """(1, F, H, W, 4) premultiplied pictures."""
    return torch.stack([_resize(frame.premultiplied(), height, width) for frame in frames])[None].to(device)


def _encode(frames: Sequence[Frame], gauge: Gauge, height: int, width: int, device: torch.device) -> Tensor:
    """(1, F, H, W, 8) frames with depth and normals as the network's channels."""
    depths, normals = [], []
    for frame in frames:
        depth, normal = frame.depth(), frame.normal()
        if depth is None or normal is None:
            raise ValueError(f"frame {frame.name} has no depth or no normals to start from")
        resized = _resize_geometry(depth, normal, height, width)
        depths.append(resized[0])
        normals.append(resized[1])
    depth, normal = (torch.stack(values)[None].to(device) for values in (depths, normals))
    return encode(_stack(frames, height, width, device), depth, normal, gauge)


def _resize(picture: Tensor, height: int, width: int) -> Tensor:
    """(H, W, C) averaged or interpolated to another size."""
    channels_first = picture.permute(2, 0, 1)[None]
    return interpolate(channels_first, (height, width), mode="bilinear", antialias=True)[0].permute(1, 2, 0)


def _straight(premultiplied: Tensor) -> Tensor:
    """(H, W, 4) premultiplied to straight alpha; black where nothing is."""
    alpha = premultiplied[..., 3:]
    return torch.cat((premultiplied[..., :3] / alpha.clamp_min(1e-3), alpha), dim=-1).clamp(0, 1)


def _with_geometry(frame: Frame, depth: Tensor, normal: Tensor) -> Frame:
    """The observed frame with what was drawn of its geometry, brought to its size; still 0 where unknown."""
    big_depth, big_normal = _resize_geometry(depth, normal, frame.camera.height, frame.camera.width)
    return replace(frame, load_depth=lambda: big_depth, load_normal=lambda: big_normal)


def _resize_geometry(depth: Tensor, normal: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Depth (H, W) and normals (H, W, 3) at another size; what is 0, unknown, lends nothing to its neighbours."""
    solid = (depth > 0).float()[..., None]
    both = _resize(torch.cat((depth[..., None], normal, solid), dim=-1), height, width)
    valid = both[..., 4] > 0.5
    resized = torch.where(valid, both[..., 0] / both[..., 4].clamp_min(0.5), 0)
    return resized, torch.where(valid[..., None], normalize(both[..., 1:4], dim=-1), 0)
