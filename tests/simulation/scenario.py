"""What a seed stands for: how many nodes, how bad a network, which faults, who lies."""

from random import Random
from typing import Final

import msgspec

from chain.primitives.certificate import faulty_bound
from tests.simulation.adversary import Malice

NAMED_MALICE: Final = {
    "equivocator": Malice(equivocate=0.7, amplify=0.9, selective=0.2),
    "forker": Malice(fork=0.8, amplify=0.7),
    "voter": Malice(amplify=0.8, contradict=0.3, equivocate=0.2),
    "hider": Malice(withhold=0.6, mute=0.5, fabricate=0.5, selective=0.5, silence=0.1),
    "breaker": Malice(invalid=0.5, unbound=0.3, future=0.3, unjustified=0.3),
    "forger": Malice(forge=0.5, usurp=0.3, unjustified=0.3, slander=0.3),
    "prophet": Malice(future=0.9, invalid=0.1),
    "impostor": Malice(impersonate=0.6, usurp=0.6),
    "babbler": Malice(garble=0.3, replay=0.3, boast=0.3, fabricate=0.5),
    "silent": Malice(silence=0.9, mute=0.9, selective=0.5),
    "everything": Malice(
        equivocate=0.15,
        fork=0.2,
        silence=0.05,
        withhold=0.1,
        invalid=0.1,
        unbound=0.1,
        future=0.1,
        unjustified=0.1,
        usurp=0.1,
        amplify=0.3,
        contradict=0.1,
        selective=0.2,
        mute=0.2,
        fabricate=0.2,
        replay=0.05,
        garble=0.05,
        forge=0.1,
        impersonate=0.05,
        slander=0.05,
        boast=0.05,
    ),
}


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Drawn from a seed. Times in milliseconds; rates per second of virtual time."""

    seed: int
    validator_count: int
    spare_count: int = 0
    """Nodes with a key that no set names at first."""
    follower_count: int = 0
    network_delay_ms: int = 200
    block_interval_ms: int = 0
    heartbeat_ms: int = 4_000
    lowest_ms: int = 1
    highest_ms: int = 40
    loss: float = 0.0
    doubling: float = 0.0
    spikes: float = 0.0
    sync_ms: int = 0
    work_ms: int = 5
    prune_share: float = 1.0
    is_encoded: bool = False
    is_in_order: bool = False
    is_signed_really: bool = False
    is_real: bool = False
    """Real rules on real transactions, instead of the light chain."""
    max_views: int = 25
    """The faults stop when a node has come this far..."""
    fault_ms: int = 20_000
    """...or after this long."""
    crash_rate: float = 0.0
    partition_rate: float = 0.0
    clock_rate: float = 0.0
    disk_rate: float = 0.0
    """Of failing fdatasyncs."""
    lost_journal_rate: float = 0.0
    transaction_rate: float = 5.0
    idle_share: float = 0.0
    """Share of the time in which no transactions come."""
    epoch_changes: int = 0
    delay_changes: bool = False
    is_idle_at_end: bool = False
    calm_factor: float = 0.25
    """The longest way of a message once all faults have stopped, in network delays."""
    malice: tuple[tuple[int, Malice], ...] = ()
    """By validator index."""


def scenario_of(seed: int, validator_count: int | None = None) -> Scenario:
    """The scenario of a seed; without a number of validators the seed chooses, mostly 4."""
    random = Random(f"scenario {seed} {validator_count}")
    count = validator_count or random.choice((1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 5, 5, 7))
    delay_ms = random.choice((100, 200, 200, 500, 1_000))
    has_changes = random.random() < 0.2
    is_calm = random.random() < 0.15
    malice = _malice(random, count)
    rough = 0.0 if is_calm else 1.0
    is_long = random.random() < 0.04
    is_real = random.random() < 0.1
    return Scenario(
        seed=seed,
        validator_count=count,
        spare_count=random.choice((1, 2)) if has_changes else 0,
        follower_count=random.choice((0, 0, 0, 1)),
        network_delay_ms=delay_ms,
        block_interval_ms=random.choice((0, 0, delay_ms // 4, 500)),
        heartbeat_ms=max(1_000, delay_ms * random.choice((10, 20, 60))),  # Governance allows no shorter one.
        lowest_ms=random.choice((1, 1, delay_ms // 20)),
        highest_ms=max(2, int(delay_ms * random.choice((0.05, 0.2, 0.4)))),
        loss=rough * random.choice((0, 0, 0.01, 0.05, 0.2)),
        doubling=rough * random.choice((0, 0, 0.05, 0.2)),
        spikes=rough * random.choice((0, 0, 0.02, 0.1)),
        sync_ms=random.choice((0, 0, 0, delay_ms // 20, delay_ms // 5)),
        work_ms=max(1, int(delay_ms * random.choice((0.01, 0.1, 0.3)))),
        prune_share=random.choice((1.0, 0.3, 0.0)),
        is_encoded=random.random() < 0.1,
        is_in_order=random.random() < 0.3,
        is_signed_really=is_real or random.random() < 0.05,
        is_real=is_real,
        max_views=random.choice((15, 20, 25, 30)) if not is_long else 150,
        fault_ms=delay_ms * (150 if not is_long else 1_000),
        crash_rate=rough * random.choice((0, 0.5, 1, 3)) * 100 / delay_ms,
        partition_rate=rough * random.choice((0, 0.3, 1)) * 100 / delay_ms if count > 1 else 0,
        clock_rate=rough * random.choice((0, 0, 0.5)) * 100 / delay_ms,
        disk_rate=rough * random.choice((0, 0, 0.3)) * 100 / delay_ms,
        lost_journal_rate=rough * random.choice((0, 0, 0, 0.5)) * 100 / delay_ms,
        transaction_rate=random.choice((0.5, 2, 5)) * 200 / delay_ms,
        idle_share=random.choice((0, 0, 0.5, 0.9)),
        epoch_changes=random.randrange(1, 4) if has_changes else 0,
        delay_changes=random.random() < 0.05,
        is_idle_at_end=random.random() < 0.15,
        calm_factor=random.choice((0.25, 0.25, 0.25, 0.25, 0.8)),
        malice=malice,
    )


def _malice(random: Random, validator_count: int) -> tuple[tuple[int, Malice], ...]:
    """At most f liars; none in a third of the seeds."""
    bound = faulty_bound(validator_count)
    if not bound or random.random() < 0.35:
        return ()
    indexes = random.sample(range(validator_count), random.randrange(1, bound + 1))
    kind = random.choice(list(NAMED_MALICE))
    return tuple((index, NAMED_MALICE[kind]) for index in sorted(indexes))
