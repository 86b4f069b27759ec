"""What an evaluation will do: options, checked, become objects, rows and one protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen.data.names import stem
from gen.weights import weights_digest, weights_folder
from pipelines._options import PRESETS
from pipelines.evaluation.methods import CEILING, GENERATORS, MAKES, OF_TRAINING, TRIVIAL, Chain, settings_of
from pipelines.evaluation.outside import Outside, open_outside
from pipelines.evaluation.plots import require_matplotlib
from pipelines.evaluation.protocol import EvaluationError, stratified
from pipelines.evaluation.regress import read_released
from pipelines.evaluation.results import code_version
from pipelines.evaluation.sets import EvaluationSet, open_set, set_digest, shipped
from pipelines.evaluation.worker import Bench, slug
from recon.metrics.images import flip_available

if TYPE_CHECKING:
    from gen.data.sources import ObjectInfo
    from pipelines.evaluate import EvaluateOptions

_WANTED = {"all": frozenset({"views", "meshes"}), "views": frozenset({"views"}), "meshes": frozenset({"meshes"})}
_DECIDED = ("set", "method", "measure", "path", "size", "preset", "num_inference_steps", "training", "lpips")
"""Options that a released report decides."""


@dataclass(frozen=True)
class Plan:
    """What will be measured.

    Attributes:
        output: the run's folder.
        objects: the set; `chosen` are measured.
        methods: rows in the order of the tables, with what each depends on besides the protocol.
        protocol: what all rows have in common; runs are only kept together when it is equal.
        bench: what the workers share.
        workers: processes.
        released: the report that is compared with, or None.
        notes: what the user should know before it begins.
    """

    output: Path
    objects: EvaluationSet
    chosen: tuple[ObjectInfo, ...]
    methods: Mapping[str, dict[str, Any]]
    protocol: dict[str, Any]
    bench: Bench
    workers: int
    released: Mapping[str, Any] | None
    notes: tuple[str, ...]


def plan_evaluation(options: EvaluateOptions, released: Path | None, regression_objects: int) -> Plan:
    """Everything that can be wrong with the options is found here, before the work.

    Args:
        released: the report to compare with, whose set, path, size and preset are then measured; or None.

    Raises:
        EvaluationError, DatasetError, WeightsError: if something named is missing or does not fit.
    """
    require_matplotlib()
    if options.resume and options.overwrite:
        raise EvaluationError("--resume keeps what is there and --overwrite removes it; give one of them")
    earlier = None if released is None else read_released(released)
    if earlier is not None:
        options = _as_released(options, earlier, regression_objects)
    for name, value, low in (("--size", options.size, 16), ("--workers", options.workers, 1)):
        if not low <= value <= 4096:
            raise EvaluationError(f"{name} must lie between {low} and 4096, found {value}")
    folder = shipped() if options.set is None else options.set
    objects = open_set(folder)
    chosen = objects.objects if options.count is None else stratified(objects.objects, options.count)
    _check_names(chosen)
    training_folder = folder if options.training is None else options.training
    training = objects if options.training is None else open_set(options.training)
    if options.training is not None and not training.training:
        raise EvaluationError(f"{options.training}: has no training objects; --training names a folder with a pack")
    outside = {m.name: m for text in options.method if "=" in text for m in [open_outside(text, _ids(chosen))]}
    names = _rows(options.method, outside, has_training=bool(training.training), wanted=_WANTED[options.measure])
    chain = Chain(
        weights_folder(options.model) if any(name in GENERATORS for name in names) else None,
        options.preset,
        PRESETS[options.preset].num_inference_steps
        if options.num_inference_steps is None
        else options.num_inference_steps,
    )
    weights = "" if chain.model is None else weights_digest(chain.model)
    digest = set_digest(folder)
    remembered = digest if training is objects else set_digest(training_folder)
    notes = [] if training.training else ["no training objects: the rows mean and nearest are left out (--training)"]
    if not flip_available():
        notes.append("FLIP is left out (pip install 'turnabout[evaluate]')")
    return Plan(
        output=options.output or Path("out") / ("evaluation" if released is None else "regression"),
        objects=objects,
        chosen=chosen,
        methods={name: {} if name in outside else settings_of(name, chain, weights, remembered) for name in names},
        protocol={
            "set": folder.resolve().name,
            "set_digest": digest,
            "objects": _ids(chosen),
            "path": options.path,
            "size": options.size,
            "measure": options.measure,
            "flip": flip_available(),
            "lpips": None if options.lpips is None else _lpips(options.lpips),
        },
        bench=Bench(
            folder=folder,
            training=training_folder,
            training_digest=remembered,
            path=options.path,
            size=options.size,
            chain=chain,
            wanted=_WANTED[options.measure],
            outside=outside,
            lpips=options.lpips,
            commit=code_version(),
        ),
        workers=options.workers,
        released=earlier,
        notes=tuple(notes),
    )


def _as_released(options: EvaluateOptions, released: Mapping[str, Any], count: int) -> EvaluateOptions:
    """The options with which the released report was made, on fewer objects."""
    usual = type(options)()
    given = [f"--{n.replace('_', '-')}" for n in _DECIDED if getattr(options, n) != getattr(usual, n)]
    if given:
        raise EvaluationError(f"--regress measures as the released table was measured; leave {', '.join(given)} out")
    protocol, methods = released["protocol"], released["methods"]
    if set_digest(shipped()) != protocol["set_digest"]:
        raise EvaluationError(f"{shipped()}: its objects are not those of the released table; release a new one")
    settings: dict[str, Any] = next((row["settings"] for name, row in methods.items() if name in GENERATORS), {})
    return replace(
        options,
        method=tuple(name for name in methods if name in GENERATORS),
        path=protocol["path"],
        size=protocol["size"],
        measure=protocol["measure"],
        preset=settings.get("preset", options.preset),
        num_inference_steps=settings.get("num_inference_steps", options.num_inference_steps),
        count=min(count, len(protocol["objects"])) if options.count is None else options.count,
    )


def _rows(
    asked: Sequence[str], outside: Mapping[str, Outside], *, has_training: bool, wanted: frozenset[str]
) -> list[str]:
    """Names of the rows in the order of the tables: ceilings, what was asked for, trivial answers."""
    named = [text.partition("=")[0] for text in asked]
    for name, text in zip(named, asked):
        if name not in GENERATORS and name not in outside:
            raise EvaluationError(f"--method {text}: expected {', '.join(GENERATORS)}, or NAME=FOLDER")
    _refuse_equal_names(named, outside)
    fixed = [name for name in (*CEILING, *TRIVIAL) if has_training or name not in OF_TRAINING]
    rows = [*(n for n in fixed if n in CEILING), *named, *(n for n in fixed if n in TRIVIAL)]
    makes = {name: wanted & (outside[name].makes if name in outside else MAKES[name]) for name in rows}
    if silent := [name for name in named if not makes[name]]:
        raise EvaluationError(f"--method {silent[0]}: it makes no {' or '.join(wanted)}, which --measure asks for")
    return [name for name in rows if makes[name]]


def _refuse_equal_names(named: Sequence[str], outside: Mapping[str, Outside]) -> None:
    """No two rows may have one name, nor names that are one in files, where case may not count either."""
    builtin = {slug(name).lower() for name in MAKES}
    seen: set[str] = set()
    for name in named:
        short = slug(name).lower()
        if short in seen or (name in outside and short in builtin):
            raise EvaluationError(f"--method {name}: the name stands for another row already; choose another")
        seen.add(short)


def _lpips(weights: Path) -> str:
    """Which network and weights the column is of; those that do not load are found out here."""
    from recon.metrics.lpips import load_lpips

    loaded = load_lpips(weights)
    return f"{loaded.net} {loaded.sha256}"


def _ids(objects: Sequence[ObjectInfo]) -> list[str]:
    return [item.id for item in objects]


def _check_names(objects: Sequence[ObjectInfo]) -> None:
    """Objects give files their names: none may lead elsewhere, and no two may be the same."""
    seen: dict[str, str] = {}
    for item in objects:
        if stem(item.id) in ("", ".", "..") or not stem(item.id).isprintable() or "\\" in item.id:
            raise EvaluationError(f"{item.id!r} cannot be the name of a file; rename the object")
        other = seen.setdefault(stem(item.id), item.id)
        if other != item.id:
            raise EvaluationError(f"{other!r} and {item.id!r} would have one name in files; rename one of them")
