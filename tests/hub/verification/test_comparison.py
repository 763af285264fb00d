"""A picture against the same one made by another: equal bits where they can be demanded, else as near as rounding."""

import io
from typing import Any

import msgspec
import pytest
from PIL import Image

from chain.primitives.rejection import Rejected
from chain.primitives.worker_fields import PictureRun
from hub.verification.comparison import ComputedPicture, coarser_dtype, compare_pictures, demands_equal_bits
from hub.verification.errors import FaultReason
from tests.hub.verification.toy_model import RUN, made, profile

TRUE = made(RUN)


def shifted(picture: bytes, levels: int) -> bytes:
    """Every level that much higher."""
    with Image.open(io.BytesIO(picture)) as opened:
        image = opened.convert("RGB").point([min(255, level + levels) for level in range(256)] * 3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def of(content: bytes = TRUE.picture, latents: bytes | None = TRUE.entries[-1], **claim: object) -> ComputedPicture:
    return ComputedPicture(content, profile(**claim), latents)


def test_the_same_file_holds() -> None:
    found = compare_pictures(RUN, of(device_class="Other 2.0", latents=None), of())
    assert (found.fault, found.figures["bit_equal"]) == (None, True)


def test_the_same_profile_must_give_the_same_bits() -> None:
    rounded = made(RUN, 1e-5)
    again = of(shifted(TRUE.picture, 1), rounded.entries[-1])
    assert compare_pictures(RUN, of(), again).fault is FaultReason.WRONG_LATENTS
    assert compare_pictures(RUN, of(), of(shifted(TRUE.picture, 1))).fault is FaultReason.WRONG_PICTURE


@pytest.mark.parametrize("claim", [{"device_class": "cpu"}, {"batch_rows": 4}, {"versions": {"toy": "2"}}])
def test_elsewhere_rounding_is_explained(claim: dict[str, Any]) -> None:
    """Of a CPU a profile says no more than that it is one."""
    rounded = made(RUN, 1e-5)
    again = ComputedPicture(shifted(TRUE.picture, 1), profile(device_class="cpu"), rounded.entries[-1])
    found = compare_pictures(RUN, of(**claim), again)
    assert found.fault is None
    assert 0 < found.figures["latents"] < 1e-4


def test_a_run_that_ends_elsewhere() -> None:
    other = made(msgspec.structs.replace(RUN, seed=8))
    found = compare_pictures(RUN, of(), of(other.picture, other.entries[-1], device_class="Other 2.0"))
    assert (found.fault, found.figures["dtype"]) == (FaultReason.WRONG_LATENTS, "float32")
    assert "rounding explains" in found.detail


def test_a_picture_that_is_not_the_runs() -> None:
    other = made(msgspec.structs.replace(RUN, seed=8))
    found = compare_pictures(RUN, of(other.picture), of(device_class="Other 2.0"))
    assert found.fault is FaultReason.WRONG_PICTURE


def test_a_scheduler_that_carries_rounding_on() -> None:
    """What DDIM never does to an honest run, LMS may."""
    rounded = made(RUN, 2e-2)
    for scheduler, fault in (("DDIMScheduler", FaultReason.WRONG_LATENTS), ("LMSDiscreteScheduler", None)):
        again = ComputedPicture(rounded.picture, profile(device_class="cpu", scheduler=scheduler), rounded.entries[-1])
        assert compare_pictures(RUN, of(scheduler=scheduler), again).fault is fault


def test_by_the_coarser_precision() -> None:
    halves = bytes(byte for at, byte in enumerate(TRUE.entries[-1]) if at % 4 >= 2)
    coarse = ComputedPicture(shifted(TRUE.picture, 3), profile(dtype="bfloat16"), halves)
    found = compare_pictures(RUN, coarse, of())
    assert (found.fault, found.figures["dtype"]) == (None, "bfloat16")
    assert compare_pictures(RUN, of(shifted(TRUE.picture, 3), device_class="cpu"), of()).fault is not None


@pytest.mark.parametrize(
    ("one", "other", "coarser"),
    [("float32", "float16", "float16"), ("bfloat16", "float32", "bfloat16"), ("float32", "float32", "float32")],
)
def test_coarser_dtype(one: str, other: str, coarser: str) -> None:
    assert coarser_dtype(profile(dtype=one), profile(dtype=other)) == coarser
    assert coarser_dtype(profile(dtype=one), None) == "bfloat16"


def test_equal_bits_are_demanded_of_named_hardware_alone() -> None:
    assert demands_equal_bits(profile(), profile())
    assert not demands_equal_bits(profile(), profile(batch_rows=2))
    assert not demands_equal_bits(profile(device_class="cpu"), profile(device_class="cpu"))
    assert not demands_equal_bits(None, None)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
@pytest.mark.parametrize("quality", [40, 90])
def test_lossy_files_against_pixels(kind: str, quality: int) -> None:
    """The codec's own loss is measured on the checker's pixels."""
    run: PictureRun = msgspec.structs.replace(RUN, image_format=kind, quality=quality)
    lossy = made(run)
    found = compare_pictures(run, of(lossy.picture), of(device_class="Other 2.0"))
    assert found.fault is None
    other = made(msgspec.structs.replace(run, seed=8))
    assert compare_pictures(run, of(other.picture), of(device_class="Other 2.0")).fault is not None


def test_a_checkers_file_that_is_no_picture() -> None:
    with pytest.raises(Rejected):
        compare_pictures(RUN, of(), of(b"no picture", device_class="Other 2.0"))
