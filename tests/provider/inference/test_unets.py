"""Padding to warmed shapes; what is compiled and captured runs on a GPU only (test_worker.py)."""

from typing import Any

import pytest
import torch

from provider.generation import PipelineOptions
from provider.inference.devices import find_devices
from provider.inference.unets import BucketedUnet, PlainUnet, make_predict, row_buckets


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
    unet.warm_up(prepared, embedded.pipeline, uses_cuda_graphs=False)
    return unet


def test_warmed_up_from_the_largest(bucketed: BucketedUnet, called_rows: list[int]) -> None:
    assert called_rows == [4, 2, 1]
    assert bucketed is not None


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
