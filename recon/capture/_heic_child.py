"""Decodes one HEIC file: `python -I _heic_child.py FILE MOST_PIXELS`, a PNG on stdout. Run by `heic`, apart, as
libraries that crash must crash there; imports nothing of ours."""

import sys

import pi_heif
from PIL import Image

pi_heif.register_heif_opener(thumbnails=False)
Image.MAX_IMAGE_PIXELS = None
with Image.open(sys.argv[1], formats=["HEIF"]) as image:
    if image.width * image.height > int(sys.argv[2]):
        sys.exit(f"{image.width} x {image.height} pixels")
    kept = {key: image.info[key] for key in ("exif", "icc_profile") if image.info.get(key)}
    image.save(sys.stdout.buffer, format="PNG", compress_level=1, **kept)
