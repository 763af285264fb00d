"""Padding to warmed shapes, and trust in what was prepared; captures run on a GPU only (test_capturing.py)."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from provider.generation import PipelineOptions
from provider.inference.denoising import Predict
from provider.inference.devices import find_devices
from provider.inference.unets import BucketedUnet, PlainUnet, make_predict, relative_distance, row_buckets, running_once


@pytest.mark.parametrize(("most", "buckets"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 8)), (16, (1, 2, 4, 8, 16))])
def test_buckets_hold_the_most_rows(most: int, buckets: tuple[int, ...]) -> None:
    assert row_buckets(most) == buckets


def inputs(model: Any, rows: int, side: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    sample = torch.randn((rows, model.latent_channels, side, side), generator=generator)
    channels = model.pipeline.unet.config.cross_attention_dim
    embeddings = torch.randn((rows, model.pipeline.tokenizer.model_max_length, channels), generator=generator)
    return sample, torch.tensor(500), embeddings


@pytest.fixture
def called_rows() -> list[int]:
    """How many rows each call of the prepared UNet had."""
    return []


@pytest.fixture
def bucketed(embedded: Any, called_rows: list[int]) -> BucketedUnet:
    """Warmed up for 256 by 256 and up to four rows."""
    plain = PlainUnet(embedded.pipeline.unet)

    def prepared(sample: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        called_rows.append(len(sample))
        return plain(sample, timestep, embeddings)

    unet = BucketedUnet(plain, [(8, 8)], row_buckets(4))
    unet.warm_up(embedded.pipeline, running_once(prepared))
    return unet


def test_warmed_up_from_the_largest_and_tried_when_all_are_prepared(
    bucketed: BucketedUnet, called_rows: list[int]
) -> None:
    assert bucketed.shapes == ((4, 8, 8), (2, 8, 8), (1, 8, 8))
    assert called_rows == [4, 2, 1, 4, 2, 1]


def test_no_shape_is_prepared_twice() -> None:
    def never(*_inputs: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    unet = BucketedUnet(never, [(8, 8), (16, 8), (8, 8)], (1, 2))
    assert unet.shapes == ((2, 8, 8), (1, 8, 8), (2, 16, 8), (1, 16, 8))


@pytest.mark.parametrize(("rows", "padded_rows"), [(1, 1), (2, 2), (3, 4), (4, 4)])
def test_padding_changes_nothing(
    bucketed: BucketedUnet, embedded: Any, called_rows: list[int], rows: int, padded_rows: int
) -> None:
    called_rows.clear()
    with torch.no_grad():
        found = bucketed(*inputs(embedded, rows))
        expected = PlainUnet(embedded.pipeline.unet)(*inputs(embedded, rows))
    assert called_rows == [padded_rows]
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize(("rows", "side"), [(5, 8), (1, 16)])
def test_other_shapes_go_to_the_plain_unet(
    bucketed: BucketedUnet, embedded: Any, called_rows: list[int], rows: int, side: int
) -> None:
    called_rows.clear()
    with torch.no_grad():
        found = bucketed(*inputs(embedded, rows, side))
        expected = PlainUnet(embedded.pipeline.unet)(*inputs(embedded, rows, side))
    assert called_rows == []
    assert torch.equal(found, expected)


def test_on_a_cpu_nothing_is_compiled(embedded: Any) -> None:
    options = PipelineOptions(device="cpu", uses_compile=True, uses_cuda_graphs=True)
    assert isinstance(make_predict(embedded.pipeline, options, find_devices(options)[0]), PlainUnet)


def frozen(_sample: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """What a graph gives that was captured on another GPU's stream: always what was there before."""
    return first


def a_little_off(_sample: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return right * 1.01


def not_a_number(_sample: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.where(right > 0, right, torch.nan)


@pytest.mark.parametrize("spoil", [frozen, a_little_off, not_a_number])
def test_what_computes_something_else_is_not_used(
    embedded: Any, spoil: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    """It is right in what it was prepared with, and wrong afterwards, but for the shape with two rows."""
    plain = PlainUnet(embedded.pipeline.unet)
    spoilt_rows: list[int] = []

    def prepare(inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> Predict:
        first = plain(*inputs)

        def call(sample: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
            if len(sample) == 2:
                return plain(sample, timestep, embeddings)
            spoilt_rows.append(len(sample))
            return spoil(sample, first if spoil is frozen else plain(sample, timestep, embeddings))

        return call

    unet = BucketedUnet(plain, [(8, 8)], row_buckets(4))
    unet.warm_up(embedded.pipeline, prepare)
    assert spoilt_rows == [4, 1]
    with torch.no_grad():
        for rows in (1, 2, 3, 4):
            assert relative_distance(unet(*inputs(embedded, rows)), plain(*inputs(embedded, rows))) < 1e-4
    assert spoilt_rows == [4, 1]


def test_distance_in_units_of_what_is_expected() -> None:
    expected = torch.tensor([3.0, -4.0])
    assert relative_distance(expected, expected) == 0
    assert relative_distance(torch.zeros(2), expected) == pytest.approx(1)
    assert relative_distance(expected.half() * 1000, expected.half() * 1000 * 0.5) == pytest.approx(1)
    assert not relative_distance(torch.tensor([torch.inf, 0]), expected) <= 1e9
    assert not relative_distance(torch.zeros(2), torch.zeros(2)) <= 1e9
