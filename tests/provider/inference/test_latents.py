"""Latents to bytes and back, and how far apart two of them are."""

import pytest
import torch

from provider.errors import GenerationFailed
from provider.inference.latents import compare_latents, dtype_name, from_bytes, to_bytes, trajectory_of_row

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_and_back(dtype: torch.dtype) -> None:
    latents = torch.randn((4, 3, 5), generator=torch.Generator().manual_seed(1)).to(dtype)
    raw = to_bytes(latents)
    assert len(raw) == 60 * dtype.itemsize
    assert torch.equal(from_bytes(raw, (4, 3, 5), dtype), latents)
    channels_last = latents[None].contiguous(memory_format=torch.channels_last)[0]
    assert to_bytes(channels_last) == raw


def test_the_order_is_little_endian_and_by_channel() -> None:
    assert to_bytes(torch.tensor([[1.0, -2.0]])) == bytes.fromhex("0000803f000000c0")


def test_a_rows_trajectory_is_its_own() -> None:
    kept = [torch.full((2, 1, 1, 2), float(step)) + torch.tensor([0.0, 10.0]).view(2, 1, 1, 1) for step in range(3)]
    assert trajectory_of_row(kept, 1) == tuple(to_bytes(torch.full((2,), 10.0 + step)) for step in range(3))


@pytest.mark.parametrize("raw", [b"", b"\0" * 7, b"\0" * 9, bytes.fromhex("0000c07f00000000"), b"\0\0\x80\x7f" * 2])
def test_other_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(GenerationFailed) as caught:
        from_bytes(raw, (2,), torch.float32)
    assert caught.value.reason == "bad_latents"


def test_distance() -> None:
    left, right = to_bytes(torch.tensor([3.0, 4.0])), to_bytes(torch.tensor([3.0, 4.5]))
    assert compare_latents(left, left, "float32").max_abs == 0
    distance = compare_latents(left, right, "float32")
    assert (distance.max_abs, distance.mean_abs) == (0.5, 0.25)
    assert distance.relative == pytest.approx(0.1)


def test_huge_latents_are_not_their_own_measure() -> None:
    left, right = to_bytes(torch.tensor([3e6, 4e6])), to_bytes(torch.tensor([3e6, 4e6 + 0.5]))
    assert compare_latents(left, right, "float32").relative < 1e-6
    assert compare_latents(left, right, "float32", 5.0 / 2**0.5).relative == pytest.approx(0.1)
    small, other = to_bytes(torch.tensor([3.0, 4.0])), to_bytes(torch.tensor([3.0, 4.5]))
    assert compare_latents(small, other, "float32", 1e6).relative == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("left", "right", "dtype"),
    [
        (b"", b"", "float32"),
        (b"\0" * 4, b"\0" * 8, "float32"),
        (b"\0" * 3, b"\0" * 3, "float16"),
        (b"\0" * 4, b"\0" * 4, "int8"),
    ],
)
def test_what_cannot_be_compared_is_refused(left: bytes, right: bytes, dtype: str) -> None:
    with pytest.raises(GenerationFailed) as caught:
        compare_latents(left, right, dtype)
    assert caught.value.reason == "bad_latents"


def test_names_of_precisions() -> None:
    assert [dtype_name(dtype) for dtype in DTYPES] == ["float32", "float16", "bfloat16"]
