"""Is this the whole of a photograph?"""

from __future__ import annotations

import io
import warnings

from PIL import Image

_FORMATS = ("JPEG", "PNG", "WEBP")
_MAX_PIXELS = 80_000_000


def require_picture(data: bytes) -> None:
    """Decode a picture fully.

    Raises:
        ValueError: it is cut short, damaged, too large, or no picture.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels")
            image.load()
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{len(data)} bytes that are no whole picture ({type(error).__name__})") from None
    except Image.DecompressionBombError:
        raise ValueError("a picture with too many pixels") from None
