"""How large latents are at each noise level, so that opened ones are judged in units that their prover did not choose.

A run's middle latents are whatever its provider says. A UNet normalises what it is given: on huge latents its
prediction is next to nothing beside them, and hardly depends on the prompt or the noise level any more, so that they
could be carried on without it. Hence an expectation that follows from the request and the verifier's own model alone.
"""

import math
from typing import Any, Final

import torch

from provider.errors import GenerationFailed
from provider.inference.latents import root_mean_square
from provider.inference.schedulers import Schedule

MAX_RMS_RATIO: Final = 4.0
"""How far above what is expected the root mean square of an honest run's latents may be; measured is 2 at most."""
MAX_VALUE_RATIO: Final = 20.0
"""How far above the root mean square that is expected a single value may be; measured are 7 at most."""


def rms_of_entries(scheduler: Any, schedule: Schedule, clean_rms: float) -> tuple[float, ...]:
    """The root mean square of every entry of a trajectory, the first to the last.

    `clean_rms` is that of finished latents. Latents are sqrt(a) clean + sqrt(1 - a) noise of variance 1, where a is the
    noise schedule's `alphas_cumprod` (Ho et al. 2020, equation 4). Schedulers after Karras et al. 2022 divide that by
    sqrt(a): clean + sigma noise, with sigma² = (1 - a) / a. Which kind one is, its `init_noise_sigma` says.
    """
    shares = _clean_shares(scheduler, schedule)
    is_variance_preserved = float(scheduler.init_noise_sigma) == 1
    return tuple(
        math.sqrt((share * clean_rms**2 + 1 - share) / (1 if is_variance_preserved else share)) for share in shares
    )


def check_size(latents: torch.Tensor, expected: float, step: int) -> None:
    """Raises GenerationFailed(bad_latents) for latents of a size that no honest run has; `step` is for the message."""
    found, largest = root_mean_square(latents), float(latents.abs().max())
    if found > MAX_RMS_RATIO * expected or largest > MAX_VALUE_RATIO * expected:
        message = (
            f"the latents after step {step} are no run's: root mean square {found:.3g} and at most {largest:.3g}, "
            f"where about {expected:.3g} is expected"
        )
        raise GenerationFailed(message, reason="bad_latents")


def _clean_shares(scheduler: Any, schedule: Schedule) -> list[float]:
    """The share a of the clean latents in the variance of each entry; an entry is what the next evaluation starts from,
    and the last is clean."""
    if hasattr(scheduler, "sigmas"):
        sigmas = scheduler.sigmas[schedule.begin : schedule.begin + schedule.evaluations]
        shares = 1 / (1 + sigmas.double() ** 2)
    else:
        timesteps = schedule.timesteps.long().cpu()
        shares = scheduler.alphas_cumprod.cpu()[timesteps]
    return [*shares.tolist(), 1.0]
