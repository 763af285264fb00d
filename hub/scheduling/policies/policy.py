"""The policies by name, as the hub's setting has them."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from hub.scheduling.policies import cheapest, fastest, reputation, round_robin
from hub.scheduling.policies.memory import Memory
from hub.scheduling.runs import Run
from hub.scheduling.workers import Worker


class Policy(StrEnum):
    """Whose turn it is."""

    ROUND_ROBIN = "round-robin"
    CHEAPEST = "cheapest"
    FASTEST = "fastest"
    REPUTATION = "reputation"


PLACES: Final[Mapping[Policy, Callable[[Worker, Run, Memory], tuple[float, ...]]]] = {
    Policy.ROUND_ROBIN: round_robin.place,
    Policy.CHEAPEST: cheapest.place,
    Policy.FASTEST: fastest.place,
    Policy.REPUTATION: reputation.place,
}
