"""Providers without a model: a run is a chain of sums, so an examination's own decisions are tested in milliseconds."""

import io
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import msgspec
from PIL import Image

from chain.primitives.latents import narrowed, widened
from chain.primitives.provider_messages import Checked, Computed, Opened, Plan
from chain.primitives.types import Address
from chain.primitives.worker_fields import PictureRun, Place, ProfileClaim
from chain.primitives.worker_messages import attachment_of
from hub.verification.errors import Unanswered
from tests.hub.verification.answering import Answer, Made, answer_of

SIDE = 32
SHAPE = (4, 4, 4)
COUNT = math.prod(SHAPE)
READ = 77
"""Characters of a prompt that a toy reads: as Stable Diffusion's text encoders, which read 77 tokens."""
RUN = PictureRun(
    model="toy/model",
    prompts=("a lighthouse",),
    steps=10,
    guidance=4.0,
    width=SIDE,
    height=SIDE,
    seed=7,
    scheduler="ddim",
)
PROFILE = ProfileClaim(
    weights_sha256="ab" * 32,
    scheduler="DDIMScheduler",
    dtype="float32",
    device_class="Toy 1.0",
    batch_rows=1,
    latent_shape=SHAPE,
    versions={"toy": "1"},
)


def profile(**fields: object) -> ProfileClaim:
    return msgspec.structs.replace(PROFILE, **fields)


def packed(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def entry(run: PictureRun, step: int, error: float = 0.0) -> bytes:
    """What every honest toy computes, apart from rounding of that relative size."""
    prompt = run.prompts[0][:READ]
    start = Random(f"{prompt}/{run.seed}")
    values = [start.gauss(0, 1) for _ in range(COUNT)]
    drift = Random(f"drift/{prompt}")
    slopes = [drift.gauss(0, 0.3) for _ in range(COUNT)]
    rounding = Random(f"rounding/{step}")
    return packed(
        [
            (value + step * slope) * (1 + error * rounding.choice((-1, 1)))
            for value, slope in zip(values, slopes, strict=True)
        ]
    )


def shortened(raw: bytes) -> bytes:
    """float32 as bfloat16, cut off."""
    return bytes(byte for at, byte in enumerate(raw) if at % 4 >= 2)


def picture(run: PictureRun, latents: bytes) -> bytes:
    """64 latents as grey cells of a picture in the run's format."""
    values = struct.unpack(f"<{COUNT}f", latents)
    cells = bytes(min(255, max(0, round(128 + 24 * value))) for value in values)
    image = Image.frombytes("L", (8, 8), cells).resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format=run.image_format.upper(), quality=run.quality)
    return buffer.getvalue()


def made(run: PictureRun, error: float = 0.0, claim: ProfileClaim = PROFILE) -> Made:
    entries = tuple(entry(run, step, error) for step in range(run.steps + 1))
    return Made(picture(run, entries[-1]), entries, claim)


def honest(run: PictureRun = RUN, error: float = 0.0, claim: ProfileClaim = PROFILE) -> Answer:
    """Of all the run's pictures."""
    runs = [msgspec.structs.replace(run, seed=run.seed_of(index), count=1) for index in range(run.count)]
    return answer_of(run, [made(each, error, claim) for each in runs])


@dataclass
class Toy:
    """A checker. `contrary` says that everything is wrong, `silent` never answers, `fainthearted` refuses latents."""

    error: float = 0.0
    claim: ProfileClaim = PROFILE
    evaluations: int | None = None
    contrary: bool = False
    silent: bool = False
    refuses: str | None = None
    rounding: float | None = None
    """That it says to have, at every step."""
    needs_more: int = 0
    """Entries beyond the step itself that it wants to be opened."""

    def answers(self) -> None:
        if self.silent:
            raise Unanswered("no answer within 600 s", reason="worker_timed_out")


@dataclass
class ToyHands:
    """An answer's provider, and checkers in the order in which they are asked."""

    answer: Answer
    checkers: Sequence[Toy]
    opens: bool = True
    tampered: Mapping[Place, bytes] = field(default_factory=dict)
    """Latents that the provider shows in place of those that it has committed to."""
    opened: list[Place] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    async def find_checker(
        self, run: PictureRun, *, excluded: frozenset[Address], profile: ProfileClaim | None
    ) -> Address | None:
        for number in range(len(self.checkers)):
            if address(number) not in excluded:
                self.asked.append(number)
                return address(number)
        return None

    async def open_steps(
        self, provider: Address, *, lease_id: str, places: Sequence[Place]
    ) -> tuple[Opened, Sequence[bytes]]:
        if not self.opens:
            raise Unanswered("the connection has ended", reason="worker_gone")
        self.opened += places
        message, latents = self.answer.open(places)
        return message, [self.tampered.get(place, raw) for place, raw in zip(places, latents, strict=True)]

    async def plan_check(self, provider: Address, run: PictureRun, places: Sequence[Place]) -> Plan:
        toy = self._toy(provider)
        toy.answers()
        needed = tuple(() if place.step == 0 else (place.step - 1 + toy.needs_more,) for place in places)
        return Plan(order_id="order-1", evaluations=toy.evaluations or run.steps, needed=needed)

    async def check_steps(
        self,
        provider: Address,
        run: PictureRun,
        places: Sequence[Place],
        opened: Mapping[Place, bytes],
        *,
        batch_rows: int,
        dtype: str,
    ) -> tuple[Checked, Sequence[bytes]]:
        toy = self._toy(provider)
        toy.answers()
        if toy.refuses is not None:
            raise Unanswered("these latents are no run's", reason=toy.refuses)
        opened = {place: widened(raw, toy.claim.dtype) for place, raw in opened.items()}
        latents = [narrowed(self._step(toy, run, place, opened), toy.claim.dtype) for place in places]
        message = Checked(
            order_id="order-1",
            profile=toy.claim,
            expected_rms=(1.5,) * len(places),
            rounding=() if toy.rounding is None else (toy.rounding,) * len(places),
            latents=tuple(attachment_of(each) for each in latents),
        )
        return message, latents

    async def compute(
        self, provider: Address, run: PictureRun, *, purpose: str
    ) -> tuple[Computed, Sequence[bytes], Sequence[bytes]]:
        toy = self._toy(provider)
        toy.answers()
        seed = run.seed + 1 if toy.contrary else run.seed
        again = made(msgspec.structs.replace(run, seed=seed), toy.error, toy.claim)
        last = again.entries[-1] if toy.claim.dtype == "float32" else shortened(again.entries[-1])
        message = Computed(
            order_id="order-1",
            profiles=(toy.claim,),
            compute_microseconds=1,
            duration_ms=1,
            digests=(),
            pictures=(attachment_of(again.picture),),
            latents=(attachment_of(last),),
        )
        return message, [again.picture], [last]

    def _toy(self, provider: Address) -> Toy:
        return self.checkers[provider[-1] - 1]

    def _step(self, toy: Toy, run: PictureRun, place: Place, opened: Mapping[Place, bytes]) -> bytes:
        """The step's change, added to what was opened: like a real step, it depends on the entry before it."""
        if toy.contrary:
            return packed([1.0] * COUNT)
        if place.step == 0:
            return entry(run, 0, toy.error)
        before = struct.unpack(f"<{COUNT}f", opened[Place(picture=0, step=place.step - 1)])
        change = [
            later - earlier
            for later, earlier in zip(
                struct.unpack(f"<{COUNT}f", entry(run, place.step, toy.error)),
                struct.unpack(f"<{COUNT}f", entry(run, place.step - 1)),
                strict=True,
            )
        ]
        return packed([value + difference for value, difference in zip(before, change, strict=True)])


def address(number: int) -> Address:
    """Of a checker."""
    return Address(b"\x22" * 19 + bytes((number + 1,)))
