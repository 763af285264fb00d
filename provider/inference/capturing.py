"""CUDA graphs: a UNet's thousand kernels of one shape, recorded once and then launched by a single call.

Written against torch 2.13's `torch/cuda/graphs.py` and its notes on CUDA graphs; it has not run on a GPU yet.
"""

import threading
from typing import Final

import torch

from provider.inference.denoising import Predict

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""What a Predict takes: sample, timestep, embeddings."""

_WARM_UP_RUNS: Final = 3
"""Before a capture, so that libraries have chosen their kernels and taken their workspaces (PyTorch's own advice)."""

_CAPTURING: Final = threading.Lock()
"""Torch allows one capture at a time in a process, whatever the GPU."""


class CaptureStream:
    """Where the graphs of one model on one GPU are captured: a stream of that GPU, and the memory that they share.

    Without a stream of its own a capture would take torch's, of which there is one for the whole process, on whichever
    GPU asked first: on any other the graph would stay empty, and its replay change nothing. Graphs may share memory
    where they were captured on one stream, and while none is replayed beside another.
    """

    def __init__(self, call: Predict, device: torch.device) -> None:
        self._call = call
        self._device = device
        with torch.cuda.device(device):
            self._stream = torch.cuda.Stream(device=device)
            self._pool = torch.cuda.graph_pool_handle()

    def capture(self, inputs: Inputs) -> "CapturedCall":
        """The call as a graph for inputs of this shape, which the graph keeps; under `torch.no_grad`."""
        graph = torch.cuda.CUDAGraph()
        # Capturing synchronizes the current GPU, so it has to be this one.
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
            # On the stream of the capture, as some libraries keep a workspace for each stream. Left even where the
            # capture fails: torch's own context would then stay on the stream.
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UP_RUNS):
                    self._call(*inputs)
                # "thread_local": a batch on another GPU takes memory meanwhile, and that must not fail.
                with (
                    _CAPTURING,
                    torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
                ):
                    output = self._call(*inputs)
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return CapturedCall(graph, inputs, output)


class CapturedCall:
    """A call for one shape: a step then costs one launch instead of a thousand."""

    def __init__(self, graph: torch.cuda.CUDAGraph, inputs: Inputs, output: torch.Tensor) -> None:
        self._graph = graph
        self._inputs = inputs
        self._output = output

    def __call__(self, sample: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """Copies the inputs to where the graph reads them; a copy of the output, which the next replay overwrites."""
        for place, value in zip(self._inputs, (sample, timestep, embeddings), strict=True):
            place.copy_(value)
        self._graph.replay()
        return self._output.clone()
