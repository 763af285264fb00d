"""Providers that dial in, whose model is a chain of sums: they commit to runs, open them, and check each other's."""

import hashlib
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from PIL import Image

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import to_hex
from chain.primitives.hub_messages import Assignment, CheckSteps, ComputePictures, OpenSteps, PlanCheck, Suspended
from chain.primitives.provider_messages import Checked, Computed, Opened, OpenedStep, Plan, Result
from chain.primitives.receipt import Receipt, sign_receipt
from chain.primitives.trajectory import open_step, trajectory_root
from chain.primitives.worker_fields import PictureRun, Place, ProfileClaim
from chain.primitives.worker_message import Message, Refused
from chain.primitives.worker_messages import attachment_of, raw_json
from hub.verification.challenges import context_of
from hub.verification.examination import single_run
from tests.hub.dialled import DialledProvider
from tests.hub.verification.toy_model import COUNT, PROFILE, entry, packed


def entries_of(run: PictureRun, steps: int | None = None) -> tuple[bytes, ...]:
    """What every honest toy computes of a run of one picture."""
    return tuple(entry(run, step) for step in range((run.steps if steps is None else steps) + 1))


def picture_of(run: PictureRun, latents: bytes) -> bytes:
    """64 latents as grey cells."""
    values = struct.unpack(f"<{COUNT}f", latents)
    cells = bytes(min(255, max(0, round(128 + 24 * value))) for value in values)
    image = Image.frombytes("L", (8, 8), cells).resize((run.width, run.height), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Committed:
    """A receipt, and all that it commits to."""

    receipt: Receipt
    entries: tuple[tuple[bytes, ...], ...]


@dataclass
class Toy(DialledProvider):
    """Honest unless a field says otherwise; `told` is what happened to it, in order."""

    other_seed: bool = False
    """Makes another picture than was asked for, with a true run of its own."""
    silent: bool = False
    """Does not open what it has committed to."""
    contrary: bool = False
    """As a checker: comes to something else than everybody."""
    checks: bool = True
    near_copy_of: bytes | None = None
    """A picture that it hands in again, a little changed."""
    stale: bytes | None = None
    """A picture that it hands in again as it is."""
    told: list[str] = field(default_factory=list)
    opened: dict[str, list[Place]] = field(default_factory=dict)
    """By lease: which entries it was asked for."""
    computed: list[str] = field(default_factory=list)
    """What for."""
    suspended: list[Suspended] = field(default_factory=list)
    committed: dict[str, Committed] = field(default_factory=dict)
    claim: ProfileClaim = PROFILE

    async def serve(self, assignment: Assignment) -> None:
        """Computes, commits and delivers."""
        run = assignment.run
        made = [single_run(run, index) for index in range(run.count)]
        if self.other_seed:
            made = [msgspec.structs.replace(each, seed=each.seed + 1) for each in made]
        entries = tuple(entries_of(each) for each in made)
        pictures = [picture_of(each, every[-1]) for each, every in zip(made, entries, strict=True)]
        if self.near_copy_of is not None:
            pictures = [_changed(self.near_copy_of)]
        if self.stale is not None:
            pictures = [self.stale]
        profiles = (self.claim,) * run.count
        plain = self.receipt(assignment, pictures)
        root = trajectory_root(context_of(plain, profiles), [[sha256(each) for each in every] for every in entries])
        receipt = msgspec.structs.replace(plain, trajectory_root=root)
        self.receipts[to_hex(receipt.hash)] = receipt
        self.committed[assignment.lease_id] = Committed(receipt, entries)
        self.told.append(f"committed {assignment.lease_id}")
        result = Result(
            lease_id=assignment.lease_id,
            receipt=raw_json(receipt.to_object()),
            provider_signature=to_hex(sign_receipt(self.key, receipt)),
            seeds=tuple(run.seed_of(index) for index in range(run.count)),
            profiles=profiles,
            duration_ms=5,
            compute_microseconds=5_000,
            gpu="a toy",
            pictures=tuple(attachment_of(each) for each in pictures),
        )
        await self.say(result, tuple(pictures))

    async def _hear(self, message: Message) -> None:
        match message:
            case Suspended():
                self.suspended.append(message)
            case OpenSteps():
                await self._open(message)
            case PlanCheck() | CheckSteps() | ComputePictures() if not self.checks:
                refusal = Refused(about=message.order_id, reason="not_now", detail="checks nobody")
                await self.say(refusal)
            case PlanCheck():
                needed = tuple(() if place.step == 0 else (place.step - 1,) for place in message.places)
                await self.say(Plan(order_id=message.order_id, evaluations=message.run.steps, needed=needed))
            case CheckSteps():
                await self._check(message)
            case ComputePictures():
                await self._compute(message)
            case _:
                await super()._hear(message)

    async def _open(self, order: OpenSteps) -> None:
        self.told.append(f"opened {order.lease_id}")
        self.opened.setdefault(order.lease_id, []).extend(order.places)
        if self.silent:
            await self.say(Refused(about=order.order_id, reason="unknown_lease", detail="nothing is kept here"))
            return
        committed = self.committed[order.lease_id]
        profiles = (self.claim,) * len(committed.entries)
        context = context_of(committed.receipt, profiles)
        digests = [[sha256(each) for each in every] for every in committed.entries]
        openings = [open_step(context, digests, picture=place.picture, step=place.step) for place in order.places]
        latents = tuple(committed.entries[place.picture][place.step] for place in order.places)
        answer = Opened(
            order_id=order.order_id,
            profiles=profiles,
            openings=tuple(
                OpenedStep(
                    picture=opening.picture,
                    pictures=opening.pictures,
                    step=opening.step,
                    steps=opening.steps,
                    latents_sha256=opening.latents_sha256.hex(),
                    siblings=tuple("0x" + sibling.hex() for sibling in opening.siblings),
                )
                for opening in openings
            ),
            latents=tuple(attachment_of(each) for each in latents),
        )
        await self.say(answer, latents)

    async def _check(self, order: CheckSteps) -> None:
        made = entries_of(order.run)
        latents = tuple(packed([9.0] * COUNT) if self.contrary else made[place.step] for place in order.places)
        answer = Checked(
            order_id=order.order_id,
            profile=self.claim,
            expected_rms=(1.5,) * len(latents),
            latents=tuple(attachment_of(each) for each in latents),
        )
        await self.say(answer, latents)

    async def _compute(self, order: ComputePictures) -> None:
        self.computed.append(order.purpose)
        run = msgspec.structs.replace(order.run, seed=order.run.seed + 1) if self.contrary else order.run
        last = entries_of(run)[-1]
        content = picture_of(run, last)
        answer = Computed(
            order_id=order.order_id,
            profiles=(self.claim,),
            compute_microseconds=1,
            duration_ms=1,
            digests=(),
            pictures=(attachment_of(content),),
            latents=(attachment_of(last),),
        )
        await self.say(answer, (content, last))


async def serve(provider: DialledProvider, assignment: Assignment) -> None:
    """As a toy's behaviour."""
    assert isinstance(provider, Toy)
    await provider.serve(assignment)


def _changed(picture: bytes) -> bytes:
    """Other bytes, which look the same."""
    with Image.open(io.BytesIO(picture)) as opened:
        image = opened.convert("RGB")
    image.putpixel((0, 0), (image.getpixel((0, 0))[0] ^ 1,) * 3)  # type: ignore[index]
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def digests_of(pictures: Sequence[bytes]) -> list[str]:
    """As the hub keeps them."""
    return [hashlib.sha256(each).hexdigest() for each in pictures]
