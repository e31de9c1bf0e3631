"""Makes small pictures out of large ones."""

import io
from typing import Any, Final

from PIL import Image, ImageCms

from worker_service import TaskContext
from worker_service.library.documents import Thumbnail, ThumbnailRequest, Thumbnails
from worker_service.library.documents.pictures import opened, upright, upright_size

#: Characters of the source's name with which the names of the results begin.
_STEM_CHARS: Final = 100
_ENDINGS: Final = {"jpeg": "jpg", "png": "png", "webp": "webp"}
_WHITE: Final = (255, 255, 255)

Box = tuple[int, int]


def make_thumbnails(request: ThumbnailRequest, ctx: TaskContext) -> Thumbnails:
    """Make and keep the pictures that were asked for.

    Raises:
        Permanent: The source is missing, is no picture, is damaged, or is too large to be decoded.
    """
    path = ctx.fetch_blocking(request.source)
    boxes = _boxes(request)
    with opened(path) as source:
        width, height = upright_size(source, path)
        # A JPEG can be decoded at a fraction of its size, if that is all that is needed.
        longest = max(max(box) for box in boxes.values())
        source.draft(None, (longest, longest))
        picture = _plain(upright(source, path))
        profile = source.info.get("icc_profile")
    results = []
    for done, (label, box) in enumerate(boxes.items()):
        ctx.check_cancelled()
        ctx.progress(done, len(boxes), f"{label} pixels")
        small = _finished(_scaled(picture, box), profile, keeps_alpha=request.format != "jpeg")
        name = f"{path.stem[:_STEM_CHARS]}-{label}.{_ENDINGS[request.format]}"
        results.append(_kept(small, name, request, ctx))
    ctx.progress(len(boxes), len(boxes), "done")
    return Thumbnails(width=width, height=height, thumbnails=results)


def _boxes(request: ThumbnailRequest) -> dict[str, Box]:
    """The boxes by how they are called in names; one that is asked for twice is made once."""
    pairs = [(size, size) if isinstance(size, int) else size for size in request.sizes]
    return {f"{width}x{height}": (width, height) for width, height in pairs}


def _plain(picture: Image.Image) -> Image.Image:
    """The picture in a mode that can be scaled well: with colours, and with transparency if it has any."""
    if picture.mode.startswith("I"):  # scans have 16 bits a pixel, which would be cut to white
        picture = picture.convert("I").point(lambda value: value / 256).convert("L")
    if picture.mode == "CMYK":  # its colours mean something only with its profile, which comes later
        return picture
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _scaled(picture: Image.Image, box: Box) -> Image.Image:
    """The picture as large as fits into the box, but never larger than it was."""
    ratio = min(1.0, box[0] / picture.width, box[1] / picture.height)
    size = max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _finished(picture: Image.Image, profile: bytes | None, *, keeps_alpha: bool) -> Image.Image:
    """The small picture in sRGB, on white where it may not be transparent."""
    if picture.mode == "RGBA":
        if keeps_alpha:
            return picture
        flat = Image.new("RGB", picture.size, _WHITE)
        flat.paste(picture, mask=picture.getchannel("A"))
        return flat
    return _in_srgb(picture, profile).convert("RGB")


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The same colours without the profile that is left out with all other metadata."""
    if not profile:
        return picture
    try:
        converted: Any = ImageCms.profileToProfile(
            picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):  # a profile that can't be read, or is of another kind
        return picture
    return converted if isinstance(converted, Image.Image) else picture


def _kept(picture: Image.Image, name: str, request: ThumbnailRequest, ctx: TaskContext) -> Thumbnail:
    encoded = io.BytesIO()
    # Pillow writes back what it found in `info` for some formats.
    picture.info.clear()
    options = {} if request.format == "png" else {"quality": request.quality}
    picture.save(encoded, request.format.upper(), optimize=True, **options)
    data = encoded.getvalue()
    ctx.artifact(name, data, f"image/{request.format}")
    return Thumbnail(name=name, width=picture.width, height=picture.height, size=len(data))
