"""Questions to one connected provider, each with its answer: steps opened and computed again, receipts signed and paid.

The answers' form, their size and their files' digests have been checked; what they claim has not.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.hub_messages import Attested, CheckSteps, ComputePictures, OpenSteps, PlanCheck, SignReceipt
from chain.primitives.provider_messages import AttestationTaken, Checked, Computed, Opened, Plan, ReceiptSigned
from chain.primitives.receipt import Receipt, recover_provider
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from chain.primitives.worker_fields import PictureRun, Place, octets_of
from chain.primitives.worker_message import Message
from chain.primitives.worker_messages import attachment_of, raw_json
from hub.workers.errors import WorkerGone, WorkerLied, WorkerTimedOut
from hub.workers.intake import MAX_LATENTS_BYTES
from hub.workers.mailbox import Mailbox
from hub.workers.results import max_picture_bytes
from hub.workers.session import Session

_SHORT_S: Final = 30.0
"""For what needs no device."""
_LONG_S: Final = 600.0
"""For what waits for a device behind batches that are at work."""

_ANSWERS: Final[dict[type[Message], type[Message]]] = {
    OpenSteps: Opened,
    PlanCheck: Plan,
    CheckSteps: Checked,
    ComputePictures: Computed,
    SignReceipt: ReceiptSigned,
    Attested: AttestationTaken,
}
_QUESTIONS: Final = (OpenSteps, PlanCheck, CheckSteps, ComputePictures, SignReceipt, Attested)

A = TypeVar("A", bound=Message)


class Orders:
    """Asks providers, wherever they are connected. All of it raises WorkerError."""

    def __init__(self, sessions: Mapping[Address, Session], mailbox: Mailbox | None = None) -> None:
        """`mailbox`: for those who are connected to another process of this hub."""
        self._sessions = sessions
        self._mailbox = mailbox

    async def serve_others(self) -> None:
        """Until cancelled: asks the providers that are connected here what other processes want of them."""
        if self._mailbox is not None:
            await self._mailbox.serve(self._sessions.keys, self._ask_here)

    async def open_steps(
        self, provider: Address, *, lease_id: str, places: Sequence[Place]
    ) -> tuple[Opened, tuple[bytes, ...]]:
        """The entries that a provider opens of its own run, with their proofs, and their latents in the same order."""
        order = OpenSteps(order_id=_new_id(), lease_id=lease_id, places=tuple(places))
        most_bytes = len(places) * MAX_LATENTS_BYTES
        answer, files = await self._ask(provider, order, (), Opened, most_bytes, _SHORT_S)
        if [(each.picture, each.step) for each in answer.openings] != [(each.picture, each.step) for each in places]:
            raise WorkerLied("other steps than were asked for", reason="wrong_answer")
        return answer, files

    async def plan_check(self, provider: Address, run: PictureRun, places: Sequence[Place]) -> Plan:
        """What a checker needs to compute these entries again."""
        order = PlanCheck(order_id=_new_id(), run=run, places=tuple(places))
        answer, _ = await self._ask(provider, order, (), Plan, 0, _LONG_S)
        if len(answer.needed) != len(places):
            raise WorkerLied("a plan for other steps than were asked for", reason="wrong_answer")
        return answer

    async def check_steps(
        self,
        provider: Address,
        run: PictureRun,
        places: Sequence[Place],
        opened: Mapping[Place, bytes],
        *,
        batch_rows: int,
        dtype: str | None = None,
    ) -> tuple[Checked, tuple[bytes, ...]]:
        """These entries computed by a checker from those that another provider opened."""
        entries = tuple(sorted(opened))
        order = CheckSteps(
            order_id=_new_id(),
            run=run,
            places=tuple(places),
            batch_rows=batch_rows,
            dtype=dtype,
            opened=entries,
            latents=tuple(attachment_of(opened[entry]) for entry in entries),
        )
        files = tuple(opened[entry] for entry in entries)
        most_bytes = len(places) * MAX_LATENTS_BYTES
        answer, latents = await self._ask(provider, order, files, Checked, most_bytes, _LONG_S)
        if len(latents) != len(places):
            raise WorkerLied("other steps than were asked for", reason="wrong_answer")
        return answer, latents

    async def compute(
        self, provider: Address, run: PictureRun, *, purpose: str
    ) -> tuple[Computed, tuple[bytes, ...], tuple[bytes, ...]]:
        """Pictures made without a receipt: the answer, the pictures, and the last latents of each."""
        order = ComputePictures(order_id=_new_id(), purpose=purpose, run=run)
        most_bytes = run.count * (max_picture_bytes(run) + MAX_LATENTS_BYTES)
        answer, octets = await self._ask(provider, order, (), Computed, most_bytes, _LONG_S)
        if len(answer.pictures) != run.count:
            raise WorkerLied("another number of pictures than was asked for", reason="wrong_count")
        return answer, octets[: run.count], octets[run.count :]

    async def sign_receipt(self, provider: Address, receipt: Receipt) -> bytes:
        """The provider's signature over the receipt of a split job; WorkerRefused where its parts are not in it."""
        order = SignReceipt(order_id=_new_id(), receipt=raw_json(receipt.to_object()))
        answer, _ = await self._ask(provider, order, (), ReceiptSigned, 0, _SHORT_S)
        signature = octets_of(answer.signature)
        try:
            signer = recover_provider(receipt, signature)
        except Rejected as rejected:
            raise WorkerLied(rejected.message, reason="wrong_signature") from None
        if signer != provider:
            raise WorkerLied("the receipt is not signed by the provider that was asked", reason="wrong_signature")
        return signature

    async def attest(self, provider: Address, attested: Attested) -> str:
        """The state of the receipt in the provider's outbox, once it has written the attestation down."""
        answer, _ = await self._ask(provider, attested, (), AttestationTaken, 0, _SHORT_S)
        return answer.state

    async def _ask(
        self,
        provider: Address,
        message: Message,
        files: tuple[bytes, ...],
        kind: type[A],
        most_bytes: int,
        timeout_s: float,
    ) -> tuple[A, tuple[bytes, ...]]:
        if provider in self._sessions or self._mailbox is None:
            answer, octets = await self._ask_here(provider, message, files, most_bytes, timeout_s)
        else:
            answer, octets = await self._mailbox.ask(provider, message, files, most_bytes, timeout_s)
        if not isinstance(answer, kind):
            raise WorkerLied("the answer to another question", reason="wrong_answer")
        return answer, octets

    async def _ask_here(
        self, provider: Address, message: Message, files: tuple[bytes, ...], most_bytes: int, timeout_s: float
    ) -> tuple[Message, tuple[bytes, ...]]:
        session = self._sessions.get(provider)
        if session is None:
            raise WorkerGone(f"{to_checksum_address(provider)} is not connected here")
        assert isinstance(message, _QUESTIONS)
        key = message.receipt_hash if isinstance(message, Attested) else message.order_id
        try:
            async with asyncio.timeout(timeout_s):
                return await session.questions.ask(key, message, files, _ANSWERS[type(message)], most_bytes=most_bytes)
        except TimeoutError:
            raise WorkerTimedOut(f"no answer within {timeout_s:.0f} s") from None


def _new_id() -> str:
    return secrets.token_hex(16)
