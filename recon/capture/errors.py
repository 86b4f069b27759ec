"""The errors a user can cause with the files that are handed to `recon.capture`."""

from __future__ import annotations

from pathlib import Path


class CaptureError(ValueError):
    """A capture, a camera file or a picture that cannot be used.

    Attributes:
        path: the file or folder at fault.
        found, expected: what is there and what should be; one clause each.
        remedy: what the user can do about it; one sentence.
    """

    def __init__(self, path: Path | str, *, found: str, expected: str, remedy: str) -> None:
        self.path = Path(path)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{path}: found {found}; expected {expected}. {remedy}")


class PhotoError(CaptureError):
    """A photo that cannot be read, or in which no single subject can be found."""


class CaptureWarning(UserWarning):
    """A capture that is read all the same, with something left out."""
