"""Byzantine validators: they hold real keys, know of each other whatever any of them hears, and lie by a seed."""

from random import Random
from typing import Final

import msgspec

from chain.consensus.messages import CertificateMessage, Message, Proposal
from chain.primitives.certificate import Certificate
from chain.primitives.types import Address
from tests.simulation.signatures import SimulatedKey

_REMEMBERED: Final = 64
MAX_MISCHIEF: Final = 3_000
"""Lies in one simulation: enough for any harm, and the seeds stay short."""


class Malice(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities of each kind of lie, at each occasion for it."""

    equivocate: float = 0.0
    """As a leader: two valid blocks, each to a half."""
    fork: float = 0.0
    """As a leader: a block on an old ancestor, whatever stands between."""
    silence: float = 0.0
    """As a leader: nothing."""
    withhold: float = 0.0
    """As a leader: the proposal to some only."""
    invalid: float = 0.0
    """As a leader: a block that breaks a rule."""
    unbound: float = 0.0
    """As a leader: a body that is not the header's."""
    future: float = 0.0
    """As a leader: a block of a time to come."""
    unjustified: float = 0.0
    """As a leader: a proposal whose justification is missing or wrong."""
    usurp: float = 0.0
    """In another's view: a proposal of its own."""
    amplify: float = 0.0
    """Signs whatever it sees anybody sign."""
    contradict: float = 0.0
    """Signs the opposite of what it sees."""
    selective: float = 0.0
    """Its own votes go to some only."""
    mute: float = 0.0
    """Questions stay unanswered."""
    fabricate: float = 0.0
    """Answers with blocks, certificates and ranges that are none."""
    replay: float = 0.0
    """Old messages once more."""
    garble: float = 0.0
    """Messages with fields changed."""
    forge: float = 0.0
    """Certificates with one signer repeated, or too few."""
    impersonate: float = 0.0
    """Votes in the name of others."""
    slander: float = 0.0
    """Evidence against somebody honest."""
    boast: float = 0.0
    """A status of a far view and height."""


class Adversary:
    """What the Byzantine nodes of one simulation know together."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.keys: dict[Address, SimulatedKey] = {}
        self.certificates: list[Certificate] = []
        self.messages: list[Message] = []
        self.mischief_count = 0

    def learn(self, message: Message) -> None:
        """Remembers the newest of what can be used again."""
        self.messages.append(message)
        del self.messages[:-_REMEMBERED]
        if isinstance(message, CertificateMessage):
            self._learn_certificate(message.certificate)
        elif isinstance(message, Proposal) and message.parent_certificate is not None:
            self._learn_certificate(message.parent_certificate)

    def _learn_certificate(self, certificate: Certificate) -> None:
        if certificate not in self.certificates[-12:]:
            self.certificates.append(certificate)
            del self.certificates[:-_REMEMBERED]

    def may(self, probability: float) -> bool:
        """Whether to lie now."""
        if probability and self.mischief_count < MAX_MISCHIEF and self.random.random() < probability:
            self.mischief_count += 1
            return True
        return False
