"""What is set in torch, diffusers, transformers and the hub's client before anything is loaded or computed."""

import os

import diffusers
import torch
import transformers
from huggingface_hub import constants
from huggingface_hub.utils.tqdm import disable_progress_bars

from provider.generation import PipelineOptions
from provider.inference.devices import ComputeDevice


def quieten_libraries() -> None:
    """The libraries would log the end of a long prompt ("was truncated"): prompts belong in no log.

    Nor does anybody need to hear of a provider's downloads but the hub that they come from.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    constants.HF_HUB_DISABLE_TELEMETRY = True
    disable_progress_bars()
    diffusers.utils.logging.set_verbosity(diffusers.utils.logging.CRITICAL)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity(transformers.utils.logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()


def choose_kernels(options: PipelineOptions, device: ComputeDevice) -> None:
    """Same seed, same picture: the fastest algorithm for the first size seen may not be the same everywhere."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # TF32 has 10 bits of mantissa: what is declared as float32 would differ from any other machine's by a thousandth.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    if not device.is_gpu and options.cpu_threads:
        torch.set_num_threads(options.cpu_threads)
