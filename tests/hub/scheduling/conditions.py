"""Random fleets and days, from a seed: machines of every kind, clients of every size, joining, leaving, failing."""

import math
import random
from typing import Final

from hub.scheduling.assignment import SchedulingOptions
from hub.scheduling.policies.policy import Policy
from hub.scheduling.runs import PRIORITIES
from hub.scheduling.work import picture_work
from hub.scheduling.workers import Standing
from tests.hub.scheduling.fleet import FleetSimulation, Order
from tests.hub.scheduling.machines import MODEL, REFERENCE_WORK, Machine, need

OTHER_MODEL: Final = "other"
_SIDES: Final = (256, 512, 768, 1024)


def random_machine(number: int, rng: random.Random) -> Machine:
    """Most are honest; some fail, fall silent or stumble."""
    return Machine(
        number,
        picture_s=math.exp(rng.uniform(0, math.log(8))),
        noise=rng.uniform(0.02, 0.3),
        tail=rng.choice((0.0, 0.0, 0.01)),
        fails=rng.choice((0.0, 0.0, 0.0, 0.02, 0.9)),
        silent=rng.choice((0.0, 0.0, 0.0, 0.01)),
        overhead_s=rng.uniform(0.01, 0.3),
        models=rng.choice(((MODEL,), (MODEL,), (MODEL, OTHER_MODEL), (OTHER_MODEL, MODEL))),
        most_loaded=rng.choice((1, 2)),
        load_s=rng.uniform(2, 20),
        price=rng.choice((5, 10, 20)),
        vram_mib=rng.choice((8_192, 24_576)),
        concurrency=rng.choice((1, 1, 1, 2, 4)),
        standing=rng.choice((Standing.NEW, Standing.NORMAL, Standing.NORMAL, Standing.PROVEN)),
        is_measured=rng.random() < 0.9,
    )


def random_order(at_s: float, rng: random.Random) -> Order:
    """Mostly one picture of the usual size; a quarter of several."""
    side = rng.choices(_SIDES, (1, 6, 2, 1))[0]
    return Order(
        at_s,
        pictures=rng.choices((1, 4, 16, 64, rng.randrange(2, 200)), (75, 12, 7, 3, 3))[0],
        client=rng.choices(("hog", "shop", "artist", f"visitor {rng.randrange(50)}"), (5, 3, 1, 1))[0],
        need=need(
            model=rng.choices((MODEL, OTHER_MODEL), (4, 1))[0],
            pixels=side * side,
            work=picture_work(side, side, rng.choice((20, 30, 50)), is_guided=True),
            unit_type="images",
            price_per_unit=rng.choice((20, 20, 20, 10)),
            min_vram_mib=rng.choice((0, 0, 0, 16_000)),
        ),
        priority=rng.choice((5, 5, 5, *PRIORITIES)),
    )


def random_simulation(seed: int, jobs: int) -> FleetSimulation:
    """A day of so many jobs: from a nearly idle fleet to one that has a fifth more to do than it can."""
    rng = random.Random(seed)
    # Two that can do everything are always there, or a job could wait for ever.
    sound = {"models": (MODEL, OTHER_MODEL), "most_loaded": 2, "price": 5, "vram_mib": 24_576}
    machines = [Machine(number, picture_s=2.0, **sound) for number in (1, 2, 3)]  # type: ignore[arg-type]
    machines += [random_machine(number, rng) for number in range(4, 4 + rng.randrange(1, 16))]
    capacity = sum(machine.concurrency * REFERENCE_WORK / machine.picture_s for machine in machines)
    load = rng.uniform(0.2, 1.2)
    orders: list[Order] = []
    now_s = 0.0
    for _ in range(jobs):
        order = random_order(now_s, rng)
        orders.append(order)
        now_s += rng.expovariate(1) * order.pictures * order.need.work / (capacity * load)
    options = SchedulingOptions(policy=rng.choice(list(Policy)), newcomer_share=rng.choice((0.05, 0.1, 0.2)))
    simulation = FleetSimulation(seed, machines, orders, options)
    for machine in machines[3:]:
        if rng.random() < 0.3:
            simulation.leave(rng.uniform(0, now_s), machine)
    for number in range(100, 100 + rng.randrange(4)):
        simulation.join(rng.uniform(0, now_s), random_machine(number, rng))
    return simulation
