"""m of n: nobody waits for the slowest, nothing more than there is room for is in memory, own signature comes last."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry

from chain.answers import AttesterView, BigInteger
from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Address, Hash32
from hub.attestation.chain import Attesters
from hub.attestation.errors import NeverAttested, NotYet, PartsRefused
from hub.attestation.evidence import DRAWN, decode_evidence
from hub.attestation.forms import digest_of
from hub.attestation.gathering import Gatherer, Wanted
from hub.attestation.metrics import AttestationMetrics
from hub.attestation.peers import PICTURES_WANTED, PeerAttester
from hub.attestation.showing import Room, showing
from hub.store.results import Picture
from tests.hub.attestation.evidences import CHAIN_ID, PROVIDERS, SPLIT, Job
from tests.hub.attestation.hubs import PATIENCE_S
from tests.hub.attestation.test_peers import Answer, answering, saying
from wallet.attestation_log import AttestationLog
from wallet.attester import AttesterNetwork, AttesterSigner

GENESIS = Hash32(bytes(32))
OWN = PrivateKey(b"\x2a" * 32)
OTHERS = [PrivateKey(bytes([0x2B + number]) * 32) for number in range(3)]
EVIDENCE = SPLIT.evidence()
ANYBODY = OTHERS[0].address
WANTED = Wanted(EVIDENCE.form, EVIDENCE.receipt, EVIDENCE.request)
DIGEST = digest_of(WANTED.form, WANTED.receipt, WANTED.request)


def signs(key: PrivateKey) -> Answer:
    return saying(200, signature=to_hex(key.sign(DIGEST)))


def stalls() -> Response:
    """Says something now and then, and never all of it."""

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.02)

    return StreamingResponse(drip())


class Gathering:
    """Own attester, and others that answer as a test says; the first two of all are needed, or `threshold`."""

    def __init__(self, folder: Path, peers: list[PeerAttester], threshold: int) -> None:
        self.signer = AttesterSigner(
            OWN, AttesterNetwork(CHAIN_ID, GENESIS), AttestationLog(folder / "log.sqlite3", GENESIS)
        )
        self._gatherer = Gatherer(self.signer, peers, AttestationMetrics(CollectorRegistry()), slow_s=0.2)
        everybody = [OWN.address, *(key.address for key in OTHERS)]
        much, none = BigInteger(10**30), BigInteger(0)
        view = AttesterView("", atoms_per_period=much, receipts_per_period=much, used_atoms=none, used_receipts=none)
        self._attesters = Attesters(threshold, dict.fromkeys(everybody, view), 10**30)
        self.kept: list[Address] = []
        self.begun = 0
        self.is_withdrawn = False

    @asynccontextmanager
    async def show(self, _attester: Address, _numbers: Collection[int] | None) -> AsyncIterator[bytes]:
        yield b"evidence"

    async def keep(self, attester: Address, _signature: bytes) -> None:
        self.kept.append(attester)

    async def begin_signing(self) -> None:
        self.begun += 1
        if self.is_withdrawn:
            raise NotYet("withdrawn", "", 0.5)

    async def gather(self) -> dict[Address, bytes]:
        async with asyncio.timeout(PATIENCE_S):
            return await self._gatherer.gather(
                WANTED, {}, self._attesters, show=self.show, keep=self.keep, begin_signing=self.begin_signing
            )


@asynccontextmanager
async def gathering(folder: Path, *answers: Answer, threshold: int = 2) -> AsyncIterator[Gathering]:
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(answering(answer, OTHERS[number])) for number, answer in enumerate(answers)
        ]
        made = Gathering(folder, peers, threshold)
        yield made
        made.signer.close()


async def test_who_stalls_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with gathering(tmp_path, stalls, stalls, signs(OTHERS[2])) as it:
        assert set(await it.gather()) == {OWN.address, OTHERS[2].address}
        assert it.kept == [OTHERS[2].address]


async def test_own_signature_comes_last(tmp_path: Path) -> None:
    """As long as others may refuse, there may be another receipt."""
    async with gathering(tmp_path, saying(422, reason="too_old")) as it:
        with pytest.raises(NeverAttested):
            await it.gather()
        assert (it.begun, it.signer._log.find("east", EVIDENCE.receipt.job_id)) == (0, None)
    async with gathering(tmp_path, signs(OTHERS[0])) as it:
        it.is_withdrawn = True
        with pytest.raises(NotYet):
            await it.gather()
        assert it.signer._log.find("east", EVIDENCE.receipt.job_id) is None
        it.is_withdrawn = False
        assert set(await it.gather()) == {OWN.address, OTHERS[0].address}


BANNED: dict[str, Any] = {"reason": "banned", "field": "parts[1].receipt.provider"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([BANNED, {"reason": "too_old"}], {"parts[1].receipt.provider"}),
        ([BANNED, {"reason": "blank_picture", "field": "pictures[2]"}], {"parts[1].receipt.provider", "pictures[2]"}),
        # Nothing that a part could be exchanged for.
        ([{"reason": "too_old"}, {"reason": "too_old"}], None),
        ([{"reason": "wrong_parts", "field": "parts[1].receipt"}], None),
        ([{"reason": "banned", "field": "receipt"}, {"reason": "banned", "field": "parts[1'; --"}], None),
    ],
)
async def test_refusals_of_parts(tmp_path: Path, answers: list[dict[str, Any]], expected: set[str] | None) -> None:
    async with gathering(tmp_path, *(saying(422, **answer) for answer in answers)) as it:
        if expected is None:
            with pytest.raises(NeverAttested):
                await it.gather()
            return
        with pytest.raises(PartsRefused) as refused:
            await it.gather()
        assert refused.value.fields == expected


async def test_another_one_is_asked_where_one_refuses_a_part(tmp_path: Path) -> None:
    async with gathering(tmp_path, saying(422, **BANNED), signs(OTHERS[1])) as it:
        assert set(await it.gather()) == {OWN.address, OTHERS[1].address}


@pytest.mark.parametrize("pictures", [[0], [], list(range(DRAWN + 1)), [256], [-1], ["x"]])
async def test_one_that_wants_pictures_for_ever_signs_nothing(tmp_path: Path, pictures: list[Any]) -> None:
    async with gathering(tmp_path, saying(202, reason=PICTURES_WANTED, pictures=pictures)) as it:
        with pytest.raises(NotYet):
            await it.gather()


class TestShowing:
    def pictures(self, job: Job) -> list[Picture]:
        return [
            Picture(
                picture=number,
                sha256=sha256(octets).hex(),
                bytes=len(octets),
                width=64,
                height=48,
                media_type="image/png",
                lease_id="l",
            )
            for number, octets in enumerate(job.pictures())
        ]

    async def test_of_many_pictures_only_those_that_are_drawn(self) -> None:
        job = Job(makers=((PROVIDERS[0], DRAWN + 1),), took_s=60)
        evidence, pictures = job.evidence(), self.pictures(job)
        by_digest = {picture.sha256: octets for picture, octets in zip(pictures, job.pictures(), strict=True)}
        was_read: list[str] = []

        async def read(digits: str) -> bytes | None:
            was_read.append(digits)
            return by_digest[digits]

        show = showing(Room(), pictures, read, lambda octets: replace(evidence, pictures=octets))
        async with show(ANYBODY, None) as body:
            assert not any(decode_evidence(body).pictures)
        async with show(ANYBODY, (2, 5)) as body:
            found = decode_evidence(body)
        assert [number for number, octets in enumerate(found.pictures) if octets] == [2, 5]
        assert found.digests == evidence.digests
        assert was_read == [pictures[number].sha256 for number in (2, 5)]
        with pytest.raises(NotYet):
            async with show(ANYBODY, (DRAWN + 1,)):
                pass

    async def test_no_more_than_there_is_room_for(self) -> None:
        room, most = Room(10), 0
        leaving = asyncio.Event()

        async def hold(size_bytes: int) -> None:
            nonlocal most
            async with room.of(ANYBODY, size_bytes):
                most = max(most, room.taken_bytes)
                await leaving.wait()

        tasks = [asyncio.create_task(hold(size_bytes)) for size_bytes in (4, 4, 4, 100, 1)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        leaving.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (most <= 10, room.taken_bytes) == (True, 0)
        async with asyncio.timeout(PATIENCE_S), room.of(ANYBODY, 10):
            pass

    async def test_one_attester_that_is_silent_leaves_room_for_the_others(self) -> None:
        # given as many bodies for one attester as anybody brings, none of which it takes
        room, silent, other = Room(10, 4), OTHERS[0].address, OTHERS[1].address

        async def hold() -> None:
            async with room.of(silent, 4) as place:
                await place.shrink(3)
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(hold()) for _ in range(4)]
        for _ in range(100):
            await asyncio.sleep(0)

        # then it has its part of the room, and another one's body waits for nothing
        assert room.taken_bytes == 3
        async with asyncio.timeout(PATIENCE_S), room.of(other, 7):
            assert room.taken_bytes == 10
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert room.taken_bytes == 0

    async def test_what_is_sent_takes_half_of_what_is_put_together(self) -> None:
        job, room = Job(makers=((PROVIDERS[0], 2),), took_s=60), Room()
        by_digest = {sha256(octets).hex(): octets for octets in job.pictures()}

        async def read(digits: str) -> bytes | None:
            return by_digest[digits]

        show = showing(room, self.pictures(job), read, lambda octets: replace(job.evidence(), pictures=octets))
        async with show(ANYBODY, None):
            assert room.taken_bytes == sum(len(octets) for octets in job.pictures())
