"""Opens pictures of strangers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import ExifTags, Image, ImageOps, ImageSequence, UnidentifiedImageError

from worker_service import Permanent

#: Pixels of the largest picture that is decoded: 64 million take up to 256 MB of memory.
MAX_PIXELS: Final = 64_000_000
# Those whose decoders neither run other programs nor execute what is in the file.
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
_READABLE: Final = "JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF"
#: Values of the EXIF tag for pictures whose camera was held on its side.
_ON_ITS_SIDE: Final = (5, 6, 7, 8)

# We look at the size ourselves, and before anything is decoded: a warning would come too late.
Image.MAX_IMAGE_PIXELS = None


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose head has been read and whose pixels have not.

    Raises:
        Permanent: It is no picture, or decoding it would take too much memory.
    """
    with _decoding(path):
        picture = Image.open(path, formats=_FORMATS)
    with picture:
        _require_small(picture, path)
        yield picture


def upright_size(picture: Image.Image, path: Path) -> tuple[int, int]:
    """Width and height as people see them.

    Raises:
        Permanent: It is damaged.
    """
    with _decoding(path):
        width, height = picture.size
        is_on_its_side = picture.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
    return (height, width) if is_on_its_side else (width, height)


def upright(picture: Image.Image, path: Path) -> Image.Image:
    """The decoded picture, turned as its camera was held.

    Raises:
        Permanent: It is damaged.
    """
    with _decoding(path):
        picture.load()
        return ImageOps.exif_transpose(picture)


def frame_count(picture: Image.Image, path: Path) -> int:
    """How many pages a picture has.

    Raises:
        Permanent: It is damaged.
    """
    with _decoding(path):
        return int(getattr(picture, "n_frames", 1))


def frames(picture: Image.Image, path: Path) -> Iterator[Image.Image]:
    """Every page of a picture that may have several, as TIFFs of scanners do; each is gone with the next.

    Raises:
        Permanent: One is damaged, or too large.
    """
    remaining = ImageSequence.Iterator(picture)
    while True:
        with _decoding(path):
            frame = next(remaining, None)
        if frame is None:
            return
        _require_small(frame, path)
        yield upright(frame, path)


def _require_small(picture: Image.Image, path: Path) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise Permanent(
            f"{path.name!r} has {width} x {height} pixels, {MAX_PIXELS:,} in all are allowed: send a smaller picture"
        )


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:
        raise Permanent(f"{path.name!r} is no picture that can be read here: send {_READABLE}") from None
    except MemoryError:
        raise
    except Exception as error:
        # A decoder that is fed nonsense may raise anything, and it is always the file's fault.
        raise Permanent(f"{path.name!r} is damaged or cut off: {str(error) or type(error).__name__}") from error
