"""Our splats as a model of nerfstudio: drawn by `rasterize`, compared by our losses.

It stands in for splatfacto (nerfstudio's viewer, `ns-render` and `ns-export gaussian-splat` ask for that class), but
nothing of splatfacto's fit is used: only its names for what is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.models.splatfacto import SplatfactoModel
from torch import Tensor
from torch.nn import Parameter, ParameterDict

from pipelines.nerfstudio.frames import Compared, camera_of, compared
from pipelines.nerfstudio.optimiser import SplatSteps
from recon.capture import Similarity
from recon.metrics.images import psnr, ssim
from recon.splat.fit_options import FIT_PRESETS, FitOptions
from recon.splat.gaussians import Gaussians, from_points
from recon.splat.losses import normal_loss, normals_from_depth, picture_loss
from recon.splat.rasterize import Rendering, rasterize
from recon.splat.resizing import shrunk

_VIEWS = FIT_PRESETS["views"]
_NAMES = ("means", "quats", "log_scales", "logit_opacities", "sh")
_POLISHED = 0.8
"""Share of a training after which Gaussians stay where they are."""


@dataclass
class SplatsModelConfig(ModelConfig):
    """How splats are fitted, as in turnabout's own commands (recon/splat/fit_options.py)."""

    _target: type = field(default_factory=lambda: SplatsModel)
    start: Literal["auto", "hull", "points"] = "auto"
    """What the first Gaussians cover: the hull of the silhouettes, or the capture's points and the surroundings.
    auto: the hull where pictures have transparency."""
    initial_gaussians: int = _VIEWS.initial_gaussians
    """Gaussians at the start, on a hull."""
    max_gaussians: int = _VIEWS.max_gaussians
    """Gaussians at the end, at most."""
    pixels_per_gaussian: float = _VIEWS.pixels_per_gaussian
    """Fewer Gaussians are used where the frames show fewer pixels of the subject than this for each."""
    max_size: int = _VIEWS.max_size
    """In training, longer pictures are shrunk to this many pixels on their longer side."""
    sh_degree: int = _VIEWS.sh_degree
    """Degree of view-dependent colour."""
    ssim_share: float = _VIEWS.ssim_share
    """Part of the photometric loss that is structural dissimilarity."""
    alpha_weight: float = _VIEWS.alpha_weight
    """Absolute difference of the drawn and the given mask."""
    consistency_weight: float = _VIEWS.consistency_weight
    """Angle between drawn normals and those of the drawn depth; 0.05 for surfaces, as make_asset wants them."""
    opacity_weight: float = _VIEWS.opacity_weight
    """Mean opacity, against the sum over all frames."""
    renew_every: int = _VIEWS.renew_every
    """Steps between moving Gaussians that show nothing and growing the scene."""
    background_color: Literal["random", "black", "white"] = "random"
    """Behind what is transparent. random: another one each step; the viewer's when it is drawn."""

    def fit_options(self) -> FitOptions:
        """The same as our fits have it; a smaller limit is one for the start, too."""
        shared = {name: value for name, value in vars(self).items() if name in FitOptions.__dataclass_fields__}
        shared["initial_gaussians"] = min(self.initial_gaussians, self.max_gaussians)
        return replace(_VIEWS, **shared)


class SplatsModel(SplatfactoModel):
    """Gaussians in nerfstudio's world."""

    config: SplatsModelConfig

    def populate_modules(self) -> None:
        """One Gaussian, until `begin` or a checkpoint brings more. splatfacto's own are not made."""
        black = torch.zeros(1, 3)
        dot = from_points(black, black, 0.1, sh_degree=self.config.sh_degree)
        self.gauss_params = ParameterDict(dict(zip(_NAMES, map(Parameter, dot.tensors()), strict=True)))
        self.crop_box = None
        colors = {"random": (0.149, 0.1647, 0.2157), "black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}
        self.background_color = torch.tensor(colors[self.config.background_color])  # random: as viser's is
        self._extent, self._most, self._max_scale = 1.0, self.config.max_gaussians, _VIEWS.max_scale
        self._compared: dict[int, Compared] = {}

    def begin(self, scene: Gaussians, to_unit: Similarity, most: int, max_scale: float) -> None:
        """Takes a scene to begin with.

        Args:
            scene: in nerfstudio's world.
            to_unit: what moves the subject to the unit-diameter sphere.
            most: Gaussians at the end, at most.
            max_scale: Gaussians wider than this, there, are moved.
        """
        self._extent, self._most, self._max_scale = 1 / to_unit.scale, most, max_scale
        self._take(scene.tensors())

    def _take(self, tensors: tuple[Tensor, ...]) -> None:
        for parameter, data in zip(self._parameters_in_order(), tensors, strict=True):
            parameter.grad = None
            parameter.data = data.detach().to(parameter).contiguous()

    def load_state_dict(self, state: Mapping[str, Any], **kwargs: Any) -> None:
        """Takes as many Gaussians as the checkpoint has."""
        self._take(tuple(state[f"gauss_params.{name}"] for name in _NAMES))
        Model.load_state_dict(self, state, **kwargs)

    @property
    def gaussians(self) -> Gaussians:
        """The scene; gradients reach the parameters."""
        return Gaussians(*self._parameters_in_order())

    def _parameters_in_order(self) -> list[Parameter]:
        return [self.gauss_params[name] for name in _NAMES]

    # What splatfacto's exporter and nerfstudio's viewer ask for; `means` and `quats` are splatfacto's own.
    @property
    def scales(self) -> Tensor:
        return self.gauss_params["log_scales"]

    @property
    def opacities(self) -> Tensor:
        return self.gauss_params["logit_opacities"][:, None]

    @property
    def features_dc(self) -> Tensor:
        return self.gauss_params["sh"][:, 0]

    @property
    def features_rest(self) -> Tensor:
        return self.gauss_params["sh"][:, 1:]

    @property
    def colors(self) -> Tensor:
        return self.gaussians.base_colors

    @property
    def shs_0(self) -> Tensor:
        return self.features_dc

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        return {"gaussians": self._parameters_in_order()}

    def get_training_callbacks(self, attributes: TrainingCallbackAttributes) -> list[TrainingCallback]:
        trainer = attributes.trainer
        assert trainer is not None
        optimiser = attributes.optimizers.optimizers["gaussians"]
        assert isinstance(optimiser, SplatSteps)
        iterations = trainer._start_step + trainer.config.max_num_iterations
        optimiser.begin(iterations, self._extent, trainer.config.machine.seed)

        def renew(step: int) -> None:
            if (step + 1) % self.config.renew_every == 0 and step + 1 < _POLISHED * iterations:
                optimiser.renew(self._most, self._max_scale)

        return [TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], renew)]

    def get_outputs(self, camera: Cameras) -> dict[str, Any]:
        """Draws one camera: rgb (H, W, 3), accumulation (H, W, 1) and background, and, where wanted, depth (H, W, 1)
        and normals (H, W, 3) for the eye."""
        view = camera_of(camera)
        if self.training:
            view = shrunk(view, self.config.max_size)
        scene = self.gaussians
        if self.crop_box is not None and not self.training:
            scene = scene.select(self.crop_box.within(scene.means).reshape(-1))
        if len(scene) == 0:
            return self.get_empty_outputs(view.width, view.height, self.background_color.to(self.device))
        geometry = not self.training or self.config.consistency_weight > 0
        matrices = view.w2c[None].to(self.device), view.intrinsics[None].to(self.device)
        drawn = rasterize(scene, (*matrices, view.width, view.height), geometry=geometry)
        background, alpha = self._get_background_color(), drawn.alpha[0][..., None]
        outputs = {"rgb": drawn.rgb[0] + (1 - alpha) * background, "accumulation": alpha, "background": background}
        if isinstance(drawn, Rendering):
            depth = drawn.depth[0][..., None]
            outputs["depth"] = depth if self.training else torch.where(alpha > 0, depth, depth.max())
            outputs["normals"] = drawn.normal[0] if self.training else (drawn.normal[0] + 1) / 2
        if not self.training:
            outputs["rgb"] = outputs["rgb"].clamp(0, 1)
            outputs["background"] = background.expand(view.height, view.width, 3)
        return outputs | ({"view": view} if self.training else {})

    def _target(self, outputs: dict[str, Any], batch: dict[str, Any]) -> Compared:
        """What an image of a batch looks like at the size of the drawing; kept in training."""
        size = tuple(outputs["rgb"].shape[:2])
        if not self.training:
            return compared(batch, size, self.device)
        index = int(batch["image_idx"])
        if index not in self._compared:
            self._compared[index] = compared(batch, size, self.device)
        return self._compared[index]

    def get_loss_dict(
        self, outputs: dict[str, Any], batch: dict[str, Any], metrics_dict: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        options, target = self.config.fit_options(), self._target(outputs, batch)
        alpha, background = outputs["accumulation"][..., 0], outputs["background"].reshape(-1, 3)[0]
        rgb = outputs["rgb"] - (1 - alpha[..., None]) * background
        loss = picture_loss(
            rgb, alpha, target.color, target.alpha, background, target.weight, options.ssim_share, options.alpha_weight
        )
        opacity = options.opacity_weight_of(self.num_train_data) * self.gaussians.opacities.mean()
        losses = {"color": loss.color, "mask": loss.mask, "opacity": opacity}
        if self.training and options.consistency_weight > 0:
            view = outputs["view"]
            solid = target.weight * (target.alpha > 0.9) * (alpha.detach() > 0.5)
            directions = view.rays()[1].to(alpha)
            surface = normals_from_depth(outputs["depth"][..., 0], directions)
            losses["consistency"] = options.consistency_weight * normal_loss(outputs["normals"], surface, solid)
        return losses

    def get_metrics_dict(self, outputs: dict[str, Any], batch: dict[str, Any]) -> dict[str, Tensor]:
        with torch.no_grad():
            found = psnr(outputs["rgb"], self._target(outputs, batch).over(outputs["background"]))
        return {"psnr": found, "gaussian_count": torch.tensor(float(len(self.gaussians)))}

    def get_image_metrics_and_images(
        self, outputs: dict[str, Any], batch: dict[str, Any]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """PSNR and SSIM over the background; and both pictures side by side. LPIPS would download its weights."""
        given = self._target(outputs, batch).over(outputs["background"])
        drawn = outputs["rgb"]
        figures = {"psnr": float(psnr(drawn, given)), "ssim": float(ssim(drawn.cpu(), given.cpu()))}
        return figures, {"img": torch.cat((given, drawn), dim=1)}
