"""Which steps of a trajectory a verifier asks for, and how far an honest one may be from the step computed again.

Equal bits are only to be expected on the same hardware with the same versions and batch size. Elsewhere additions
happen in another order, and one step moves the last bits. docs/protocol.md has the measurements.
"""

from collections.abc import Callable, Sequence
from typing import Final

STEP_TOLERANCE: Final = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-1}
"""By dtype: the relative distance of one honest step: the root mean square of the difference over that of the claim, or
over what the verifier expects of it if that is less.

Measured with two small models on a CPU over all schedulers, at guidance 2.5 to 20: at most 2e-6 in float32 between
batches of 1 and of 8; against a step in float32, from which two other machines are as far, at most 7e-2 in bfloat16 and
4e-3 in float16. See docs/protocol.md for what a cheat's distances are.
"""

ERROR_GROWTH: Final = {"LMSDiscreteScheduler": 2.0, "PNDMScheduler": 5.0}
"""By scheduler, if it is not 1: how many times as far an honest step may be. Adams and Bashforth's method of order four
adds the errors of four predictions, weighed with 55, 59, 37 and 9 twenty-fourths; measured are 5e-6 and 1e-1. PNDM's
first steps have factors below float16's normal numbers: measured is 2.9e-2 from the same step in float32."""

Place = tuple[int, int]
"""(step, picture)"""


ROUNDING_RATIO: Final = 2.0
"""How many times the verifier's own rounding of the very step an honest one may be away.

Measured with the embedded model in bfloat16: honest steps are 0.9 to 1.42 times as far (the most for what a scheduler
starts from, rounded twice), the least of those who left out a quarter of the steps, at their worst place, 4.1 times.
"""


def tolerance_of_step(dtype: str, scheduler: str, rounding: float | None = None) -> float:
    """Of the relative distance, for latents in this precision and a scheduler of this class.

    `rounding` is how far the verifier's own step moves when it computes it in that precision; None where it cannot say.
    """
    most = STEP_TOLERANCE[dtype] * ERROR_GROWTH.get(scheduler, 1.0)
    return most if rounding is None else min(most, ROUNDING_RATIO * rounding)


def choose_steps(
    steps: int, pictures: int, samples: int, sample: Callable[[Sequence[Place], int], Sequence[Place]]
) -> list[Place]:
    """(step, picture) of so many steps at random, none twice, in order; and of their pictures what they start from, the
    first step and the last: they tie the middle to the seed and to the picture.

    `sample` draws so many different ones of a sequence, by a randomness that the prover could not know.
    """
    inner = [(step, picture) for picture in range(pictures) for step in range(2, steps)]
    places = inner or [(steps, picture) for picture in range(pictures)]
    drawn = sample(places, min(samples, len(places)))
    ends = {(step, picture) for _, picture in drawn for step in (0, min(1, steps), steps)}
    return sorted(ends.union(drawn), key=lambda place: (place[1], place[0]))
