"""How many views of the consensus engine are simulated per second of CPU time, with all faults and oracles."""

from tests.benchmarks.measuring import Table
from tests.simulation.scenario import scenario_of
from tests.simulation.simulation import simulate

_SIZES = (4, 7)
_FIRST_SEED = 20_261_122


def simulation_speed(seeds: int) -> Table:
    """Of one process; seeds are independent, so cores add up."""
    rows = []
    for size in _SIZES:
        reports = [simulate(scenario_of(_FIRST_SEED + number, size)) for number in range(seeds)]
        views, cpu_seconds = sum(each.views for each in reports), sum(each.cpu_seconds for each in reports)
        rows.append((str(size), f"{views:,}", f"{views / cpu_seconds:,.0f}"))
    return Table(f"Simulated views, {seeds} seeds", ("validators", "views", "views per CPU second"), tuple(rows))
