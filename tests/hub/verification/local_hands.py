"""What an examination asks for, done by machines in this process; the messages are the real ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chain.primitives.provider_messages import Checked, Computed, Opened, Plan
from chain.primitives.types import Address
from chain.primitives.worker_fields import PictureRun, Place, ProfileClaim
from chain.primitives.worker_messages import attachment_of
from hub.verification.errors import Unanswered
from provider.errors import GenerationFailed
from tests.hub.verification.answering import Answer, Made
from tests.hub.verification.machines import Machine, claim_of


@dataclass
class LocalHands:
    """One answer's provider, and machines that check it, each under as many addresses as it has places in the list.

    A checker computes with batches of one whatever the provider did: it stands for other hardware, whose additions
    happen in another order.
    """

    answer: Answer
    checkers: Sequence[Machine]
    asked: list[str] = field(default_factory=list)
    computed: dict[tuple[int, int], Made] = field(default_factory=dict)
    """By machine and seed: kept from one answer to the next of the same job."""
    _checked: dict[tuple[int, int, int], tuple[Checked, tuple[bytes, ...]]] = field(default_factory=dict)

    async def find_checker(
        self, run: PictureRun, *, excluded: frozenset[Address], profile: ProfileClaim | None
    ) -> Address | None:
        for number in range(len(self.checkers)):
            if _address(number) not in excluded:
                return _address(number)
        return None

    async def open_steps(
        self, provider: Address, *, lease_id: str, places: Sequence[Place]
    ) -> tuple[Opened, Sequence[bytes]]:
        self.asked.append("open")
        return self.answer.open(places)

    async def plan_check(self, provider: Address, run: PictureRun, places: Sequence[Place]) -> Plan:
        self.asked.append("plan")
        found = self._machine(provider).check(run, places, None, 1)
        return Plan(order_id="order-1", evaluations=found.evaluations, needed=found.needed)

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
        self.asked.append("check")
        machine = self._machine(provider)
        key = (id(machine), run.seed, hash(tuple(places)))
        if key not in self._checked:  # The same machine under another address would do the same again.
            try:
                found = machine.check(run, places, opened, 1, dtype)
            except GenerationFailed as failed:
                raise Unanswered(failed.message, reason=failed.reason) from None
            assert found.profile is not None
            message = Checked(
                order_id="order-1",
                profile=claim_of(found.profile),
                expected_rms=found.expected_rms,
                rounding=found.rounding,
                latents=tuple(attachment_of(each) for each in found.latents),
            )
            self._checked[key] = message, found.latents
        return self._checked[key]

    async def compute(
        self, provider: Address, run: PictureRun, *, purpose: str
    ) -> tuple[Computed, Sequence[bytes], Sequence[bytes]]:
        self.asked.append("compute")
        machine = self._machine(provider)
        key = (id(machine), run.seed)
        if key not in self.computed:
            self.computed[key] = machine.make(run)
        made = self.computed[key]
        message = Computed(
            order_id="order-1",
            profiles=(made.profile,),
            compute_microseconds=1,
            duration_ms=1,
            digests=(),
            pictures=(attachment_of(made.picture),),
            latents=(attachment_of(made.entries[-1]),),
        )
        return message, (made.picture,), (made.entries[-1],)

    def _machine(self, provider: Address) -> Machine:
        return self.checkers[provider[-1] - 1]


def _address(number: int) -> Address:
    return Address(b"\x22" * 19 + bytes((number + 1,)))
