"""Camera poses as `ns-export cameras` writes them: `transforms_train.json`, a list of pictures and poses.

Such a file has no lenses, and its pictures' paths are those of the machine that wrote it. So it is read beside the
`transforms.json` of the capture that was trained on, which has both: pictures are matched by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from recon.capture.conversions import Z_UP_TO_Y_UP, opencv_from_opengl
from recon.capture.errors import CaptureError
from recon.capture.files import matrix, read_json
from recon.capture.io_nerfstudio import FILE_NAME, read_transforms
from recon.capture.stored import read_stored
from recon.capture.types import Capture

_LAYOUT = "the list that `ns-export cameras` writes"


def is_exported(listing: Path) -> bool:
    """Whether a JSON file holds a list, as such exports do, and other listings of cameras do not.

    Raises:
        CaptureError: if it is no JSON.
    """
    return isinstance(read_json(listing, _LAYOUT), list)


def read_exported(listing: Path) -> Capture:
    """The capture beside `listing`, with the frames that it lists and their poses there.

    The world is the exporter's, turned from Z up to ours: nerfstudio centres and scales scenes, and its methods may
    have moved the cameras. The way back to the source is not in the file, so `to_source` undoes the turn only. Depth
    and normals, which would not fit that world, are left out.

    Raises:
        CaptureError: if there is no `transforms.json` beside it, or a picture is not in it, or a pose is unusable.
    """
    listing = Path(listing)
    entries = read_json(listing, _LAYOUT)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise CaptureError(listing, found="no list of poses", expected=_LAYOUT, remedy="Export the cameras again.")
    beside = listing.parent / FILE_NAME
    if not beside.is_file():
        raise CaptureError(
            listing,
            found=f"no {FILE_NAME} beside it",
            expected="the folder of the capture that was trained on",
            remedy=f"Copy {listing.name} into that folder: it has the lenses.",
        )
    given = read_transforms(beside)
    pictures = [frame.picture for frame in read_stored(beside)]
    frames = []
    for entry in entries:
        frame = given[_place(listing, entry, pictures)]
        c2w = opencv_from_opengl(matrix(listing, entry.get("transform"), "transform")).float()
        try:
            camera = replace(frame.camera, c2w=c2w)
        except ValueError as cause:
            raise CaptureError(
                listing, found=f"{cause} ({frame.name})", expected="a pose", remedy="Correct or drop that entry."
            ) from cause
        frames.append(replace(frame, camera=camera, load_depth=None, load_normal=None))
    return Capture(tuple(frames)).moved(Z_UP_TO_Y_UP)


def _place(listing: Path, entry: dict[str, Any], pictures: Sequence[Path]) -> int:
    """Which picture an entry means: the only one whose path ends like the entry's, or has its name."""
    parts = PurePosixPath(str(entry.get("file_path", "")).replace("\\", "/")).parts
    for count in (2, 1):
        same = [i for i, picture in enumerate(pictures) if parts and picture.parts[-count:] == parts[-count:]]
        if len(same) == 1:
            return same[0]
    raise CaptureError(
        listing,
        found=f"the picture {'/'.join(parts[-2:])!r}"[:120],
        expected=f"one that {FILE_NAME} beside it names once",
        remedy="Put the file into the folder of the capture that was trained on.",
    )
