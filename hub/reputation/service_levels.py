"""What was measured of a provider against the service level that it has signed and published. Pure.

The registry has a statement's hash; the statement is the provider's to show (`aitbc provider sla`). Whoever holds one
whose hash is in force can compare it with what this hub has seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from chain.primitives.hexadecimal import parse_address, parse_hash, to_hex
from chain.primitives.rejection import Rejected
from chain.primitives.sla import MAX_BASIS_POINTS, ServiceLevel

LEAST_SAMPLES: Final = 200
"""With fewer, the 95th of 100 is a few of them: chance alone would breach an honest promise too often."""
_P95: Final = 95
_SLACK: Final = 1.1
"""The hub's own network and queues, which are not the provider's fault."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A piece of work that a provider had accepted: when (Unix seconds), how long until its result, or None."""

    at_s: int
    took_ms: int | None


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that was not kept: which one, what it said, and what was measured."""

    promise: str
    promised: int
    measured: int
    samples: int

    def to_object(self) -> dict[str, Any]:
        """As evidence."""
        return {
            "promise": self.promise,
            "promised": self.promised,
            "measured": self.measured,
            "samples": self.samples,
        }


def is_in_force(statement: ServiceLevel, provider: str, sla_hash: str | None, chain_id: int) -> bool:
    """Whether the registry's hash is this statement's, and it is this provider's, on this network."""
    try:
        is_same = sla_hash is not None and parse_hash(sla_hash) == statement.hash
        return is_same and statement.provider == parse_address(provider) and statement.chain_id == chain_id
    except Rejected:
        return False


def breaches_of(statement: ServiceLevel, samples: Sequence[Sample]) -> list[Breach]:
    """Of the samples from within the statement's time; none where they are too few to say."""
    counted = [sample for sample in samples if statement.holds_at(sample.at_s)]
    if len(counted) < LEAST_SAMPLES:
        return []
    times = sorted(sample.took_ms for sample in counted if sample.took_ms is not None)
    found: list[Breach] = []
    answered = len(times) * MAX_BASIS_POINTS // len(counted)
    if answered < statement.availability_basis_points:
        found.append(Breach("availability_basis_points", statement.availability_basis_points, answered, len(counted)))
    if times:
        p95_ms = times[max(0, -(-len(times) * _P95 // 100) - 1)]
        if p95_ms > statement.p95_latency_ms * _SLACK:
            found.append(Breach("p95_latency_ms", statement.p95_latency_ms, p95_ms, len(times)))
    return found


def evidence_of(statement: ServiceLevel, breaches: Sequence[Breach]) -> dict[str, Any]:
    """What `noting.note_breach` takes."""
    return {"sla_hash": to_hex(statement.hash), "breaches": [breach.to_object() for breach in breaches]}
