"""Time in the served viewer: a slider in its panel, and what moves put where it is then.

The time goes to browsers as the place of an empty node of the scene, where `viewer.js` looks for it to pose meshes;
splats are computed here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipelines._shown import Shown
from pipelines._viewer_splats import splat_buffer

NODE = "/turnabout-time"
_RATE = 24
"""Times a second while a clip plays, at most."""


class Timeline:
    """The time in seconds that is shown, from 0 to the longest clip's end. Without anything that moves it stays at 0.

    Attributes:
        onlookers: told when the time has changed.
    """

    def __init__(self, server: Any, things: Sequence[Shown], names: Sequence[str], handles: dict[str, Any]) -> None:
        self.seconds = max(thing.seconds for thing in things)
        self.onlookers: list[Callable[[], None]] = []
        self._server = server
        self._splats = [
            (thing.moving_splats, handles[f"{name}/splats"])
            for thing, name in zip(things, names)
            if thing.moving_splats is not None
        ]
        self._shown: dict[int, float] = {}
        self._showing = threading.Lock()
        self._player = 0
        if self.seconds > 0:
            self._add_controls()

    @property
    def now(self) -> float:
        """Seconds."""
        return float(self._slider.value) if self.seconds > 0 else 0.0

    def stop_at(self, seconds: float) -> None:
        """Shows a time and stays there."""
        if self.seconds > 0:
            self._play.value = False
            self._slider.value = min(max(seconds, 0.0), self.seconds)

    def refresh(self) -> None:
        """Brings what is visible to the present time."""
        with self._showing:  # while one picture is sent, others wait and find nothing left to do
            now = self.now
            if self.seconds == 0:
                return
            self._node.position = (now, 0.0, 0.0)
            for place, (splats, handle) in enumerate(self._splats):
                if handle.visible and self._shown.get(place) != now:
                    handle.buffer = splat_buffer(splats.at(now))
                    self._shown[place] = now
        for told in self.onlookers:
            told()

    def _add_controls(self) -> None:
        self._node = self._server.scene.add_frame(NODE, show_axes=False)
        with self._server.gui.add_folder("Time"):
            step = self.seconds / 240
            self._slider = self._server.gui.add_slider(
                "Second", min=0.0, max=self.seconds, step=step, initial_value=0.0
            )
            self._play = self._server.gui.add_checkbox("Play the clip", initial_value=False)
        self._slider.on_update(lambda _event: self.refresh())
        self._play.on_update(lambda _event: self._start())
        self.refresh()
        self._play.value = True

    def _start(self) -> None:
        self._player += 1  # an earlier player that has not noticed yet stops
        if self._play.value:
            threading.Thread(target=self._run, args=(self._player,), name="clip", daemon=True).start()

    def _run(self, own: int) -> None:
        before = time.monotonic()
        while self._play.value and own == self._player:
            time.sleep(1 / _RATE)
            passed, before = time.monotonic() - before, time.monotonic()
            if self._play.value and self._server.get_clients():
                after = self.now + passed
                self._slider.value = after % self.seconds if after > self.seconds else after  # which refreshes
