"""documents.thumbnail on pictures as people have them, and on what is none."""

import io
import os
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageDraw
from pydantic import ValidationError

from worker_service import Permanent
from worker_service.library.documents import thumbnail
from worker_service.library.documents.pictures import MAX_PIXELS
from worker_service.testing import FakeSignals, Run, run_task

RED, BLUE = (200, 0, 0), (0, 0, 200)


def encoded(picture: Image.Image, format_: str, **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, format_, **options)
    return target.getvalue()


def two_halves(width: int = 400, height: int = 200, mode: str = "RGB") -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", (width, height), RED)
    ImageDraw.Draw(picture).rectangle((width // 2, 0, width, height), fill=BLUE)
    return picture.convert(mode)


def made(data: bytes, source: str = "/tasks/x/artifacts/photo.jpg", **payload: Any) -> Run:
    return run_task(thumbnail, {"source": source, **payload}, files={source: data})


def picture_in(run: Run, name: str) -> Image.Image:
    return Image.open(io.BytesIO(run.artifacts[name].data))


def is_near(colour: Any, expected: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 40 for a, b in zip(colour[:3], expected, strict=True))


def test_each_size_is_made_in_proportion() -> None:
    run = made(encoded(two_halves(), "JPEG"), sizes=[100, [50, 300], [10, 1]])

    assert run.result == {
        "width": 400,
        "height": 200,
        "thumbnails": [
            {
                "name": f"photo-{label}.jpg",
                "width": w,
                "height": h,
                "size": len(run.artifacts[f"photo-{label}.jpg"].data),
            }
            for label, w, h in (("100x100", 100, 50), ("50x300", 50, 25), ("10x1", 2, 1))
        ],
    }
    assert picture_in(run, "photo-100x100.jpg").size == (100, 50)
    assert {kept.media_type for kept in run.artifacts.values()} == {"image/jpeg"}


def test_a_picture_is_never_made_larger() -> None:
    run = made(encoded(two_halves(40, 20), "PNG"), sizes=[1000], format="png")

    assert picture_in(run, "photo-1000x1000.png").size == (40, 20)


@pytest.mark.parametrize("format_", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_every_kind_of_picture_becomes_every_format(mode: str, format_: str) -> None:
    if mode == "I;16":
        source = encoded(Image.new("I;16", (40, 20), 40_000), "TIFF")
    else:
        source = encoded(two_halves(mode=mode), "TIFF")

    run = made(source, sizes=[16], format=format_)

    [kept] = run.artifacts.values()
    small = Image.open(io.BytesIO(kept.data))
    assert small.format == format_.upper()
    assert max(small.size) == 16


def test_sixteen_bits_are_not_cut_to_white() -> None:
    run = made(encoded(Image.new("I;16", (40, 20), 32_768), "TIFF"), sizes=[16], format="png")

    assert is_near(picture_in(run, "photo-16x16.png").convert("RGB").getpixel((3, 3)), (128, 128, 128))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright_however_the_camera_was_held(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # What a viewer turns into red on the left, blue on the right.
    undo: dict[int, list[Image.Transpose]] = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    picture = two_halves()
    for turn in undo[orientation]:
        picture = picture.transpose(turn)

    run = made(encoded(picture, "JPEG", exif=exif), sizes=[100])

    small = picture_in(run, "photo-100x100.jpg")
    assert (run.result["width"], run.result["height"]) == (400, 200)
    assert small.size == (100, 50)
    assert is_near(small.getpixel((20, 25)), RED)
    assert is_near(small.getpixel((80, 25)), BLUE)


@pytest.mark.parametrize("format_", ["jpeg", "png", "webp"])
def test_no_metadata_is_left(format_: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = encoded(two_halves(), "JPEG", exif=exif, icc_profile=profile, comment=b"secret comment")

    run = made(source, sizes=[64], format=format_)

    [kept] = run.artifacts.values()
    for secret in (b"taken at home", b"secret comment", b"Exif", b"ICC_PROFILE", b"iCCP"):
        assert secret not in kept.data
    assert dict(Image.open(io.BytesIO(kept.data)).getexif()) == {}


def test_transparency_is_kept_where_the_format_has_it_and_white_where_not() -> None:
    source = encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), "PNG")

    clear = picture_in(made(source, sizes=[10], format="png"), "photo-10x10.png")
    flat = picture_in(made(source, sizes=[10]), "photo-10x10.jpg")

    assert clear.getpixel((5, 5))[3] == 0  # type: ignore[index]
    assert is_near(flat.getpixel((5, 5)), (255, 255, 255))


def test_the_first_picture_of_an_animation_is_taken() -> None:
    source = encoded(
        Image.new("RGB", (20, 20), RED), "GIF", save_all=True, append_images=[Image.new("RGB", (20, 20), BLUE)]
    )

    assert is_near(picture_in(made(source, sizes=[10]), "photo-10x10.jpg").getpixel((5, 5)), RED)


def test_progress_is_told_for_each_size_and_a_stop_is_heeded() -> None:
    run = made(encoded(two_halves(), "JPEG"), sizes=[10, 20, 10])
    assert [report["done"] for report in run.progress] == [0, 1, 2]

    with pytest.raises(Exception, match="asked to end"):
        run_task(
            thumbnail,
            {"source": "x"},
            files={"x": encoded(two_halves(), "JPEG")},
            signals=FakeSignals(stopped=True),
        )


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="size"):
        made(encoded(two_halves(), "JPEG"), size=[10])


# What can't be made smaller ...........................................................


def bomb(width: int, height: int) -> bytes:
    """A few bytes that say they are a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "width, height", [(8001, 8001), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (MAX_PIXELS + 1, 1)]
)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    with pytest.raises(Permanent, match=r"photo\.jpg") as caught:
        made(bomb(width, height))

    assert "pixels" in str(caught.value) or "damaged" in str(caught.value)


def test_a_picture_that_is_cut_off_is_refused_by_its_name() -> None:
    with pytest.raises(Permanent, match=r"'photo\.jpg' is damaged or cut off"):
        made(encoded(two_halves(), "JPEG")[:-500])


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"%PDF-1.7\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>", bytes(5000)],
)
def test_what_is_no_picture_is_refused_by_its_name(data: bytes) -> None:
    with pytest.raises(Permanent, match=r"'photo\.jpg' is no picture"):
        made(data)


def test_nonsense_in_a_picture_is_always_a_permanent_error() -> None:
    whole = {name: encoded(two_halves(), name) for name in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")}
    for name, data in whole.items():
        for position in range(8, len(data), max(1, len(data) // 12)):
            broken = data[:position] + os.urandom(8) + data[position + 8 :]
            try:
                made(broken, sizes=[16])
            except Permanent:
                continue
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                pytest.fail(f"{name} broken at {position}: {error!r}")
