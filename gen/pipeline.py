"""`OrbitPipeline`: context frames and target cameras in, a completed `Capture` out.

The diffusers face of the generator: `from_pretrained`, `save_pretrained`, any of its flow-matching samplers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from diffusers import ConfigMixin, DiffusionPipeline, FlowMatchEulerDiscreteScheduler, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from gen.gauge import APPEARANCE, CHANNELS, decode, encode_appearance, make_gauge, stack_cameras
from gen.model import OrbitConfig, OrbitTransformer
from recon.capture import Camera, Capture, Frame, Source, frame_from_tensors
from recon.capture.files import unique_names


class OrbitModel(ModelMixin, ConfigMixin):
    """`OrbitTransformer` with diffusers' loading and saving; arguments as in `OrbitConfig`."""

    @register_to_config
    def __init__(
        self, sample_size: int = 64, patch_size: int = 8, width: int = 256, depth: int = 8, heads: int = 4
    ) -> None:
        super().__init__()
        self.net = OrbitTransformer(OrbitConfig(sample_size, patch_size, width, depth, heads))

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
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
        size: int | None = None,
        num_inference_steps: int = 1,
        guidance_scale: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        callback_on_step_end: Callable[[OrbitPipeline, int, int, dict[str, Tensor]], dict[str, Tensor]] | None = None,
    ) -> Capture:
        """Completes a capture.

        Args:
            context: clean frames; the first fixes the gauge. They are looked at in the size of the generated frames.
            targets: cameras to draw, in the same world; the object's centre is the origin.
            size: side in pixels of the generated frames, square; the size that the model was trained on unless given.
            num_inference_steps: evaluations of the network (times two with guidance); 1 gives the blurred mean.
            guidance_scale: above 1, pushes away from what would be drawn without the context.
            generator: source of noise, for repeatable results; on the CPU or on the model's device, alone or as a list
                of one, as there is one scene.
            callback_on_step_end: as in diffusers; may change `latents` (1, F, H, W, 8), the noised channels.

        Returns:
            The context frames as given, now with depth and normals of the context at the drawn size, then the
            generated frames with depth and normals, in the order of `targets`. The names of the
            generated ones differ from all others.

        Raises:
            ValueError: if context or targets are missing, context names are not unique, the size does not divide into
                patches, or there is more than one generator.
        """
        if not context or not targets:
            raise ValueError("the orbit needs at least one context frame and one target camera")
        if isinstance(generator, list) and len(generator) != 1:
            raise ValueError(f"expected one generator, as one scene is drawn, found {len(generator)}")
        config = self.transformer.config
        size = config.sample_size if size is None else size
        if size % config.patch_size:
            raise ValueError(f"size {size} is not a multiple of the model's patch size {config.patch_size}")
        device = self._execution_device
        known = len(context)
        cameras = [camera.resized(size, size) for camera in (*(f.camera for f in context), *targets)]
        c2w, intrinsics = stack_cameras(cameras)
        gauge = make_gauge(c2w[None].to(device), intrinsics[None].to(device), size, size)
        pictures = torch.stack([_resize(frame.premultiplied(), size, size) for frame in context])[None].to(device)
        shape = (1, len(cameras), size, size, CHANNELS)
        noise = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        latents = noise.clone()
        latents[:, :known, ..., APPEARANCE] = encode_appearance(pictures)
        times = torch.zeros(1, len(cameras), device=device)
        steps = self._timesteps(num_inference_steps, device)
        for i, timestep in enumerate(self.progress_bar(steps)):
            level = float(self.scheduler.sigmas[i])
            predicted = self._predict(latents, level, gauge.rays, times, known)
            if guidance_scale != 1.0:
                blind = latents.clone()
                blind[:, :known, ..., APPEARANCE] = noise[:, :known, ..., APPEARANCE]
                without = self._predict(blind, level, gauge.rays, times, 0)
                predicted = without + guidance_scale * (predicted - without)
            velocity = (latents - predicted) / max(level, 1e-4)
            velocity[:, :known, ..., APPEARANCE] = 0
            latents = self.scheduler.step(velocity, timestep, latents, return_dict=False)[0]
            if callback_on_step_end is not None:
                latents = callback_on_step_end(self, i, int(timestep), {"latents": latents}).get("latents", latents)

        premultiplied, depth, normal = (x[0].cpu() for x in decode(latents, gauge))
        observed = [_with_geometry(frame, depth[i], normal[i]) for i, frame in enumerate(context)]
        names = unique_names([f.name for f in context] + [f"generated_{i:03d}" for i in range(len(targets))])
        drawn = [
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
        return Capture((*observed, *drawn))

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

    def _predict(self, latents: Tensor, level: float, rays: Tensor, times: Tensor, known: int) -> Tensor:
        levels = torch.full((*latents.shape[:2], 2), level, device=latents.device)
        levels[:, :known, 0] = 0
        dtype = self.transformer.dtype
        # As in training, only the network computes in another dtype: rays rounded to it would miss their pixels.
        with torch.autocast(latents.device.type, dtype=dtype, enabled=dtype != torch.float32):
            return self.transformer(latents, levels, rays, times).to(latents)


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
    height, width = frame.camera.height, frame.camera.width
    solid = (depth > 0).float()[..., None]
    both = _resize(torch.cat((depth[..., None], normal, solid), dim=-1), height, width)
    valid = both[..., 4] > 0.5
    big_depth = torch.where(valid, both[..., 0] / both[..., 4].clamp_min(0.5), 0)
    big_normal = torch.where(valid[..., None], normalize(both[..., 1:4], dim=-1), 0)
    return replace(frame, load_depth=lambda: big_depth, load_normal=lambda: big_normal)
