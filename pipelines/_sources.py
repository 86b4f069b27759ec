"""The files that a run starts from: found, and hashed, so that a resumed run is sure to go on with the same ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines._options import MeshOptions, OptionsError
from pipelines._run import content_hash, files_digest


@dataclass(frozen=True)
class Source:
    """A file or folder from outside the run folder, its name as shown, and the hash of its content."""

    path: Path
    name: str
    sha256: str

    @classmethod
    def of(cls, path: Path, name: str | None = None) -> Source:
        """Hashes what is at `path`.

        Raises:
            OptionsError: if there is nothing, or its name cannot be written into the report.
        """
        if not path.exists():
            raise OptionsError(f"{path}: no such file or folder")
        if not (path.is_file() or path.is_dir()):
            raise OptionsError(
                f"{path}: expected a file or a folder, found a pipe or a device; save it as a file first"
            )
        name = name or path.resolve().name
        _refuse_unprintable(path, path.name, name)
        return cls(path, name, content_hash(path))

    def as_json(self) -> dict[str, str]:
        return {"name": self.name, "sha256": self.sha256}


@dataclass(frozen=True)
class Sources:
    """What one run reads. Either photos and a model, or a capture."""

    photos: tuple[Source, ...] = ()
    model: Source | None = None
    cameras: Source | None = None
    matting: Source | None = None
    capture: Source | None = None

    def as_json(self) -> dict[str, Any]:
        """Names and hashes, without the folders' places."""
        single = {"model": self.model, "cameras": self.cameras, "matting": self.matting, "capture": self.capture}
        named = {key: source.as_json() for key, source in single.items() if source is not None}
        return {"photos": [photo.as_json() for photo in self.photos], **named}


def find_sources(options: MeshOptions) -> Sources:
    """Everything that the options name; the model is fetched if it is a Hugging Face id that is not here yet.

    Raises:
        OptionsError: if something is not there.
        OSError: if something cannot be read.
    """
    if options.capture is not None:
        return Sources(capture=find_capture(options.capture))
    return Sources(
        photos=tuple(Source.of(_file(path)) for path in options.photos),
        model=find_model(options.model),
        cameras=None if options.cameras is None else Source.of(_file(options.cameras)),
        matting=None if options.matting is None else Source.of(_file(options.matting)),
    )


def find_capture(path: Path) -> Source:
    """The capture in a folder, or that one of a folder's listings describes: then its pictures count, too.

    Raises:
        OptionsError: if there is nothing, or its name cannot be written into the report.
    """
    if not path.is_file():
        return Source.of(path)
    _refuse_unprintable(path, path.name)
    folder = Source.of(path.parent)
    digest = hashlib.sha256(f"{path.name}\0{folder.sha256}".encode()).hexdigest()
    return Source(path, folder.name, digest)


def find_given(path: Path) -> Source:
    """Somebody's splats or mesh, with what the file names beside it.

    Raises:
        OptionsError: if there is nothing, or its name cannot be written into the report.
        OSError: if something cannot be read.
    """
    from recon.surface.loading import companions

    source = Source.of(path)
    beside = companions(path)
    if not beside:
        return source
    whole = path.resolve()
    return Source(path, source.name, files_digest(whole.parent, [whole, *beside]))


def find_model(asked: str | None) -> Source:
    """The generator's folder: the shipped one, a path, or the local copy of a Hugging Face repository.

    Raises:
        OptionsError: if it is no such folder or cannot be fetched.
    """
    if asked is None:
        from gen.weights import default_weights

        return _model_folder(default_weights(), "orbit-base")
    if Path(asked).exists():
        return _model_folder(Path(asked), None)
    if asked.count("/") != 1 or asked.startswith((".", "/", "~")):
        raise OptionsError(f"--model {asked}: no such folder, and no Hugging Face id (owner/name) either")
    return _model_folder(_download(asked), asked)


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise OptionsError(f"--model {repository}: cannot be fetched from Hugging Face ({reason})") from error


def _model_folder(path: Path, name: str | None) -> Source:
    if not (path / "model_index.json").is_file():
        made = path / "pipeline"
        if (made / "model_index.json").is_file():
            raise OptionsError(f"{path}: is a training run's folder; its generator is --model {made}")
        raise OptionsError(
            f"{path}: expected a generator's folder with model_index.json, as OrbitPipeline.save_pretrained writes it; "
            "name one with --model"
        )
    return Source.of(path, name)


def _refuse_unprintable(path: Path, *names: str) -> None:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise OptionsError(f"{str(path)!r}: the name {name!r} is not UTF-8; rename it") from error


def _file(path: Path) -> Path:
    if path.is_dir():
        raise OptionsError(f"{path}: expected a file, found a folder; pictures with cameras go to --capture")
    return path
