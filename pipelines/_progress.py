"""What a run shows while it works: one line a finished stage, a bar for the one at hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from recon.splat.gaussians import Gaussians


class Display:
    """Shows a run on a console. Made by `display`.

    Attributes:
        onlooker: shown the scene again and again while it is fitted.
    """

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._stage = ""
        self.onlooker: Callable[[Gaussians], None] | None = None
        self._task: TaskID | None = None

    def stage_started(self, name: str) -> None:
        self._stage = name
        self._task = self._progress.add_task(name, total=None)

    def step_started(self, name: str) -> None:
        if self._task is not None:
            self._progress.reset(self._task, description=f"{self._stage}: {name}", total=None)

    def advanced(self, done: int, total: int) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def stage_finished(self, name: str, seconds: float) -> None:
        self._drop_bar()
        self._console.print(f"{name:<8} {seconds:6.1f} s", highlight=False)

    def stage_kept(self, name: str) -> None:
        self._console.print(f"{name:<8}   kept", style="dim", highlight=False)

    def warned(self, message: str) -> None:
        self._console.print(f"note: {escape(message)}", style="yellow", highlight=False)

    def scene_changed(self, gaussians: Gaussians) -> None:
        """Show a scene that is being fitted to who looks on, if anybody does."""
        if self.onlooker is not None:
            self.onlooker(gaussians)

    def said(self, message: str) -> None:
        """Show a line of its own."""
        self._console.print(escape(message), highlight=False, soft_wrap=True)

    def _drop_bar(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


@contextlib.contextmanager
def display() -> Iterator[Display]:
    """A display on stderr while the block runs; without a terminal there are lines only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Display(console, progress)
