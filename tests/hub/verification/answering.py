"""Answers of the cheat bench's providers: pictures, what they commit to, and the openings of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from chain.primitives.hashing import sha256
from chain.primitives.provider_messages import Opened, OpenedStep
from chain.primitives.receipt import Receipt, combined_artifact_sha256
from chain.primitives.trajectory import open_step, trajectory_root
from chain.primitives.types import Address, Amount, Hash32
from chain.primitives.worker_fields import PictureRun, Place, ProfileClaim
from chain.primitives.worker_messages import attachment_of
from hub.verification.challenges import context_of
from hub.verification.examination import Subject

PROVIDER: Final = Address(b"\x11" * 20)
LEASE: Final = "lease-1"
SALT: Final = b"\x07" * 32


def receipt_of(run: PictureRun, pictures: Sequence[bytes], *, job_id: str = "job-1") -> Receipt:
    """Without a commitment."""
    return Receipt(
        job_id=job_id,
        provider=PROVIDER,
        client="client-1",
        micro_units=10**6 * run.count,
        unit_type="images",
        model=run.model,
        prompt_hash=run.prompt_hash(SALT),
        request_hash=Hash32(b"\x05" * 32),
        started_at=1_770_000_000,
        finished_at=1_770_000_002,
        artifact_sha256=combined_artifact_sha256([sha256(picture) for picture in pictures]),
        nonce=LEASE,
        hub_id="hub-1",
        chain_id=424_242,
        price_per_unit=Amount(10**15),
        amount=Amount(10**15 * run.count),
    ).checked()


@dataclass(frozen=True)
class Made:
    """One picture with everything of its run."""

    picture: bytes
    entries: tuple[bytes, ...]
    profile: ProfileClaim


@dataclass(frozen=True)
class Answer:
    """What a provider has delivered, and all latents that it has committed to."""

    run: PictureRun
    receipt: Receipt
    profiles: tuple[ProfileClaim, ...]
    pictures: tuple[bytes, ...]
    entries: tuple[tuple[bytes, ...], ...]

    @property
    def subject(self) -> Subject:
        """As the hub sees it."""
        return Subject(LEASE, PROVIDER, self.receipt, self.run, self.profiles, self.pictures)

    def open(self, places: Sequence[Place]) -> tuple[Opened, tuple[bytes, ...]]:
        """As a provider answers OpenSteps."""
        context = context_of(self.receipt, self.profiles)
        digests = [[sha256(entry) for entry in entries] for entries in self.entries]
        openings = [open_step(context, digests, picture=place.picture, step=place.step) for place in places]
        latents = tuple(self.entries[place.picture][place.step] for place in places)
        message = Opened(
            order_id="order-1",
            profiles=self.profiles,
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
        return message, latents


def answer_of(run: PictureRun, made: Sequence[Made], *, job_id: str = "job-1") -> Answer:
    """Committed to as it is, whether it is true or not."""
    pictures = tuple(each.picture for each in made)
    profiles = tuple(each.profile for each in made)
    entries = tuple(each.entries for each in made)
    receipt = receipt_of(run, pictures, job_id=job_id)
    digests = [[sha256(entry) for entry in each] for each in entries]
    root = trajectory_root(context_of(receipt, profiles), digests)
    return Answer(run, msgspec.structs.replace(receipt, trajectory_root=root), profiles, pictures, entries)
