"""What a run was like."""

import msgspec


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one seed. Counts are of all nodes together unless they say otherwise."""

    seed: int
    validator_count: int
    trace_hash: str
    """Of everything that happened, in order."""
    views: int
    """Views entered."""
    blocks: int
    """Height of the final chain."""
    commits: int
    epochs: int
    """Ended."""
    crashes: int
    faults: int
    """Strikes of the nemesis and lies."""
    lost_messages: int
    sent_messages: int
    evidence: int
    actions: int
    virtual_ms: int
    settled_after_delays: float
    """How long every honest node took to grow, once all faults had stopped."""
    memory: int
    """The most elements that any honest engine's containers held."""
    amplification: float
    """Messages sent, as a share of what the oracle allows."""
    cpu_seconds: float
