"""How soon the hub's scheduler has a large job done, against the optimum; simulated fleets, so no machine matters."""

import random
import statistics
from typing import Any, Final

from tests.benchmarks.measuring import Table, percentile
from tests.hub.scheduling.fleet import FleetSimulation, Order
from tests.hub.scheduling.machines import unequal_machines
from tests.hub.scheduling.optimum import optimum_s

PICTURES: Final = 64
WORKERS: Final = 8
CONDITIONS: Final[dict[str, dict[str, Any]]] = {
    "shards take what their workers take on average": {"noise": 0.0},
    "each varies by 15 %": {"noise": 0.15},
    "each varies by 30 %": {"noise": 0.3},
    "15 %, and three shards in a hundred take five times as long": {"noise": 0.15, "tail": 0.03},
    "15 %, and one in twenty fails": {"noise": 0.15, "fails": 0.05},
    "15 %, and one in fifty never comes back": {"noise": 0.15, "silent": 0.02},
}


def makespan(seeds: int) -> Table:
    """A job of 64 pictures over eight providers, of whom the slowest may take eight times as long as the fastest."""
    rows = []
    for what, nature in CONDITIONS.items():
        ratios, shards, reissued = [], [], []
        for seed in range(seeds):
            machines = unequal_machines(random.Random(seed), WORKERS, **nature)
            simulation = FleetSimulation(seed, machines, [Order(0.0, pictures=PICTURES)])
            simulation.run()
            ratios.append(simulation.jobs[0].took_s / optimum_s(machines, PICTURES))
            shards.append(simulation.jobs[0].shards)
            reissued.append(simulation.reissued)
        rows.append(
            (
                what,
                f"**{statistics.mean(ratios):.3f}**",
                f"{statistics.median(ratios):.3f}",
                f"{percentile(ratios, 0.9):.3f}",
                f"{max(ratios):.3f}",
                f"{statistics.mean(shards):.0f}",
                f"{statistics.mean(reissued):.2f}",
            )
        )
    return Table(
        f"Makespan of {PICTURES} pictures over {WORKERS} unequal providers, {seeds} simulated fleets",
        ("fleet", "mean over optimum (aim: 1.15)", "p50", "p90", "worst", "shards", "given to a second worker"),
        tuple(rows),
    )
