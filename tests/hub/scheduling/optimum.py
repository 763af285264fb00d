"""When equal pictures can be done at the earliest, by another way than `timeline.lay_out` takes."""

from collections.abc import Sequence

from tests.hub.scheduling.machines import Machine


def optimum_s(machines: Sequence[Machine], pictures: int) -> float:
    """The first moment by which idle machines of known speed, without any overhead, can have finished so many pictures.

    It is the end of some picture, so the ends are tried in turn.
    """
    ends = sorted(number * machine.picture_s for machine in machines for number in range(1, pictures + 1))
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        done = sum(machine.concurrency * int(ends[middle] / machine.picture_s + 1e-9) for machine in machines)
        low, high = (low, middle) if done >= pictures else (middle + 1, high)
    return ends[low]
