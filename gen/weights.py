"""Where the shipped weights are, and how weights become a pipeline folder and back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gen.pipeline import OrbitPipeline

DEFAULT_NAME = "orbit-base"


class WeightsError(ValueError):
    """Weights are missing or are not ours."""


def default_weights() -> Path:
    """Folder of the shipped pipeline, in a checkout or in an installed wheel.

    Raises:
        WeightsError: if it is in neither place.
    """
    here = Path(__file__).resolve().parent
    places = (here.parent / "assets" / "weights" / DEFAULT_NAME, here / "_weights" / DEFAULT_NAME)
    for place in places:
        if (place / "model_index.json").is_file():
            return place
    raise WeightsError(f"the shipped weights are missing: expected {places[0]} or {places[1]}; install turnabout again")


def weights_folder(model: Path | None) -> Path:
    """The folder that `model` names, or that of the shipped weights.

    Raises:
        WeightsError: if there is none.
    """
    if model is None:
        return default_weights()
    if not model.is_dir():
        raise WeightsError(f"{model}: expected a folder with a saved pipeline")
    return model


def weights_digest(folder: Path) -> str:
    """SHA-256 of a pipeline's weights.

    Raises:
        WeightsError: if the folder holds no weights, or several files of them.
    """
    files = sorted((folder / "transformer").glob("*.safetensors"))
    if len(files) != 1:
        raise WeightsError(f"{folder}: expected one file of weights in transformer/, found {len(files)}")
    with files[0].open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_pipeline(source: str | Path | None = None, device: str = "cpu") -> OrbitPipeline:
    """The pipeline in a folder, or on the Hugging Face hub, on `device`. Weights are read from safetensors only.

    Args:
        source: folder, hub id such as "owner/name", or None for the shipped weights.

    Raises:
        WeightsError: if there is no such folder or repository, or it holds something else.
    """
    import torch
    from diffusers.utils.logging import disable_progress_bar

    from gen.pipeline import OrbitPipeline

    source = default_weights() if source is None else source
    folder = Path(source)
    if folder.exists():
        _check_index(folder)
    elif str(source).count("/") != 1 or str(source).startswith((".", "/")):
        raise WeightsError(f"{source}: expected a folder with a saved pipeline or a hub id (owner/name); found neither")
    disable_progress_bar()  # of diffusers' loading, which takes a second
    try:
        pipeline = OrbitPipeline.from_pretrained(
            str(source), use_safetensors=True, low_cpu_mem_usage=False, dtype=torch.float32
        )
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise WeightsError(f"{source}: cannot be loaded as an orbit pipeline ({_first_line(error)})") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def save_pipeline(run: Path, folder: Path) -> None:
    """Turns a training run's averaged weights into a pipeline folder that `from_pretrained` reads, in any precision.

    The blocks' matrices, nine tenths of the weights, are stored as 8-bit floating point, which views do not show (the
    model card has the figures), all else in float16. The pipeline draws at the size of the pictures that the run was
    trained on, unless told otherwise.

    Raises:
        WeightsError: if `run` is not a training run.
    """
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler
    from safetensors.torch import load_file

    from gen.pipeline import OrbitModel, OrbitPipeline

    if not (run / "ema.safetensors").is_file():
        raise WeightsError(f"{run}: expected a training run with ema.safetensors in it")
    options = json.loads((run / "config.json").read_text(encoding="utf-8"))["options"]
    model = OrbitModel(**options["model"] | {"sample_size": options["size"]})
    model.net.load_state_dict(load_file(run / "ema.safetensors"))
    model.half()
    largest = torch.finfo(torch.float8_e4m3fn).max  # beyond it the format knows no number
    for matrix in (p for p in model.net.blocks.parameters() if p.ndim == 2):
        matrix.data = matrix.data.clamp(-largest, largest).to(torch.float8_e4m3fn)
    OrbitPipeline(model, FlowMatchEulerDiscreteScheduler()).save_pretrained(folder)


def _check_index(folder: Path) -> None:
    path = folder / "model_index.json"
    if not path.is_file():
        made = folder / "pipeline"
        if (made / "model_index.json").is_file():
            raise WeightsError(f"{folder}: is a training run's folder; its pipeline is {made}")
        raise WeightsError(f"{folder}: expected a saved pipeline (model_index.json); found none")
    try:
        name = json.loads(path.read_text(encoding="utf-8")).get("_class_name")
    except (ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: is not a pipeline's index ({_first_line(error)})") from error
    if name != "OrbitPipeline":
        raise WeightsError(f"{path}: expected an OrbitPipeline, found {name!r}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
