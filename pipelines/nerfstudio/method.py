"""`ns-train turnabout`: what nerfstudio's trainer is told."""

from __future__ import annotations

from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.data.datamanagers.full_images_datamanager import FullImageDatamanagerConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.plugins.types import MethodSpecification

from pipelines.nerfstudio.dataparser import CaptureParserConfig
from pipelines.nerfstudio.model import SplatsModelConfig
from pipelines.nerfstudio.optimiser import SplatStepsConfig
from pipelines.nerfstudio.pipeline import SplatsPipelineConfig
from recon.splat.fit_options import FIT_PRESETS

turnabout = MethodSpecification(
    TrainerConfig(
        method_name="turnabout",
        max_num_iterations=FIT_PRESETS["views"].iterations,
        steps_per_eval_batch=0,
        steps_per_eval_image=200,
        steps_per_eval_all_images=1000,
        steps_per_save=500,
        mixed_precision=False,
        pipeline=SplatsPipelineConfig(
            datamanager=FullImageDatamanagerConfig(dataparser=CaptureParserConfig(), cache_images_type="uint8"),
            model=SplatsModelConfig(),
        ),
        optimizers={"gaussians": {"optimizer": SplatStepsConfig(), "scheduler": None}},
        viewer=ViewerConfig(num_rays_per_chunk=1 << 15),
        vis="viewer",
    ),
    "Gaussian splats by turnabout: on a CPU, or with CUDA",
)
