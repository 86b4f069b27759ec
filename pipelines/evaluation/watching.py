"""What an evaluation shows while it works: one bar over the objects, and what went wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from recon.splat.gaussians import Gaussians


class Watching:
    """The `Watcher` of an evaluation. Its many small stages are not shown one by one. Made by `watch`."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console, self._progress = console, progress
        self._task: TaskID | None = None

    def begin(self, name: str, total: int, done: int = 0) -> None:
        """Show a bar."""
        self._task = self._progress.add_task(name, total=total, completed=done)

    def track(self, ids: Sequence[str]) -> Iterator[str]:
        """The training objects, one by one, under a bar: drawn once on a machine, which takes minutes."""
        self.begin("training objects", len(ids))
        for name in ids:
            yield name
            self.advance()

    def advance(self) -> None:
        """One more is finished."""
        if self._task is not None:
            self._progress.advance(self._task)

    def said(self, message: str) -> None:
        """Show a line of its own."""
        self._console.print(escape(message), highlight=False, soft_wrap=True)

    def warned(self, message: str) -> None:
        self._console.print(f"note: {escape(message)}", style="yellow", highlight=False)

    def stage_started(self, name: str) -> None: ...

    def stage_kept(self, name: str) -> None: ...

    def stage_finished(self, name: str, seconds: float) -> None: ...

    def step_started(self, name: str) -> None: ...

    def advanced(self, done: int, total: int) -> None: ...

    def scene_changed(self, gaussians: Gaussians) -> None: ...


@contextlib.contextmanager
def watch() -> Iterator[Watching]:
    """Shows on stderr while the block runs; without a terminal there are lines only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Watching(console, progress)
