"""Images as providers take them: upright, within their limits, one frame, and without metadata."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from llm_magic.errors import RequestError
from llm_magic.types import Attachment, Image

if TYPE_CHECKING:
    import PIL.Image

MAX_IMAGE_BYTES = 5_000_000
MAX_SIDE_PIXELS = 8_000
_MAX_PIXELS = 80_000_000
_ORIENTATION, _GPS = 0x0112, 0x8825
_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF87a", "gif"), (b"GIF89a", "gif"))


def kind_of(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for signature, kind in _SIGNATURES if data.startswith(signature)), "")


def attachment(name: str, kind: str, data: bytes) -> Attachment:
    """Make an attachment of an image's bytes; `changes` says what was changed in it. Raises RequestError."""
    width, height = _size(data)
    changes = ""
    if width > 0 and height > 0:
        if width * height > _MAX_PIXELS:
            raise RequestError(f"the image {name} has {width:,} × {height:,} pixels: scale it down to attach it")
        data, kind, changes = _as_taken(kind, data)
        width, height = _size(data)
    if len(data) > MAX_IMAGE_BYTES:
        raise RequestError(f"the image {name} has {len(data):,} bytes: at most {MAX_IMAGE_BYTES:,} can be attached")
    image = Image(data=data, media_type=f"image/{kind}", width=width, height=height)
    return Attachment(name=name, image=image, changes=changes)


def is_picture(value: Any) -> bool:
    return (type(value).__module__.startswith("PIL.") and hasattr(value, "tobytes")) or hasattr(value, "savefig")


def of_picture(name: str, picture: Any) -> Attachment:
    from PIL import ImageOps

    if hasattr(picture, "savefig"):
        file = io.BytesIO()
        picture.savefig(file, format="png", bbox_inches="tight")
        return attachment(name, "png", file.getvalue())
    data, kind = _encoded(ImageOps.exif_transpose(picture).copy(), "png")
    return attachment(name, kind, data)


def problem(image: Image) -> str | None:
    """Return what is broken in an image, or None."""
    from PIL import Image as pillow

    try:
        with warnings.catch_warnings(), pillow.open(io.BytesIO(image.data)) as picture:
            warnings.simplefilter("ignore")
            picture.load()
    except Exception as error:  # noqa: BLE001 - a damaged file can raise anything
        return f"is broken and would be refused: {error}" if str(error) else "is broken and would be refused"
    return None


def _as_taken(kind: str, data: bytes) -> tuple[bytes, str, str]:
    from PIL import Image as pillow
    from PIL import ImageOps

    try:
        with warnings.catch_warnings(), pillow.open(io.BytesIO(data)) as picture:
            warnings.simplefilter("ignore")
            exif = picture.getexif()
            frames = getattr(picture, "n_frames", 1)
            changes: list[str] = []
            if frames > 1:
                changes.append(f"the first of its {frames:,} frames")
            if exif.get(_ORIENTATION, 1) not in (0, 1):
                changes.append("turned as its EXIF orientation says")
            if max(picture.size) > MAX_SIDE_PIXELS:
                changes.append(f"scaled down from {picture.width:,} × {picture.height:,} pixels")
            if exif.get_ifd(_GPS):
                changes.append("its GPS position removed")
            if not changes and not (len(exif) or "xmp" in picture.info or "exif" in picture.info):
                return data, kind, ""
            upright = ImageOps.exif_transpose(picture)
            upright.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
            return *_encoded(upright, kind), ", ".join(changes)
    except Exception:  # noqa: BLE001 - damaged: `problem` reports it when the image is about to be sent
        return data, kind, ""


def _encoded(picture: PIL.Image.Image, kind: str) -> tuple[bytes, str]:
    """Encode without metadata. GIF and WebP become PNG, which keeps every pixel."""
    profile = picture.info.get("icc_profile")
    file = io.BytesIO()
    if kind == "jpeg":
        picture.save(file, "JPEG", quality=95, icc_profile=profile)
        return file.getvalue(), "jpeg"
    still = picture if picture.mode in ("1", "L", "LA", "RGB", "RGBA", "I;16") else picture.convert("RGBA")
    still.info = {}
    still.save(file, "PNG", icc_profile=profile)
    if len(file.getvalue()) > MAX_IMAGE_BYTES:
        file = io.BytesIO()
        picture.convert("RGB").save(file, "JPEG", quality=90)
        return file.getvalue(), "jpeg"
    return file.getvalue(), "png"


def _size(data: bytes) -> tuple[int, int]:
    """Read width and height in pixels from the image's header; -1 if it can't be read."""
    import imagesize  # pyright: ignore[reportMissingTypeStubs] - it ships none

    library: Any = imagesize
    try:
        width, height = library.get(io.BytesIO(data))
    except Exception:  # noqa: BLE001 - a damaged header, for which the upper bound is used
        return -1, -1
    return int(width), int(height)
