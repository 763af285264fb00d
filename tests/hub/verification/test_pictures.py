"""Whole still pictures of the asked size and format pass; everything else is refused, in bounded memory."""

import io
import resource
import struct
import zlib
from random import Random

import msgspec
import pytest
from PIL import Image

from chain.primitives.hashing import sha256
from chain.primitives.worker_fields import PictureRun
from hub.verification.errors import AnswerRefused, FaultReason
from hub.verification.pictures import look, max_picture_bytes

RUN = PictureRun(model="toy/model", prompts=("a",), steps=4, guidance=1.0, width=256, height=256, seed=1)


def run(width: int = 256, height: int = 256, image_format: str = "png") -> PictureRun:
    return msgspec.structs.replace(RUN, width=width, height=height, image_format=image_format)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


ROWS = zlib.compress(b"".join(b"\0" + bytes((row, column, 128)) * 1 * 1 + bytes((row, 9, 7)) * 255
                              for column, row in ((row % 7, row) for row in range(256))))  # fmt: skip
PLAIN = (header(256, 256), chunk(b"IDAT", ROWS), chunk(b"IEND", b""))


def picture(width: int, height: int, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """A slope from dark to light."""
    image = Image.linear_gradient("L").resize((width, height)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def plain(level: int, noise: int = 0, kind: str = "PNG") -> bytes:
    random = Random(1)
    pixels = bytes(min(255, max(0, level + random.randint(-noise, noise))) for _ in range(256 * 256))
    buffer = io.BytesIO()
    Image.frombytes("L", (256, 256), pixels).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def reason_of(content: bytes, asked: PictureRun = RUN) -> FaultReason:
    with pytest.raises(AnswerRefused) as caught:
        look(content, asked)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_plain_pictures_pass(mode: str) -> None:
    content = picture(256, 320, mode)
    seen = look(content, run(256, 320))
    assert (seen.width, seen.height, seen.media_type, seen.sha256) == (256, 320, "image/png", sha256(content).hex())
    assert 0 <= seen.hash64 < 2**64


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_each_format_passes_as_itself_alone(kind: str) -> None:
    content = picture(256, 256, kind=kind.upper())
    assert look(content, run(image_format=kind)).media_type == f"image/{kind}"
    for other in {"jpeg", "webp"} - {kind}:
        assert reason_of(content, run(image_format=other)) is FaultReason.WRONG_FORMAT


def test_handmade_picture_passes() -> None:
    look(png(*PLAIN), RUN)


def test_noise_of_the_largest_size_fits_the_bound() -> None:
    noise = Image.frombytes("RGBA", (1024, 1024), Random(1).randbytes(1024 * 1024 * 4))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG", compress_level=0)
    assert len(buffer.getvalue()) < max_picture_bytes(1024, 1024)
    look(buffer.getvalue(), run(1024, 1024))


@pytest.mark.parametrize("length", [0, 7, 8, 20, 33, 60, -1, -12])
def test_cut_off_anywhere(length: int) -> None:
    assert reason_of(png(*PLAIN)[:length]) is FaultReason.BAD_PICTURE


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_other_formats_cut_off(kind: str) -> None:
    content = picture(256, 256, kind=kind.upper())
    for length in (0, 10, len(content) // 2, len(content) - 40):
        assert reason_of(content[:length], run(image_format=kind)) is FaultReason.BAD_PICTURE


def test_moving_picture() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (256, 256), (shade, 0, 0)) for shade in (10, 200)]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    assert reason_of(buffer.getvalue(), run(image_format="webp")) is FaultReason.BAD_PICTURE


@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a" + bytes(100),
        png(*PLAIN) + b"\0",
        png(*PLAIN) + png(*PLAIN),
        png(PLAIN[1], PLAIN[0], PLAIN[2]),
        png(PLAIN[0], PLAIN[0], PLAIN[1], PLAIN[2]),
        png(PLAIN[0], PLAIN[2]),
        png(PLAIN[0], chunk(b"IDAT", ROWS[: len(ROWS) // 2]), PLAIN[2]),
        png(PLAIN[0], chunk(b"IDAT", b"\0" * 100), PLAIN[2]),
        png(PLAIN[0], chunk(b"acTL", b"\0\0\0\2\0\0\0\0"), PLAIN[1], PLAIN[2]),
        png(PLAIN[0], chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**6))), PLAIN[1], PLAIN[2]),
        png(PLAIN[0], chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**6))), PLAIN[1], PLAIN[2]),
        png(PLAIN[0], PLAIN[1][:-4] + b"\0\0\0\0", PLAIN[2]),
        png(header(256, 256, depth=3), PLAIN[1], PLAIN[2]),
        png(header(256, 256, colour=5), PLAIN[1], PLAIN[2]),
        png(chunk(b"IHDR", b""), PLAIN[1], PLAIN[2]),
        png(PLAIN[0], *[chunk(b"tEXt", b"a\0b")] * 20_000, PLAIN[1], PLAIN[2]),
    ],
    ids=[
        "another format",
        "a trailing byte",
        "two pictures",
        "header later",
        "header twice",
        "no pixels",
        "half the pixels",
        "no zlib stream",
        "an animation",
        "compressed text",
        "a colour profile",
        "wrong checksum",
        "impossible depth",
        "impossible colour",
        "empty header",
        "endless chunks",
    ],
)
def test_no_plain_whole_picture(content: bytes) -> None:
    assert reason_of(content) is FaultReason.BAD_PICTURE


@pytest.mark.parametrize("size", [(255, 256), (256, 257), (512, 512)])
def test_size_in_the_header_counts(size: tuple[int, int]) -> None:
    assert reason_of(png(header(*size), *PLAIN[1:])) is FaultReason.WRONG_SIZE


@pytest.mark.parametrize("size", [(0, 0), (2**31, 2**31), (50_000, 50_000)])
def test_impossible_sizes_are_refused_before_anything_is_decoded(size: tuple[int, int]) -> None:
    assert reason_of(png(header(*size), *PLAIN[1:])) in (FaultReason.BAD_PICTURE, FaultReason.WRONG_SIZE)


def test_decompression_bomb_stays_small_in_memory() -> None:
    """100 MB of zeros behind a header that claims the asked size: Pillow stops where the picture is full."""
    squeeze = zlib.compressobj(1)
    bomb = b"".join(squeeze.compress(bytes(10**6)) for _ in range(100)) + squeeze.flush()
    content = png(header(256, 256), chunk(b"IDAT", bomb), chunk(b"IEND", b""))
    peak_before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason_of(content) is FaultReason.BLANK_PICTURE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_before_kib < 20_000


def test_more_bytes_than_the_size_can_need() -> None:
    assert reason_of(png(*PLAIN) + bytes(max_picture_bytes(256, 256))) is FaultReason.ANSWER_TOO_LARGE


class TestBlank:
    """A picture of one colour shows nothing, whatever noise hides it."""

    @pytest.mark.parametrize("level", [0, 1, 128, 255])
    @pytest.mark.parametrize("noise", [0, 2])
    def test_one_level(self, level: int, noise: int) -> None:
        assert reason_of(plain(level, noise)) is FaultReason.BLANK_PICTURE

    @pytest.mark.parametrize("kind", ["jpeg", "webp"])
    def test_in_every_format(self, kind: str) -> None:
        assert reason_of(plain(90, 0, kind.upper()), run(image_format=kind)) is FaultReason.BLANK_PICTURE

    def test_one_bright_pixel_is_not_enough(self) -> None:
        image = Image.new("RGB", (256, 256))
        image.putpixel((7, 7), (255, 255, 255))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        assert reason_of(buffer.getvalue()) is FaultReason.BLANK_PICTURE

    def test_a_small_thing_is_enough(self) -> None:
        image = Image.new("RGB", (256, 256), (20, 20, 20))
        image.paste((200, 20, 20), (100, 100, 140, 140))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        look(buffer.getvalue(), RUN)

    def test_a_faint_picture_is_enough(self) -> None:
        """Ten levels of one colour, as a model makes of a foggy day."""
        image = Image.new("RGB", (256, 256), (120, 120, 120))
        image.paste((130, 130, 130), (0, 0, 256, 64))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        look(buffer.getvalue(), RUN)
