"""A generator trained on one's own objects: a folder of .glb or .obj files in, a folder for `--model` out.

    python examples/09_train_on_own_objects.py MODELS FOLDER

The sizes here show the way in a minute; they teach a network nothing. docs/generator.md says what the shipped weights
took. What should be measured later must not be trained on: list it in MODELS/never_train.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gen.data.dataset import OrbitDataset
from gen.data.render import plan_dataset, render_dataset
from gen.data.scenes import SceneOptions
from gen.data.sources import NEVER_TRAIN
from gen.options import OrbitConfig, TrainOptions
from gen.train import train
from gen.weights import save_pipeline

SCENES = SceneOptions(size=32, views=12)
TRAINING = TrainOptions(
    model=OrbitConfig(sample_size=32, width=48, depth=3, heads=3), size=32, steps=20, frames_per_step=16, warmup=5
)


def main(models: Path, folder: Path) -> None:
    exclude = None if (models / NEVER_TRAIN).is_file() else "none"
    render_dataset(plan_dataset(models, SCENES, exclude=exclude), folder / "dataset", workers=2)
    dataset = OrbitDataset(folder / "dataset")
    train(dataset, folder / "run", TRAINING, report=lambda step, loss: print(f"step {step}: {loss:.3f}"))
    save_pipeline(folder / "run", folder / "pipeline")
    print(f"turnabout img2mesh photo.jpg -o out/photo --model {folder / 'pipeline'}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
