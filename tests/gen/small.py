"""Small things that the generator's tests share: a network with random weights, a rendered dataset of two solids."""

from __future__ import annotations

from pathlib import Path

import torch
import trimesh

from gen.data.dataset import OrbitDataset
from gen.data.render import plan_dataset, render_dataset
from gen.data.scenes import SceneOptions
from gen.model import OrbitTransformer
from gen.options import OrbitConfig

CONFIG = OrbitConfig(sample_size=16, patch_size=4, width=24, depth=3, heads=2)


def random_network(seed: int = 0, config: OrbitConfig = CONFIG) -> OrbitTransformer:
    """A network none of whose weights is zero, so that every path matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = OrbitTransformer(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return network.eval()


def tiny_pipeline(seed: int = 0):
    """An `OrbitPipeline` with random weights: the shapes and the arithmetic of the real one, none of the sense."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    from gen.pipeline import OrbitModel, OrbitPipeline

    model = OrbitModel(**vars(CONFIG))
    model.net.load_state_dict(random_network(seed).state_dict())
    pipeline = OrbitPipeline(model.eval(), FlowMatchEulerDiscreteScheduler())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def render_solids(folder: Path, size: int = 16, views: int = 6) -> OrbitDataset:
    """A box and a ball, rendered into `folder`."""
    models = folder / "models"
    models.mkdir(parents=True)
    trimesh.creation.box((1.0, 0.6, 0.4)).export(models / "box.glb")
    trimesh.creation.icosphere(2).export(models / "ball.glb")
    plan = plan_dataset(models, SceneOptions(size=size, views=views), exclude="none", only=None)
    render_dataset(plan, folder / "data", workers=1)
    return OrbitDataset(folder / "data")
