"""What torch's own limits would refuse in a process with several models; kernels are compiled on a GPU only.

The backend "eager" traces, guards and counts as "inductor" does, and then runs torch's usual kernels.
"""

import threading
from typing import Any

import pytest
import torch

from provider.inference.compiling import compile_unet, compiling_many
from provider.inference.unets import BucketedUnet, PlainUnet, running_once

BUCKETS = (1, 2, 4, 8, 16)
ROWS = (1, 3, 16)


class SmallUnet(torch.nn.Module):  # type: ignore[misc]
    """A UNet's call; every instance runs the same code, as all UNets of a process do."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = torch.nn.Conv2d(4, 4, 3, padding=1)

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor, return_dict: bool
    ) -> tuple[torch.Tensor]:
        """As UNet2DConditionModel's."""
        assert not return_dict
        return (self.layer(sample) + timestep / 1000 + encoder_hidden_states.mean(dim=(1, 2))[:, None, None, None],)


class SmallPipeline:
    """What warming up asks a pipeline for."""

    def __init__(self, unet: torch.nn.Module) -> None:
        self.unet = unet
        self.tokenizer = type("Tokenizer", (), {"model_max_length": 3})()
        unet.config = type("Config", (), {"in_channels": 4, "cross_attention_dim": 2})()


def compiled(seed: int) -> BucketedUnet:
    """A model of its own, compiled for five shapes."""
    unet = SmallUnet(seed).eval()
    bucketed = BucketedUnet(PlainUnet(unet), [(8, 8)], BUCKETS)
    fast = compile_unet(unet, shapes=len(bucketed.shapes), backend="eager")
    bucketed.warm_up(SmallPipeline(unet), running_once(PlainUnet(fast)))
    return bucketed


def predict(unet: BucketedUnet, seed: int) -> None:
    plain = PlainUnet(SmallUnet(seed).eval())
    with torch.no_grad():
        for rows in ROWS:
            inputs = (torch.randn((rows, 4, 8, 8)), torch.tensor(500.0), torch.randn((rows, 3, 2)))
            assert torch.allclose(unet(*inputs), plain(*inputs), atol=1e-5)


def compilations() -> int:
    """Of the whole process."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def test_each_model_has_limits_of_its_own_and_is_compiled_once() -> None:
    """Torch's limit is eight for all of them together, and what a thread sets there counts for that thread only."""
    before = compilations()
    models = [compiled(seed) for seed in range(4)]
    assert compilations() - before == 4 * len(BUCKETS)
    for seed, model in enumerate(models):
        predict(model, seed)
    failures: list[BaseException] = []

    def on_a_slots_thread() -> None:
        try:
            predict(models[0], 0)
            predict(compiled(9), 9)
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            failures.append(error)

    thread = threading.Thread(target=on_a_slots_thread)
    thread.start()
    thread.join()
    assert failures == []
    assert compilations() - before == 5 * len(BUCKETS)


def test_models_may_come_and_go_for_as_long_as_the_process_runs() -> None:
    with torch._dynamo.config.patch(accumulated_recompile_limit=7):
        for seed in range(3):
            predict(compiled(seed), seed)


def test_other_shapes_than_those_are_refused() -> None:
    unet = PlainUnet(compile_unet(SmallUnet(1).eval(), shapes=2, backend="eager"))

    def call(rows: int) -> Any:
        return unet(torch.zeros((rows, 4, 8, 8)), torch.tensor(500.0), torch.zeros((rows, 3, 2)))

    with torch.no_grad(), compiling_many():
        call(1), call(2)
        with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
            call(3)
        assert call(2).shape == (2, 4, 8, 8)


def test_the_embedded_model_compiles_whole(embedded: Any) -> None:
    unet = embedded.pipeline.unet
    plain = PlainUnet(unet)
    bucketed = BucketedUnet(plain, [(8, 8)], (1, 2))
    before = compilations()
    fast = compile_unet(unet, shapes=2, backend="eager")
    bucketed.warm_up(embedded.pipeline, running_once(PlainUnet(fast)))
    assert compilations() - before == 2
    sample = torch.randn((2, embedded.latent_channels, 8, 8))
    embeddings = torch.randn((2, embedded.pipeline.tokenizer.model_max_length, unet.config.cross_attention_dim))
    with torch.no_grad():
        for timestep in (torch.tensor(3), torch.tensor(700.0)):
            found = bucketed(sample, timestep, embeddings)
            assert (found - plain(sample, timestep, embeddings)).abs().max() < 1e-4
    assert compilations() - before == 2
