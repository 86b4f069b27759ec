"""Cameras, frames and captures, their readers and writers, and photo preparation. Imports nothing else of ours."""

from recon.capture.camera import (
    FRAME_MARGIN,
    OBJECT_RADIUS,
    Camera,
    intrinsics_from_fov,
    look_at,
    orbit_camera,
    orbit_distance,
)
from recon.capture.errors import CaptureError, PhotoError
from recon.capture.types import Capture, Frame, Similarity, Source, frame_from_tensors

__all__ = [
    "FRAME_MARGIN",
    "OBJECT_RADIUS",
    "Camera",
    "Capture",
    "CaptureError",
    "Frame",
    "PhotoError",
    "Similarity",
    "Source",
    "frame_from_tensors",
    "intrinsics_from_fov",
    "look_at",
    "orbit_camera",
    "orbit_distance",
]
