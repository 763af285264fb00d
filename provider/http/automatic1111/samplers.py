"""Automatic1111's samplers and schedule types, and the schedulers that stand for them here.

There a sampler is chosen with a schedule type of its noise levels ("DPM++ 2M" with "Karras"); before version 1.9 both
were one name ("DPM++ 2M Karras"), and clients still send that. Here one name says it all.
"""

from dataclasses import dataclass
from typing import Final

from provider.generation import DEFAULT_SCHEDULER
from provider.jobs.errors import OrderRefused


@dataclass(frozen=True)
class Sampler:
    """One of their samplers: its name and aliases there, our scheduler for the plain schedule and for Karras'."""

    name: str
    plain: str
    aliases: tuple[str, ...] = ()
    karras: str | None = None
    takes_schedules: bool = True
    """False where their program too ignores the schedule type."""
    is_karras_by_default: bool = False


SAMPLERS: Final = (
    Sampler("Default", DEFAULT_SCHEDULER, takes_schedules=False),
    Sampler(
        "DPM++ 2M",
        "dpmpp_2m",
        ("k_dpmpp_2m",),
        karras="dpmpp_2m_karras",
        is_karras_by_default=True,
    ),
    Sampler("Euler a", "euler_a", ("k_euler_a", "k_euler_ancestral")),
    Sampler("Euler", "euler", ("k_euler",)),
    Sampler("LMS", "lms", ("k_lms",)),
    Sampler("Heun", "heun", ("k_heun",)),
    Sampler("DDIM", "ddim", ("ddim",), takes_schedules=False),
    Sampler("DDPM", "ddpm", ("ddpm",), takes_schedules=False),
    Sampler("PLMS", "pndm", ("plms", "PNDM"), takes_schedules=False),
    Sampler("UniPC", "unipc", ("unipc",), takes_schedules=False),
)
"""`Default` is ours: what the model's own folder names, and what is used where nothing is asked for."""

AUTOMATIC: Final = "automatic"
KARRAS: Final = "karras"
SCHEDULE_TYPES: Final = {AUTOMATIC: "Automatic", "uniform": "Uniform", KARRAS: "Karras"}
"""Schedule types by name, with the label that people see; both are taken."""

_PLAIN_TYPES: Final = frozenset({"uniform", "normal"})
_KARRAS_SUFFIX: Final = " karras"
_BY_NAME: Final = {name.lower(): sampler for sampler in SAMPLERS for name in (sampler.name, *sampler.aliases)}


def find_scheduler(sampler_name: str | None, schedule_type: str | None) -> str:
    """Our scheduler for their two names; raises OrderRefused (`sampler_not_found`, `scheduler_not_found`).

    A schedule that cannot be had is refused, not replaced: the picture would not be what was asked for.
    """
    name = (sampler_name or "Default").strip().lower()
    wanted = (schedule_type or AUTOMATIC).strip().lower()
    if name.endswith(_KARRAS_SUFFIX):
        name, wanted = name.removesuffix(_KARRAS_SUFFIX), KARRAS
    sampler = _BY_NAME.get(name)
    if sampler is None:
        raise OrderRefused("Sampler not found", reason="sampler_not_found", field="sampler_name")
    if not sampler.takes_schedules:
        return sampler.plain
    if wanted == AUTOMATIC:
        wanted = KARRAS if sampler.is_karras_by_default else "uniform"
    if wanted in _PLAIN_TYPES:
        return sampler.plain
    if wanted == KARRAS and sampler.karras is not None:
        return sampler.karras
    message = f"Scheduler not found: {sampler.name} has {_schedules_of(sampler)} here"
    raise OrderRefused(message, reason="scheduler_not_found", field="scheduler")


def sampler_of(scheduler: str) -> tuple[str, str]:
    """Their sampler and schedule type for one of our schedulers, as infotexts name them."""
    for sampler in SAMPLERS:
        if scheduler == sampler.karras:
            return sampler.name, SCHEDULE_TYPES[KARRAS]
        if scheduler == sampler.plain:
            return sampler.name, SCHEDULE_TYPES["uniform" if sampler.is_karras_by_default else AUTOMATIC]
    raise LookupError(scheduler)


def _schedules_of(sampler: Sampler) -> str:
    names = ["Automatic", "Uniform", *(["Karras"] if sampler.karras else [])]
    return ", ".join(names)
