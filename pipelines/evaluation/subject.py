"""What is known of one object in an evaluation, what a method answers, and how long the answer took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from pipelines.evaluation.protocol import EvaluationError
from recon.capture import Camera, Frame, Source, frame_from_tensors
from recon.surface.mesh import Mesh


@dataclass(frozen=True)
class Subject:
    """One object's true views. Which of them a method may look at is the method's honour; see `Method.context`.

    Attributes:
        id: the object's.
        cameras: of the views; the first is the input's.
        views: (V, S, S, 4) straight alpha, in the studio light.
        seed: of everything random.
    """

    id: str
    cameras: tuple[Camera, ...]
    views: Tensor
    seed: int

    def frames(self, indices: Sequence[int] | None = None) -> tuple[Frame, ...]:
        """Views as frames of colour and alpha, nothing else: those named, or all."""
        return tuple(
            frame_from_tensors(self.cameras[i], self.views[i], source=Source.OBSERVED, name=f"view_{i:03d}")
            for i in (range(len(self.cameras)) if indices is None else indices)
        )


@dataclass
class Timer:
    """Seconds of the parts of an answer, by name, and what went wrong without ending it."""

    steps: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block under `name`."""
        start = time.perf_counter()
        yield
        self.steps[name] = self.steps.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Answer:
    """What a method makes of a subject.

    Attributes:
        views: (V - C, S, S, 4) straight alpha, of all cameras but the context's, or None if it makes none.
        mesh: in the house's frame, or None if it makes none.
        lit: whether the mesh has to be lit to be compared with pictures (true materials), or its texture holds light.
        another: draws a second sample of `views`, of another seed, where the method has any; its time does not count.
        notes: what a reader of the scores should know of this answer.
    """

    views: Tensor | None = None
    mesh: Mesh | None = None
    lit: bool = False
    another: Callable[[], Tensor] | None = None
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Attributes:
        name: as it stands in the tables.
        kind: "ceiling", "generated" or "trivial": the three kinds that always stand together.
        answers: makes views, meshes or both of a subject.
        makes: which of "views" and "meshes" it makes; what is made and missing counts as failed.
        context: indices of the views that it sees, which are not counted.
        elsewhere: whether its meshes come from elsewhere, so that their frame may be another.
    """

    name: str
    kind: str
    answers: Callable[[Subject, Timer], Answer]
    makes: frozenset[str]
    context: tuple[int, ...] = (0,)
    elsewhere: bool = False


def picture_files(folder: Path) -> dict[int, Path]:
    """Pictures of a folder by the number that their names end with: `007.png`, `view_007.png`.

    Raises:
        EvaluationError: if two have the same number.
    """
    found: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        digits = file.stem.rpartition("_")[2]
        if file.suffix.lower() in (".png", ".webp", ".jpg", ".jpeg") and digits.isascii() and digits.isdigit():
            other = found.setdefault(int(digits), file)
            if other != file:
                raise EvaluationError(f"{folder}: {other.name} and {file.name} have one number; leave one of them out")
    return found
