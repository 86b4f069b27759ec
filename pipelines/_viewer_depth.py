"""Depth in the live viewer: drawn by us for each browser's camera, laid behind its scene, which is empty then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pipelines._shown import Shown
from pipelines._viewer_scene import places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from recon.capture import Camera
    from recon.surface.studio import Draw

    _Placed = tuple[Draw, tuple[float, float, float]]

_HEIGHT = 360
_WIDEST = 3.0
"""Of the pictures, over their height."""


class DepthPictures:
    """Near bright, far dark. While one picture is drawn, the camera's steps are left out but for the last."""

    def __init__(self, server: Any, things: Sequence[Shown], now: Callable[[], float]) -> None:
        self._server = server
        self._things = things
        self._now = now
        self._looks: tuple[float, list[_Placed]] | None = None
        self._on = False
        self._setting = threading.Lock()
        self._busy: dict[int, threading.Lock] = {}
        server.on_client_connect(lambda client: client.camera.on_update(lambda _camera: self._follow(client)))

    def switch(self, on: bool) -> None:
        """Shows depth to all browsers, or no longer."""
        clients = list(self._server.get_clients().values())
        with self._setting:
            self._on = on
            for client in clients if not on else ():
                client.scene.set_background_image(None)
        for client in clients if on else ():
            self._follow(client)

    def refresh(self) -> None:
        """Draws again for all browsers, since the time has changed."""
        for client in self._server.get_clients().values() if self._on else ():
            self._follow(client)

    def _follow(self, client: Any) -> None:
        with self._setting:
            busy = self._busy.setdefault(client.client_id, threading.Lock())
        if not self._on or not busy.acquire(blocking=False):
            return
        try:
            seen = None
            while self._on and seen != (now := (self._now(), *_stance(client.camera))):
                seen = now
                picture = self._picture(client.camera, now[0])
                with self._setting:
                    if self._on:
                        client.scene.set_background_image(picture, format="jpeg")
        finally:
            busy.release()

    def _picture(self, view: Any, time: float) -> NDArray[np.uint8]:
        import torch

        camera = camera_of(view, _HEIGHT)
        nearest = torch.full((camera.height, camera.width), torch.inf)
        for draw, place in self._looks_at(time):
            depth = draw(camera.moved(torch.eye(3), -torch.tensor(place))).depth
            nearest = torch.where((depth > 0) & (depth < nearest), depth, nearest)
        return depth_picture(nearest)

    def _looks_at(self, time: float) -> list[_Placed]:
        from recon.surface.studio import mesh_look, splats_look

        if self._looks is not None and self._looks[0] == time:
            return self._looks[1]
        looks: list[_Placed] = []
        for thing, place in zip(self._things, places(self._things)):
            if (mesh := thing.mesh_at(time)) is not None:
                looks.append((mesh_look(mesh, "unlit"), place))
            elif (splats := thing.splats_at(time)) is not None:
                looks.append((splats_look(splats), place))
        self._looks = (time, looks)
        return looks


def _stance(view: Any) -> tuple[float, ...]:
    return (*view.position, *view.wxyz, view.aspect)


def camera_of(view: Any, height: int) -> Camera:
    """A browser's camera as ours, its picture so many pixels high."""
    import torch

    from recon.capture import Camera
    from recon.splat.rotations import rotations_from_quats

    width = max(1, round(height * min(float(view.aspect), _WIDEST)))
    focal = height / (2 * torch.tan(torch.tensor(float(view.fov) / 2)))
    c2w = torch.eye(4)
    c2w[:3, :3] = rotations_from_quats(torch.tensor(view.wxyz, dtype=torch.float32))
    c2w[:3, 3] = torch.tensor(view.position, dtype=torch.float32)
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Camera(c2w, intrinsics, width, height)


def depth_picture(depth: Tensor) -> NDArray[np.uint8]:
    """(H, W, 3) of forward depth (H, W), infinite where nothing is: white where nothing is, else from yellow, near, to
    violet, far."""
    import matplotlib
    import torch

    there = torch.isfinite(depth)
    picture = torch.ones(*depth.shape, 3)
    if there.any():
        near, far = depth[there].min(), depth[there].max()
        shade = (far - depth[there]) / (far - near).clamp_min(1e-6)
        picture[there] = torch.tensor(matplotlib.colormaps["plasma"](shade.numpy())[:, :3]).float()
    return (picture * 255).round().byte().numpy()
