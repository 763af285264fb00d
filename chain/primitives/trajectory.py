"""What a provider commits to of a run: the latents before the first step and after each, as one Merkle root.

The root stands in the receipt. Whoever doubts a run asks for some of its steps, chosen only now; the provider opens
them with the latents and their path, and they are computed again. The context binds the root to one job, request and
artifact, and to the reproducibility profile that the provider declared: a root cannot be carried to another receipt.

context = H(tag ‖ RFC 8785 of its fields)
item    = H(tag ‖ context ‖ pictures u32 ‖ steps u32 ‖ picture u32 ‖ step u32 ‖ H(latents))
root    = `merkle.list_root` over the items, picture by picture, each with its steps in order

H is SHA-256. Step 0 is what the first step starts from, so a run of s steps has s + 1 items per picture. The tags, and
the tree's own first bytes, keep a context, an item, a leaf and a node from passing for one another.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
import rfc8785

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_address, parse_hash, to_checksum_address, to_hex
from chain.primitives.merkle import list_proof, list_root, verify_list_proof
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import check_keys
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.types import Address, Hash32

MAX_PICTURES: Final = 1_024
MAX_STEPS: Final = 4_096
"""Latents of one picture: above any scheduler's evaluations for the steps that a request may ask for."""
_MAX_SIBLINGS: Final = 22  # 2^22 = MAX_PICTURES × MAX_STEPS

_CONTEXT_TAG: Final = b"aitbc/trajectory/context/1\0"
_ITEM_TAG: Final = b"aitbc/trajectory/latents/1\0"

_JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")
_HUB_ID: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._:\-]{0,63})?")
_SHA256_DIGITS: Final = re.compile(r"[0-9a-f]{64}")


class TrajectoryContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a trajectory belongs to; the fields are the receipt's, beside the profile."""

    chain_id: int
    hub_id: str
    job_id: str
    provider: Address
    request_hash: Hash32
    artifact_sha256: str
    profiles_hash: Hash32
    """Of the reproducibility profiles that the provider declared for the pictures, in order."""

    def to_object(self) -> dict[str, Any]:
        """The JSON object that the hash is taken of."""
        return {
            "artifact_sha256": self.artifact_sha256,
            "chain_id": self.chain_id,
            "hub_id": self.hub_id,
            "job_id": self.job_id,
            "profiles_hash": to_hex(self.profiles_hash),
            "provider": to_checksum_address(self.provider),
            "request_hash": to_hex(self.request_hash),
        }

    @property
    def hash(self) -> Hash32:
        """What every item of the trajectory carries."""
        return sha256(_CONTEXT_TAG + rfc8785.dumps(self.to_object()))

    @classmethod
    def from_object(cls, fields: object) -> Self:
        """From `to_object`'s parsed JSON, strictly; raises Rejected that names the field."""
        known = check_keys(fields, cls.__struct_fields__, "context")
        chain_id = known["chain_id"]
        if isinstance(chain_id, bool) or not isinstance(chain_id, int) or not 1 <= chain_id <= MAX_CHAIN_ID:
            raise _malformed("context.chain_id")
        for name, pattern in (("hub_id", _HUB_ID), ("job_id", _JOB_ID), ("artifact_sha256", _SHA256_DIGITS)):
            if not isinstance(known[name], str) or not pattern.fullmatch(known[name]):
                raise _malformed(f"context.{name}")
        return cls(
            chain_id=chain_id,
            hub_id=known["hub_id"],
            job_id=known["job_id"],
            provider=parse_address(known["provider"], "context.provider"),
            request_hash=parse_hash(known["request_hash"], "context.request_hash"),
            artifact_sha256=known["artifact_sha256"],
            profiles_hash=parse_hash(known["profiles_hash"], "context.profiles_hash"),
        )


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a trajectory with its path to the root."""

    picture: int
    pictures: int
    step: int
    """0 is before the first step."""
    steps: int
    """Of the run: each picture has steps + 1 items."""
    latents_sha256: Hash32
    siblings: tuple[Hash32, ...]
    """From the leaf up."""

    def to_object(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "picture": self.picture,
            "pictures": self.pictures,
            "step": self.step,
            "steps": self.steps,
            "latents_sha256": self.latents_sha256.hex(),
            "siblings": [to_hex(sibling) for sibling in self.siblings],
        }

    @classmethod
    def from_object(cls, fields: object) -> Self:
        """From `to_object`'s parsed JSON, strictly and bounded; raises Rejected that names the field."""
        known = check_keys(fields, cls.__struct_fields__, "opening")
        for name in ("picture", "pictures", "step", "steps"):
            if isinstance(known[name], bool) or not isinstance(known[name], int):
                raise _malformed(f"opening.{name}")
        siblings = known["siblings"]
        if not isinstance(siblings, list) or len(siblings) > _MAX_SIBLINGS:
            raise _malformed("opening.siblings")
        digits = known["latents_sha256"]
        if not isinstance(digits, str) or not _SHA256_DIGITS.fullmatch(digits):
            raise _malformed("opening.latents_sha256")
        return cls(
            picture=known["picture"],
            pictures=known["pictures"],
            step=known["step"],
            steps=known["steps"],
            latents_sha256=Hash32(bytes.fromhex(digits)),
            siblings=tuple(parse_hash(sibling, "opening.siblings") for sibling in siblings),
        )


def trajectory_root(context: TrajectoryContext, digests: Sequence[Sequence[Hash32]]) -> Hash32:
    """The root over `digests[picture][step]`, each the SHA-256 of the latents' bytes; equally many for each picture."""
    return list_root(_items(context, digests))


def open_step(context: TrajectoryContext, digests: Sequence[Sequence[Hash32]], *, picture: int, step: int) -> Opening:
    """The opening of one item, for the root of the same `digests`; raises Rejected (out_of_range)."""
    pictures, steps = len(digests), len(digests[0]) - 1
    for name, number, most in (("picture", picture, pictures - 1), ("step", step, steps)):
        if not 0 <= number <= most:
            raise Rejected(RejectionReason.OUT_OF_RANGE, f"{name} must be from 0 to {most}", field=name)
    return Opening(
        picture=picture,
        pictures=pictures,
        step=step,
        steps=steps,
        latents_sha256=digests[picture][step],
        siblings=list_proof(_items(context, digests), picture * (steps + 1) + step),
    )


def verify_opening(root: Hash32, context: TrajectoryContext, opening: Opening) -> bool:
    """Whether these latents stand at this step of this picture under the root, in a run of so many steps and pictures.

    The caller knows from the request how many steps and pictures there must be, and compares.
    """
    if not (
        0 <= opening.picture < opening.pictures <= MAX_PICTURES
        and 0 <= opening.step <= opening.steps < MAX_STEPS
        and len(opening.latents_sha256) == 32
        and len(opening.siblings) <= _MAX_SIBLINGS
    ):
        return False
    width = opening.steps + 1
    shape = _shape(opening.pictures, opening.steps)
    item = _item(context.hash, shape, opening.picture, opening.step, opening.latents_sha256)
    index = opening.picture * width + opening.step
    return verify_list_proof(root, item, index, opening.pictures * width, opening.siblings)


def _items(context: TrajectoryContext, digests: Sequence[Sequence[Hash32]]) -> list[bytes]:
    assert 0 < len(digests) <= MAX_PICTURES
    assert 0 < len(digests[0]) <= MAX_STEPS
    assert all(len(steps) == len(digests[0]) for steps in digests)
    context_hash, shape = context.hash, _shape(len(digests), len(digests[0]) - 1)
    return [
        _item(context_hash, shape, picture, step, digest)
        for picture, steps in enumerate(digests)
        for step, digest in enumerate(steps)
    ]


def _shape(pictures: int, steps: int) -> bytes:
    """In every item, or the first ones of a run of 2 × 4 latents would pass for those of a run of 4 × 2."""
    return pictures.to_bytes(4, "big") + steps.to_bytes(4, "big")


def _item(context_hash: Hash32, shape: bytes, picture: int, step: int, latents_sha256: Hash32) -> Hash32:
    place = picture.to_bytes(4, "big") + step.to_bytes(4, "big")
    return sha256(_ITEM_TAG + context_hash + shape + place + latents_sha256)


def _malformed(field: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"{field} is malformed", field=field)
