"""What a policy may remember: who had a turn when, and who has been given how much."""

from chain.primitives.types import Address
from hub.scheduling.turns import Strides, Turns


class Memory:
    """Of one scheduler; bounded, and harmless to lose."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.strides: Strides[Address] = Strides()
