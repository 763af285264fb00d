"""The simulated network: every message may be late, lost, doubled or overtaken, and links may be cut, also one way."""

from random import Random
from typing import Final, Protocol

import msgspec

from chain.consensus.messages import Message, decode_message, encode_message
from tests.simulation.schedule import Schedule

_CUT_IN_FLIGHT: Final = 0.5
"""Share of the messages under way that a cut link still delivers."""


class Conditions(msgspec.Struct, frozen=True):
    """How the network behaves at the moment. Milliseconds and shares."""

    lowest_ms: int
    highest_ms: int
    loss: float = 0.0
    doubling: float = 0.0
    spikes: float = 0.0
    """Share of messages that take `spike_ms` more."""
    spike_ms: int = 0


class Receiver(Protocol):
    """A node, as the network sees it."""

    def receive(self, sender: int, message: Message) -> None:
        """A message has arrived."""


class SimulatedNetwork:
    """Links between all nodes. Messages travel as objects; encoded and decoded on the way where that is asked for."""

    def __init__(self, schedule: Schedule, random: Random, *, is_encoded: bool, is_in_order: bool) -> None:
        self.conditions = Conditions(1, 1)
        self.receivers: list[Receiver] = []
        self.sent: list[int] = []
        """Messages by sender."""
        self.lost_count = 0
        self._schedule = schedule
        self._random = random
        self._is_encoded = is_encoded
        self._is_in_order = is_in_order
        self._cuts: list[list[int]] = []
        self._arrivals: dict[tuple[int, int], int] = {}

    def join(self, receiver: Receiver) -> None:
        """One node more."""
        self.receivers.append(receiver)
        self.sent.append(0)
        for row in self._cuts:
            row.append(0)
        self._cuts.append([0] * len(self.receivers))

    def cut(self, sender: int, receiver: int) -> None:
        """One way; cuts add up."""
        self._cuts[sender][receiver] += 1

    def mend(self, sender: int, receiver: int) -> None:
        """Takes one cut back."""
        self._cuts[sender][receiver] -= 1

    def is_cut(self, sender: int, receiver: int) -> bool:
        """Whether nothing gets through this way."""
        return self._cuts[sender][receiver] > 0

    def send(self, sender: int, receiver: int, message: Message) -> None:
        """A message sets out."""
        self.sent[sender] += 1
        conditions, random = self.conditions, self._random.random
        if self._cuts[sender][receiver] or (conditions.loss and random() < conditions.loss):
            self.lost_count += 1
            return
        if self._is_encoded:
            message = decode_message(encode_message(message))
        self._dispatch(sender, receiver, message)
        if conditions.doubling and random() < conditions.doubling:
            self._dispatch(sender, receiver, message)

    def _dispatch(self, sender: int, receiver: int, message: Message) -> None:
        conditions, random = self.conditions, self._random.random
        delay_ms = conditions.lowest_ms + int(random() * (conditions.highest_ms - conditions.lowest_ms + 1))
        if conditions.spikes and random() < conditions.spikes:
            delay_ms += int(random() * conditions.spike_ms)
        if self._is_in_order:
            now_ms, link = self._schedule.now_ms, (sender, receiver)
            arrival_ms = max(now_ms + delay_ms, self._arrivals.get(link, 0))
            self._arrivals[link] = arrival_ms
            delay_ms = arrival_ms - now_ms
        self._schedule.after(delay_ms, self._arrive, sender, receiver, message)

    def _arrive(self, sender: int, receiver: int, message: Message) -> None:
        if self._cuts[sender][receiver] and self._random.random() >= _CUT_IN_FLIGHT:
            self.lost_count += 1
            return
        self.receivers[receiver].receive(sender, message)
