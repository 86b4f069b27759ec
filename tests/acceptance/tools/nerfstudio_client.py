"""nerfstudio, asked by the acceptance tests; runs in its own environment (.tools/nerfstudio).

python nerfstudio_client.py read CAPTURE QUESTIONS.json   what nerfstudio's parser and ours make of a capture
python nerfstudio_client.py run ns-train ...              a command, but for the metric whose weights are downloaded
"""

import json
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any


def read(capture: Path, questions: Path) -> None:
    """Prints, for each parser, its way from the file's world and, for each picture, its time, its size, the colour of
    one pixel and the ray through it. QUESTIONS: {picture's name: [x, y]} in pixels."""
    import torch
    from nerfstudio.configs.dataparser_configs import all_dataparsers
    from nerfstudio.data.datasets.base_dataset import InputDataset

    asked = json.loads(questions.read_text())
    answers = {}
    for name, options in (("nerfstudio-data", {"eval_mode": "all"}), ("turnabout-data", {"eval_interval": 0})):
        config = all_dataparsers[name]
        config.data = capture
        for key, value in options.items():
            setattr(config, key, value)
        outputs = config.setup().get_dataparser_outputs(split="train")
        dataset, frames = InputDataset(outputs), {}
        for index, file in enumerate(outputs.image_filenames):
            x, y = asked[file.stem]
            rays = dataset.cameras.generate_rays(index, coords=torch.tensor([[y, x]]))
            image = dataset.get_numpy_image(index)
            frames[file.stem] = {
                "pixel": image[int(y), int(x)].tolist(),
                "size": [image.shape[1], image.shape[0]],
                "camera_size": [int(dataset.cameras.width[index]), int(dataset.cameras.height[index])],
                "origin": rays.origins[0].tolist(),
                "direction": rays.directions[0].tolist(),
                "time": None if dataset.cameras.times is None else float(dataset.cameras.times[index]),
            }
        transform = torch.as_tensor(outputs.dataparser_transform).tolist()
        answers[name] = {"transform": transform, "scale": outputs.dataparser_scale, "frames": frames}
    print(json.dumps(answers))


def run(name: str, arguments: list[str]) -> None:
    """One of nerfstudio's commands, with LPIPS as NaN. From 2.6 on torch refuses nerfacto's checkpoints, which hold
    numbers of numpy, unless it is told that these are harmless."""
    import numpy as np
    import torch
    from torchmetrics.image import lpip

    class Unknown(torch.nn.Module):
        def __init__(self, *args, **kwargs):
            super().__init__()

        def forward(self, *pictures):
            return torch.tensor(float("nan"))

    number = np.float64(0)
    made_by: Any = number.__reduce__()[0]
    torch.serialization.add_safe_globals([made_by, np.dtype, type(number.dtype)])
    lpip.LearnedPerceptualImagePatchSimilarity = Unknown
    (command,) = entry_points(group="console_scripts", name=name)
    sys.argv = [name, *arguments]
    command.load()()


if __name__ == "__main__":  # its loaders' processes import this file
    if sys.argv[1] == "read":
        read(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        run(sys.argv[2], sys.argv[3:])
