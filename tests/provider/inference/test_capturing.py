"""CUDA graphs on every GPU of the machine, and beside other work."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from provider.generation import EMBEDDED_MODEL, PipelineOptions
from provider.inference.capturing import CaptureStream
from provider.inference.devices import find_devices
from provider.inference.finding import find_folder
from provider.inference.loading import load_model
from provider.inference.unets import BucketedUnet, PlainUnet, relative_distance, row_buckets

pytestmark = pytest.mark.gpu

OPTIONS = PipelineOptions(device="cuda")


def new_inputs(model: Any, rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    parameter = next(model.pipeline.unet.parameters())
    sample = torch.randn((rows, model.latent_channels, 8, 8), generator=generator)
    channels = model.pipeline.unet.config.cross_attention_dim
    embeddings = torch.randn((rows, model.pipeline.tokenizer.model_max_length, channels), generator=generator)
    return sample.to(parameter), torch.tensor(37 * seed, device=parameter.device), embeddings.to(parameter)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_graphs_compute_what_the_plain_unet_does_on_every_gpu_one_after_another(precision: str) -> None:
    """A capture on a stream of the first GPU would leave the graphs of the second empty."""
    options = replace(OPTIONS, precision=precision)
    models = []
    for device in find_devices(options):
        device.select()
        model = load_model(EMBEDDED_MODEL, find_folder(EMBEDDED_MODEL), options, device, getattr(torch, precision))
        plain = PlainUnet(model.pipeline.unet)
        graphs = BucketedUnet(plain, [(8, 8)], row_buckets(4))
        graphs.warm_up(model.pipeline, CaptureStream(plain, device.torch_device).capture)
        assert sorted(graphs._prepared) == sorted(graphs.shapes)
        assert torch.cuda.current_stream(device.torch_device) == torch.cuda.default_stream(device.torch_device)
        models.append((device, model, plain, graphs))
    with torch.no_grad():
        for seed in range(3):
            for device, model, plain, graphs in models:
                device.select()
                for rows in (1, 2, 3, 4):
                    inputs = new_inputs(model, rows, seed)
                    assert relative_distance(graphs(*inputs), plain(*inputs)) < (
                        1e-5 if precision == "float32" else 1e-2
                    )


def test_a_capture_fails_nothing_beside_it(new_worker: Callable[..., Any], tools: Any) -> None:
    """Another worker takes and frees memory on the same GPU while graphs are captured, as another slot would."""
    other = new_worker(device="cuda")
    other.load()
    is_over = threading.Event()
    drawn: list[Any] = []
    failures: list[BaseException] = []

    def draw() -> None:
        try:
            while not is_over.is_set():
                drawn.append(tools.run(other, tools.key(), tools.row()).done.rows[0].picture)
                torch.cuda.empty_cache()
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            failures.append(error)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(3):
            capturing = new_worker(device="cuda", uses_cuda_graphs=True, max_batch_rows=4, warm_shapes=((256, 256),))
            capturing.load()
            capturing.close()
    finally:
        is_over.set()
        thread.join()
    assert failures == []
    assert len(set(drawn)) == 1


def test_a_capture_that_fails_leaves_the_stream_as_it_was() -> None:
    device = find_devices(OPTIONS)[0]
    device.select()

    def copying_to_the_cpu(sample: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        return sample * float(timestep.cpu())

    inputs = tuple(torch.ones(2, device=device.torch_device) for _ in range(2))
    timestep = torch.ones((), device=device.torch_device)
    with torch.no_grad(), pytest.raises(RuntimeError):
        CaptureStream(copying_to_the_cpu, device.torch_device).capture((inputs[0], timestep, inputs[1]))
    assert torch.cuda.current_stream(device.torch_device) == torch.cuda.default_stream(device.torch_device)
