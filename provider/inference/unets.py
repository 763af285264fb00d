"""The UNet as the loop calls it: plain, or compiled and captured for the shapes that a GPU was warmed up for.

Neither `torch.compile` nor the CUDA graphs below have run on a GPU yet; `PipelineOptions` leaves both off.
"""

from collections.abc import Sequence
from typing import Any

import torch

from provider.generation import PipelineOptions
from provider.inference.denoising import Predict
from provider.inference.devices import ComputeDevice

_CAPTURE_WARM_UP_RUNS = 3
"""Before a capture, so that libraries have chosen their kernels and taken their workspaces (PyTorch's own advice)."""


def make_predict(pipeline: Any, options: PipelineOptions, device: ComputeDevice) -> Predict:
    """Compiles, warms up and captures where the options ask for it and the device is a GPU; that takes minutes."""
    plain = PlainUnet(pipeline.unet)
    if not device.is_gpu or not (options.uses_compile or options.uses_cuda_graphs):
        return plain
    buckets = row_buckets(2 * options.max_batch_rows)
    call: Predict = plain
    if options.uses_compile:
        # Each shape is compiled for itself; past the limit, which is for one function, torch would refuse.
        limit = len(options.warm_shapes) * len(buckets) + 1
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, limit)
        call = PlainUnet(torch.compile(pipeline.unet, fullgraph=True, dynamic=False))
    factor = pipeline.vae_scale_factor
    sizes = [(-(-height // factor), -(-width // factor)) for width, height in options.warm_shapes]
    bucketed = BucketedUnet(plain, sizes, buckets)
    bucketed.warm_up(call, pipeline, uses_cuda_graphs=options.uses_cuda_graphs)
    return bucketed


class PlainUnet:
    """Exactly the call that diffusers' pipeline makes."""

    def __init__(self, unet: Any) -> None:
        self._unet = unet

    def __call__(self, sample: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """See `denoising.Predict`."""
        prediction: torch.Tensor = self._unet(sample, timestep, encoder_hidden_states=embeddings, return_dict=False)[0]
        return prediction


def row_buckets(most_rows: int) -> tuple[int, ...]:
    """Powers of two up to the first that holds so many rows: a batch is padded to less than twice its size."""
    buckets = [1]
    while buckets[-1] < most_rows:
        buckets.append(2 * buckets[-1])
    return tuple(buckets)


class BucketedUnet:
    """Pads a batch to one of a few numbers of rows that a fast call was prepared for; else calls the plain one."""

    def __init__(self, plain: Predict, latent_sizes: Sequence[tuple[int, int]], buckets: Sequence[int]) -> None:
        self._plain = plain
        self._latent_sizes = latent_sizes
        self._buckets = buckets
        self._prepared: dict[tuple[int, int, int], Predict] = {}

    def warm_up(self, call: Predict, pipeline: Any, *, uses_cuda_graphs: bool) -> None:
        """Runs `call` once for each shape, which compiles it, and captures it where that is asked for."""
        parameter = next(pipeline.unet.parameters())
        tokens, channels = pipeline.tokenizer.model_max_length, pipeline.unet.config.cross_attention_dim
        pool: Any = None
        for height, width in self._latent_sizes:
            # The largest first: the graphs share one pool of memory, which then never has to grow.
            for rows in reversed(self._buckets):
                sample = parameter.new_zeros((rows, pipeline.unet.config.in_channels, height, width))
                timestep = torch.zeros((), dtype=torch.float32, device=parameter.device)
                embeddings = parameter.new_zeros((rows, tokens, channels))
                prepared = call
                with torch.no_grad():
                    if uses_cuda_graphs:
                        captured = CapturedUnet(call, sample, timestep, embeddings, pool)
                        pool, prepared = captured.pool, captured
                    else:
                        call(sample, timestep, embeddings)
                self._prepared[rows, height, width] = prepared

    def __call__(self, sample: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """See `denoising.Predict`."""
        rows, _channels, height, width = sample.shape
        bucket = next((size for size in self._buckets if size >= rows), 0)
        prepared = self._prepared.get((bucket, height, width))
        if prepared is None:
            return self._plain(sample, timestep, embeddings)
        # The timestep's type differs between schedulers, and the UNet's first act is to make it single precision; an
        # encoded picture's memory layout differs too. Either would be another shape to a compiled call.
        same_type = timestep.to(sample.device, torch.float32)
        padded = prepared(_pad(sample, bucket).contiguous(), same_type, _pad(embeddings, bucket))
        return padded[:rows]


def _pad(rows: torch.Tensor, count: int) -> torch.Tensor:
    """Repeats the last row until there are `count`."""
    missing = count - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows


class CapturedUnet:
    """A call for one shape, recorded as a CUDA graph: a step then costs one launch instead of a thousand."""

    def __init__(
        self,
        call: Predict,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        embeddings: torch.Tensor,
        pool: Any,
    ) -> None:
        self._inputs = (sample, timestep, embeddings)
        stream = torch.cuda.Stream(device=sample.device)
        stream.wait_stream(torch.cuda.current_stream(sample.device))
        with torch.cuda.stream(stream):
            for _ in range(_CAPTURE_WARM_UP_RUNS):
                call(*self._inputs)
        torch.cuda.current_stream(sample.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._output = call(*self._inputs)
        self.pool = self._graph.pool()

    def __call__(self, sample: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """Copies the inputs to where the graph reads them; a copy of the output, which the next replay overwrites."""
        for place, value in zip(self._inputs, (sample, timestep, embeddings), strict=True):
            place.copy_(value)
        self._graph.replay()
        return self._output.clone()
