"""The libraries compute the same way every time and say nothing of a prompt."""

import diffusers
import torch
import transformers
from huggingface_hub import constants

from provider.generation import PipelineOptions
from provider.inference.devices import find_devices
from provider.inference.libraries import choose_kernels, quieten_libraries


def test_kernels_are_chosen_the_same_way_every_time() -> None:
    options = PipelineOptions(device="cpu", cpu_threads=1)
    choose_kernels(options, find_devices(options)[0])
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark


def test_nothing_below_a_critical_fault_is_logged() -> None:
    quieten_libraries()
    assert diffusers.utils.logging.get_verbosity() == diffusers.utils.logging.CRITICAL
    assert transformers.utils.logging.get_verbosity() == transformers.utils.logging.CRITICAL
    assert constants.HF_HUB_DISABLE_TELEMETRY
