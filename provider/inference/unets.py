"""The UNet as the loop calls it: plain, or compiled and captured for the shapes that a GPU was warmed up for.

Neither `torch.compile` nor CUDA graphs have run on a GPU yet; `PipelineOptions` leaves both off. What they prepare is
believed only after it has computed the same as the plain UNet.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
import torch

from provider.generation import PipelineOptions
from provider.inference import load_errors
from provider.inference.capturing import CaptureStream, Inputs
from provider.inference.compiling import compile_unet, compiling_many
from provider.inference.denoising import Predict
from provider.inference.devices import ComputeDevice, is_out_of_memory

Prepare = Callable[[Inputs], Predict]
"""Makes the call for one shape ready, with inputs of that shape that may be kept."""

_TOLERANCES: Final = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}
"""How far a prepared call may be from the plain one, as a share of the prediction's root mean square. Compiled kernels
round elsewhere, by some units of the last place in each of a hundred layers; what is wrong differs by about 1."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.inference")


def make_predict(pipeline: Any, options: PipelineOptions, device: ComputeDevice) -> Predict:
    """Compiles, warms up and captures where the options ask for it and the device is a GPU; that takes minutes.

    Raises ModelUnavailable(unet_not_prepared) where that fails, but what torch raises where memory runs out.
    """
    plain = PlainUnet(pipeline.unet)
    if not device.is_gpu or not (options.uses_compile or options.uses_cuda_graphs):
        return plain
    factor = pipeline.vae_scale_factor
    sizes = [(-(-height // factor), -(-width // factor)) for width, height in options.warm_shapes]
    bucketed = BucketedUnet(plain, sizes, row_buckets(2 * options.max_batch_rows))
    try:
        call: Predict = plain
        if options.uses_compile:
            call = PlainUnet(compile_unet(pipeline.unet, shapes=len(bucketed.shapes)))
        prepare = running_once(call)
        if options.uses_cuda_graphs:
            prepare = CaptureStream(call, device.torch_device).capture
        bucketed.warm_up(pipeline, prepare)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise load_errors.unet_not_prepared(error) from error
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


def running_once(call: Predict) -> Prepare:
    """A call that is compiled, or finds its kernels, when it runs for the first time."""

    def prepare(inputs: Inputs) -> Predict:
        call(*inputs)
        return call

    return prepare


class BucketedUnet:
    """Pads a batch to one of a few numbers of rows that a fast call was prepared for; else calls the plain one."""

    def __init__(self, plain: Predict, latent_sizes: Sequence[tuple[int, int]], buckets: Sequence[int]) -> None:
        """`latent_sizes` are heights and widths; `buckets` numbers of rows, from the smallest."""
        self._plain = plain
        self._buckets = buckets
        # The largest batches first: graphs share one pool of memory, which then never has to grow. No shape twice:
        # several sizes of pictures may have the same latents.
        self.shapes = tuple(
            (rows, height, width) for height, width in dict.fromkeys(latent_sizes) for rows in reversed(buckets)
        )
        """Rows, height and width of what is prepared for."""
        self._prepared: dict[tuple[int, int, int], Predict] = {}

    def warm_up(self, pipeline: Any, prepare: Prepare) -> None:
        """Prepares every shape, and keeps what then computes as the plain UNet does; raises whatever `prepare` does.

        Each is tried only when all are prepared: graphs that share memory could spoil one another.
        """
        with torch.no_grad(), compiling_many():
            prepared = {shape: prepare(_new_inputs(pipeline, shape)) for shape in self.shapes}
            self._prepared = {shape: call for shape, call in prepared.items() if self._agrees(pipeline, shape, call)}

    def _agrees(self, pipeline: Any, shape: tuple[int, int, int], call: Predict) -> bool:
        inputs = _new_inputs(pipeline, shape, seed=1)
        distance = relative_distance(call(*inputs), self._plain(*inputs))
        if distance <= _TOLERANCES[inputs[0].dtype]:  # Never true of what is no number.
            return True
        rows, height, width = shape
        _log.warning("unet_not_trusted", rows=rows, latent_height=height, latent_width=width, distance=distance)
        return False

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


def relative_distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of the difference as a share of that of `expected`; not a number where either is not finite."""
    expected = expected.double()
    difference = (found.double() - expected).square().mean().sqrt()
    return float(difference / expected.square().mean().sqrt())


def _new_inputs(pipeline: Any, shape: tuple[int, int, int], seed: int | None = None) -> Inputs:
    """Inputs of the UNet for `shape` (rows, height, width), zero or from a seed, in its own memory."""
    rows, height, width = shape
    unet, parameter = pipeline.unet, next(pipeline.unet.parameters())
    tokens, channels = pipeline.tokenizer.model_max_length, unet.config.cross_attention_dim
    sample = torch.zeros((rows, unet.config.in_channels, height, width))
    timestep = torch.zeros((), dtype=torch.float32, device=parameter.device)
    embeddings = torch.zeros((rows, tokens, channels))
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)  # A CPU's: the same everywhere.
        sample.normal_(generator=generator)
        embeddings.normal_(generator=generator)
        timestep += 500
    return sample.to(parameter), timestep, embeddings.to(parameter)


def _pad(rows: torch.Tensor, count: int) -> torch.Tensor:
    """Repeats the last row until there are `count`."""
    missing = count - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows
