"""The cheats of the bench, each as clever as it can be at no more cost than its shortcut.

Each commits to a whole run: what the seed gives at its beginning, as it must be, and something likely in between.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import msgspec
import torch
from PIL import Image

from chain.primitives.worker_fields import PictureRun
from tests.hub.verification.answering import Answer, Made, answer_of
from tests.hub.verification.machines import (
    Machine,
    claim_of,
    key_of,
    prune_half_of_the_weights,
    quantise_to_int8,
    row_of,
    zero_half_of_the_channels,
)


@dataclass
class Workshop:
    """The machines of one precision, honest and impaired; loaded when they are first used."""

    precision: str

    @cached_property
    def honest(self) -> Machine:
        return Machine(self.precision)

    @cached_property
    def halved(self) -> Machine:
        return Machine(self.precision, zero_half_of_the_channels)

    @cached_property
    def pruned(self) -> Machine:
        return Machine(self.precision, prune_half_of_the_weights)

    @cached_property
    def int8(self) -> Machine:
        return Machine(self.precision, quantise_to_int8)


@dataclass(frozen=True)
class Earlier:
    """An answer that the hub has accepted before, of another request."""

    run: PictureRun
    made: Made


Cheat = Callable[[Workshop, PictureRun, Earlier], Answer]


def fewer_steps(share: float) -> Cheat:
    """A shorter run, with what lies between its entries interpolated."""

    def cheat(shop: Workshop, run: PictureRun, _earlier: Earlier) -> Answer:
        machine = shop.honest
        shorter = msgspec.structs.replace(run, steps=max(1, round(run.steps * share)))
        made = machine.make(shorter)
        wanted = len(machine.clean_shares(run))
        values = [machine.tensor(entry, made.profile) for entry in made.entries]
        # Where a scheduler's noise is larger in a longer run, the first entry is the seed's own.
        first = machine.tensor(start_of(machine, run), made.profile)
        stretched = [at(values, place * (len(values) - 1) / (wanted - 1)) for place in range(wanted)]
        return answer_of(run, [with_entries(machine, made, [first, *stretched[1:]])])

    return cheat


def impaired(which: str) -> Cheat:
    """The whole run by another model."""

    def cheat(shop: Workshop, run: PictureRun, _earlier: Earlier) -> Answer:
        machine: Machine = getattr(shop, which)
        return answer_of(run, [machine.make(run)])

    return cheat


def another_seed(shop: Workshop, run: PictureRun, _earlier: Earlier) -> Answer:
    """A run that is at hand for the same prompt, behind the right beginning."""
    made = shop.honest.make(msgspec.structs.replace(run, seed=run.seed + 7_919))
    return answer_of(run, [replace(made, entries=(start_of(shop.honest, run), *made.entries[1:]))])


def stale_picture(shop: Workshop, run: PictureRun, earlier: Earlier) -> Answer:
    """The file of an earlier answer, with the run that it came from, as far as that is as long."""
    return forged(shop.honest, run, earlier.made.picture)


def copied_picture(shop: Workshop, run: PictureRun, earlier: Earlier) -> Answer:
    """Another's picture, a little brighter, so that no file is the same, with a run forged from its latents."""
    with Image.open(io.BytesIO(earlier.made.picture)) as opened:
        image = opened.convert("RGB").point([min(255, level + 2) for level in range(256)] * 3)
    return forged(shop.honest, run, as_png(image))


def upscaled(shop: Workshop, run: PictureRun, _earlier: Earlier) -> Answer:
    """A picture of half the size, made larger, with a run forged from its latents."""
    half = msgspec.structs.replace(run, width=run.width // 2, height=run.height // 2)
    made = shop.honest.make(half)
    with Image.open(io.BytesIO(made.picture)) as opened:
        image = opened.convert("RGB").resize((run.width, run.height), Image.Resampling.LANCZOS)
    return forged(shop.honest, run, as_png(image))


def forged(machine: Machine, run: PictureRun, picture: bytes) -> Answer:
    """A run that ends in the picture's own latents, with as much of the seed's noise as there is at each step: what a
    perfect model would have gone through."""
    start = start_of(machine, run)
    claim = claim_of(machine.worker.profile(key_of(run)))
    clean = machine.encode(picture)
    noise = machine.tensor(start, claim)
    noise = noise / noise.square().mean().sqrt()
    is_preserved = machine.is_variance_preserved(run)
    entries = [
        (share**0.5 if is_preserved else 1.0) * clean
        + ((1 - share) ** 0.5 if is_preserved else (1 / share - 1) ** 0.5) * noise
        for share in machine.clean_shares(run)[1:-1]
    ]
    made = Made(picture, (), claim)
    stored = [start, *(machine.entry(values) for values in (*entries, clean))]
    return answer_of(run, [replace(made, entries=tuple(stored))])


CHEATS: Final[dict[str, Cheat]] = {
    "half of the steps": fewer_steps(0.5),
    "three quarters of the steps": fewer_steps(0.75),
    "half of the channels": impaired("halved"),
    "half of the weights": impaired("pruned"),
    "int8": impaired("int8"),
    "another seed": another_seed,
    "stale picture": stale_picture,
    "copy of another's picture": copied_picture,
    "upscaled from half the size": upscaled,
}


def start_of(machine: Machine, run: PictureRun) -> bytes:
    """Entry 0, which the seed alone gives."""
    return machine.worker.rerun_step(key_of(run), row_of(run), 0, {})


def with_entries(machine: Machine, made: Made, values: Sequence[torch.Tensor]) -> Made:
    """The last one is the true one, so that the picture is what it decodes to."""
    return replace(made, entries=(*(machine.entry(each) for each in values[:-1]), made.entries[-1]))


def at(values: Sequence[torch.Tensor], place: float) -> torch.Tensor:
    """Between two entries."""
    before = min(int(place), len(values) - 2)
    part = place - before
    return (1 - part) * values[before] + part * values[before + 1]


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
