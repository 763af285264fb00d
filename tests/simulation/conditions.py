"""Under which conditions a fault shows: scenarios that are mostly one thing."""

from collections.abc import Callable

import msgspec

from tests.simulation.scenario import NAMED_MALICE, Scenario


def quiet(seed: int) -> Scenario:
    """Nothing goes wrong."""
    return Scenario(seed=seed, validator_count=4, max_views=25, fault_ms=10_000)


def lossy(seed: int) -> Scenario:
    """Messages are lost and late: views are given up, and certificates differ from node to node."""
    return msgspec.structs.replace(quiet(seed), loss=0.25, spikes=0.2, highest_ms=120, max_views=40)


def crashing(seed: int) -> Scenario:
    """Every node dies again and again, some of them together."""
    return msgspec.structs.replace(lossy(seed), loss=0.1, crash_rate=3.0, sync_ms=20, fault_ms=20_000)


def with_liar(name: str, validator_count: int = 4) -> Callable[[int], Scenario]:
    """One liar, some loss."""

    def scenario(seed: int) -> Scenario:
        return msgspec.structs.replace(
            quiet(seed),
            validator_count=validator_count,
            highest_ms=80,
            loss=0.05,
            max_views=40,
            malice=((seed % validator_count, NAMED_MALICE[name]),),
        )

    return scenario


def changing(seed: int) -> Scenario:
    """Epochs end."""
    return msgspec.structs.replace(lossy(seed), spare_count=1, epoch_changes=3, max_views=50, transaction_rate=20)


def losing_journals(seed: int) -> Scenario:
    """A validator loses its journal, and says so."""
    return msgspec.structs.replace(lossy(seed), lost_journal_rate=4.0)
