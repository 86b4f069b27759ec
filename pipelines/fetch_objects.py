"""`python -m pipelines.fetch_objects`: the evaluation's objects from where their authors keep them, as .glb files."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pipelines._command import run_command

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

    from gen.data.origins import Origin
    from recon.surface.mesh import Mesh

MANIFEST = "manifest.jsonl"
DOWNLOADS = ".downloads"
"""Folder in the output for what several objects come out of; it goes when all objects are there."""


@dataclass(frozen=True)
class FetchObjectsOptions:
    """Fetches the objects that the evaluation reports on (about 150 MB) and saves each as a .glb file in our frame."""

    output: Annotated[Path, tyro.conf.arg(name="output", aliases=["-o"])]
    """The objects' folder, for `evaluate --set`. Objects that it holds already are kept and not fetched again."""
    objects: Path | None = None
    """List of objects and their origins, one JSON object a line; unless given, the 60 objects of the evaluation."""
    pack: Path | None = None
    """Folder that holds objects_train.zip. The objects are taken from there, and nothing is fetched."""


@dataclass
class Outcome:
    """What became of the objects: ids, and the reasons of those that failed."""

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def fetch(options: FetchObjectsOptions, opener: OpenerDirector | None = None, pause: float = 1.0) -> Outcome:
    """Runs the command, showing progress. An object that fails does not stop the others.

    Args:
        opener: opens addresses; unless given, https alone.
        pause: seconds before a request that failed is repeated.

    Raises:
        ValueError, OSError: for what a user can mend, if it concerns all objects.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from gen.data.origins import read_origins
    from pipelines.evaluation.sets import shipped

    origins = read_origins(options.objects or shipped("validation.jsonl"))
    manifest = _read_manifest(options.output / MANIFEST)
    if options.pack is None:
        mesh_of = _from_authors(options.output / DOWNLOADS, opener, pause)
    else:
        mesh_of = _from_pack(options.pack)
    options.output.mkdir(parents=True, exist_ok=True)
    outcome = Outcome()
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    try:
        with Progress(*columns) as bar:
            task = bar.add_task("", total=len(origins))
            for origin in origins:
                bar.update(task, description=origin.info.id)
                _fetch_one(origin, options.output, mesh_of, outcome)
                bar.advance(task)
            bar.update(task, description="")
    finally:
        _write_manifest(options.output, manifest, origins)
    if not outcome.failed:
        shutil.rmtree(options.output / DOWNLOADS, ignore_errors=True)
    return outcome


def report(outcome: Outcome, output: Path) -> None:
    """Prints what was done, and on stderr what failed and why."""
    for object_id, reason in outcome.failed.items():
        print(f"failed: {object_id}: {reason}", file=sys.stderr)
    print(f"{output}: {len(outcome.written)} objects written, {len(outcome.kept)} kept, {len(outcome.failed)} failed")
    if outcome.failed:
        print("give the same command again to try those that failed once more", file=sys.stderr)


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code, 1 if objects failed."""
    options = tyro.cli(FetchObjectsOptions, args=args, prog="fetch_objects")
    outcome = Outcome()

    def command() -> None:
        nonlocal outcome
        outcome = fetch(options)
        report(outcome, options.output)

    return run_command(command, again="give the same command again") or int(bool(outcome.failed))


def _from_authors(cache: Path, opener: OpenerDirector | None, pause: float) -> Callable[[Origin], Mesh]:
    from gen.data.origins import Places, load_origin

    places = Places(cache, opener=opener, pause=pause)
    return lambda origin: load_origin(origin, places.reader(origin.place))


def _from_pack(folder: Path) -> Callable[[Origin], Mesh]:
    from gen.data.pack import ObjectPack
    from pipelines.evaluation.sets import PACK

    if not (folder / PACK).is_file():
        raise ValueError(f"{folder}: expected {PACK} in the folder, found none; without --pack the objects are fetched")
    pack = ObjectPack(folder / PACK)
    return lambda origin: pack.mesh(origin.info.id)


def _fetch_one(origin: Origin, output: Path, mesh_of: Callable[[Origin], Mesh], outcome: Outcome) -> None:
    """Writes one object unless it is there."""
    from recon.asset.gltf import write_glb

    object_id = origin.info.id
    target = output / f"{object_id}.glb"
    if target.exists():
        outcome.kept.append(object_id)
        return
    try:
        write_glb(mesh_of(origin), target, size=None, origin="keep", name=object_id, extras=_credits(origin))
    except ValueError as error:
        outcome.failed[object_id] = str(error)
    else:
        outcome.written.append(object_id)


def _credits(origin: Origin) -> dict[str, str]:
    info = origin.info
    changes = "turned, centred, scaled and converted"
    return {"author": info.author, "licence": info.licence, "source": origin.source, "changes": changes}


def _read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """The manifest's entries by their ids; a folder may be filled from several lists."""
    if not path.exists():
        return {}
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {entry["id"]: entry for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected JSON objects with an id, one a line ({error}); remove the file") from error


def _write_manifest(output: Path, manifest: dict[str, dict[str, Any]], origins: Sequence[Origin]) -> None:
    """What is known of the objects that are there, in the form that `gen.data.sources.FolderSource` reads."""
    from gen.data.downloads import whole_file

    for origin in origins:
        info = origin.info
        texts = {key: getattr(info, key) for key in ("tier", "group", "kind", "licence", "author")}
        manifest[f"{info.id}.glb"] = {"id": f"{info.id}.glb", **texts, "source": origin.source}
    there = [entry for name, entry in sorted(manifest.items()) if (output / name).is_file()]
    with whole_file(output / MANIFEST) as stream:
        stream.write("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in there).encode())


if __name__ == "__main__":
    sys.exit(main())
