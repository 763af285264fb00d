"""Who is asked for what in a check: what an examination needs of the hub's workers."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from chain.primitives.provider_messages import Checked, Computed, Opened, Plan
from chain.primitives.types import Address
from chain.primitives.worker_fields import PictureRun, Place, ProfileClaim


class Hands(Protocol):
    """Every method but the first raises Unanswered where no (usable) answer comes in the time that the hub allows.

    The answers' form and their files' digests have been checked; what they claim has not.
    """

    async def find_checker(
        self, run: PictureRun, *, excluded: frozenset[Address], profile: ProfileClaim | None
    ) -> Address | None:
        """A provider of this model that is none of `excluded`; None where there is none.

        The first choice is one with the same profile, for then equal bits can be demanded; the next one in the same
        precision or in float32, which can compute the steps of any other. In which it computes, its answer says.
        """

    async def open_steps(
        self, provider: Address, *, lease_id: str, places: Sequence[Place]
    ) -> tuple[Opened, Sequence[bytes]]:
        """Latents of the provider's own run, with their proofs."""

    async def plan_check(self, provider: Address, run: PictureRun, places: Sequence[Place]) -> Plan:
        """Which entries a checker needs to compute these."""

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
        """These entries computed again, which their provider says to have computed in batches and a precision like
        these; where the checker's own precision is a longer one, with its own rounding at each."""

    async def compute(
        self, provider: Address, run: PictureRun, *, purpose: str
    ) -> tuple[Computed, Sequence[bytes], Sequence[bytes]]:
        """The whole run again: the answer, its pictures, and the last latents of each, if it has them."""
