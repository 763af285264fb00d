"""`torch.compile` of UNets, of which a process may have many: its limits are made for one function compiled once."""

import sys
from contextlib import AbstractContextManager
from typing import Any

import torch


def compile_unet(unet: Any, *, shapes: int, backend: str = "inductor") -> Any:
    """The UNet compiled anew for each of so many shapes; beyond them a call raises.

    All models of a process run the same code, and by default torch counts the shapes of all of them together, and
    refuses the ninth. Here each model has a count of its own. `backend` is torch's own name for what makes kernels.
    """
    return torch.compile(
        unet, fullgraph=True, dynamic=False, backend=backend, recompile_limit=shapes, isolate_recompiles=True
    )


def compiling_many() -> AbstractContextManager[Any]:
    """While it lasts, this thread may compile as often as there are models to switch to.

    Above all counts of its own, torch has one for the process, 256, which models that come and go would reach in the
    end. It guards against compiling without end; `compile_unet` bounds that per model.
    """
    bounds: AbstractContextManager[Any] = torch._dynamo.config.patch(accumulated_recompile_limit=sys.maxsize)
    return bounds
