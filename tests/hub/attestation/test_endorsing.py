"""`POST /v1/attestations` over a socket: who may ask, for what, and that nothing forged gets a signature or a 5xx."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_SPLIT, MINTER
from chain.primitives.worker_fields import PictureRun
from hub.attestation.authentication import SENT_HEADER, SIGNATURE_HEADER, sign_call
from hub.attestation.evidence import CONTENT_TYPE, DRAWN, MAX_HEAD_BYTES, Evidence
from hub.attestation.forms import digest_of, is_signed_by
from hub.attestation.peers import PATH
from hub.attestation.routes import MAX_BODY_BYTES
from hub.store import endorsements, providers
from hub.store.endorsements import MOST_RECEIPTS
from hub.store.receipts import Form
from hub.store.store import now_ms
from hub.workers.results import max_picture_bytes
from tests.hub.attestation.evidences import PROVIDERS, SPLIT, Job, blank
from tests.hub.attestation.hubs import ATTESTERS, HUB_KEYS, Hub, TwoAttesterChain, serving

EAST = HUB_KEYS["east"]


@pytest.fixture
async def west(network: TwoAttesterChain, tmp_path: Path) -> AsyncIterator[Hub]:
    """Answers East's calls, and no strangers'."""
    async with serving("west", tmp_path, network) as hub:
        yield hub


def fresh(job: Job = SPLIT, **changes: Any) -> Job:
    return job.but(job_id=f"job-{secrets.token_hex(6)}", finished_at=int(time.time()) - 1, **changes)


async def post(
    hub: Hub,
    body: bytes,
    *,
    key: PrivateKey = EAST,
    sent_at_s: int | None = None,
    headers: dict[str, str] | None = None,
    sent: bytes | None = None,
) -> httpx.Response:
    at_s = int(time.time()) if sent_at_s is None else sent_at_s
    signed = sign_call(key, hub.network, ATTESTERS[hub.name].address, body, sent_at_s=at_s)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return await client.post(
            hub.url + PATH,
            content=body if sent is None else sent,
            headers={"content-type": CONTENT_TYPE} | signed | (headers or {}),
        )


def kept(hub: Hub, evidence: Evidence) -> endorsements.Endorsement | None:
    receipt_hash = to_hex(evidence.receipt.hash)
    return hub.store.read_now(lambda c: endorsements.get(c, receipt_hash))


def is_answered(answer: httpx.Response, evidence: Evidence) -> bool:
    digest = digest_of(evidence.form, evidence.receipt, evidence.request, evidence.fee)
    signature = bytes.fromhex(answer.json()["signature"][2:])
    return answer.status_code == 200 and is_signed_by(ATTESTERS["west"].address, digest, signature)


@pytest.mark.parametrize("job", [SPLIT, Job(), SPLIT.but(is_paid=True), Job(client=None)])
async def test_a_true_receipt_is_signed_and_the_same_again(west: Hub, job: Job) -> None:
    evidence = fresh(job).evidence()
    first = await post(west, evidence.encode())
    assert is_answered(first, evidence)
    again = await asyncio.gather(*(post(west, evidence.encode()) for _ in range(3)))
    assert [answer.json() for answer in again] == [first.json()] * 3


def reason_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    return answer.status_code, answer.json()["reason"]


async def test_callers_that_do_not_show_who_they_are(west: Hub) -> None:
    evidence = fresh().evidence()
    body = evidence.encode()
    async with httpx.AsyncClient(trust_env=False) as client:
        bare = await client.post(west.url + PATH, content=body, headers={"content-type": CONTENT_TYPE})
    assert reason_of(bare) == (401, "missing_field")
    stolen = sign_call(PROVIDERS[2], west.network, ATTESTERS["west"].address, body, sent_at_s=int(time.time()))
    assert reason_of(await post(west, body, headers={SIGNATURE_HEADER: stolen[SIGNATURE_HEADER]}))[0] == 401
    assert reason_of(await post(west, body, headers={SIGNATURE_HEADER: "0x" + "00" * 65}))[0] == 401
    assert reason_of(await post(west, body, headers={SIGNATURE_HEADER: "0x12"})) == (400, "malformed")
    assert reason_of(await post(west, body, sent_at_s=int(time.time()) - 400)) == (400, "out_of_range")
    assert reason_of(await post(west, body, headers={SENT_HEADER: "9" * 40})) == (400, "malformed")
    assert reason_of(await post(west, body, headers={SENT_HEADER: "-1"})) == (400, "malformed")
    # Signed for another attester's ears.
    for_east = sign_call(EAST, west.network, ATTESTERS["east"].address, body, sent_at_s=int(time.time()))
    assert reason_of(await post(west, body, headers=for_east))[0] == 401
    assert reason_of(await post(west, body, sent=body[:-1] + b"\0")) == (400, "wrong_body")
    assert reason_of(await post(west, body, headers={"content-type": "application/json"}))[0] == 415
    assert kept(west, evidence) is None


async def test_callers_ask_for_their_own_receipts_only(west: Hub) -> None:
    body = fresh().evidence().encode()
    assert reason_of(await post(west, body, key=PrivateKey(b"\x66" * 32))) == (403, "unknown_caller")
    assert reason_of(await post(west, body, key=PROVIDERS[0])) == (403, "unknown_caller")
    assert reason_of(await post(west, fresh(hub_id="west").evidence().encode())) == (422, "wrong_hub")
    direct = fresh(Job(hub_id="")).evidence()
    assert reason_of(await post(west, direct.encode(), key=PROVIDERS[0])) == (403, "unknown_caller")


async def test_one_receipt_per_job_and_per_signed_request_in_one_form(west: Hub) -> None:
    job = fresh(Job())
    evidence = job.evidence()
    assert is_answered(await post(west, evidence.encode()), evidence)
    other = job.but(micro_units=1_234_568).evidence()
    assert reason_of(await post(west, other.encode())) == (422, "attested_otherwise")
    settled = replace(evidence, form=Form.SETTLE)
    assert reason_of(await post(west, settled.encode())) == (422, "attested_otherwise")
    # The same signed request under another job's name, in another receipt.
    twice = job.but(whole={"job_id": "job-" + secrets.token_hex(6)}).evidence()
    assert reason_of(await post(west, twice.encode())) == (422, "attested_otherwise")
    found = west.attester._log.find("east", evidence.receipt.job_id)
    assert found is not None and found.receipt_hash == evidence.receipt.hash


async def test_two_receipts_of_a_job_at_once(west: Hub) -> None:
    job = fresh(Job())
    rivals = [job.but(micro_units=1_000_000 + number).evidence() for number in range(6)]
    answers = await asyncio.gather(*(post(west, rival.encode()) for rival in rivals))
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 5


LARGE = Job(makers=((PROVIDERS[0], 12), (PROVIDERS[1], 8)), took_s=60)


def shown(evidence: Evidence, numbers: Collection[int]) -> bytes:
    """The body with these of its pictures, the others by hash."""
    pictures = tuple(octets if number in numbers else b"" for number, octets in enumerate(evidence.pictures))
    return replace(evidence, pictures=pictures).encode()


def test_the_largest_pictures_that_are_drawn_fit_into_a_body() -> None:
    """Whatever a hub takes of its providers, other attesters can see."""
    run = PictureRun(model="m", prompts=("a",), steps=5, guidance=1.0, width=1024, height=1024, seed=1)
    assert DRAWN * max_picture_bytes(run) + MAX_HEAD_BYTES < MAX_BODY_BYTES


async def test_of_many_pictures_the_attester_draws_some(west: Hub) -> None:
    job = fresh(LARGE)
    evidence = job.evidence()
    first = await post(west, shown(evidence, ()))
    drawn = first.json()["pictures"]
    assert (first.status_code, first.json()["reason"], len(drawn)) == (202, "pictures_wanted", DRAWN)
    # The same ones whoever asks again, and nothing without them.
    others = [number for number in range(20) if number not in drawn]
    for numbers in ((), others, drawn[1:]):
        answer = await post(west, shown(evidence, numbers))
        assert (answer.status_code, answer.json()["pictures"]) == (202, drawn)
    assert west.attester._log.find("east", job.job_id) is None
    assert is_answered(await post(west, shown(evidence, drawn)), evidence)
    # What is signed once needs no pictures any more.
    assert is_answered(await post(west, shown(evidence, ())), evidence)


async def test_a_drawn_picture_that_is_false_is_found_and_nobody_draws_for_ever(west: Hub) -> None:
    """Blank pictures but for two; a hub may try another receipt a few times, but not until the draw pleases it."""
    job = fresh(LARGE)
    for number in range(MOST_RECEIPTS + 1):
        evidence = job.but(firsts=tuple(blank() + bytes([number, at]) for at in range(18))).evidence()
        first = await post(west, shown(evidence, ()))
        if number == MOST_RECEIPTS:
            assert reason_of(first) == (422, "attested_otherwise")
            return
        drawn = first.json()["pictures"]
        false = next(at for at in drawn if at < 18)
        answer = await post(west, shown(evidence, drawn))
        assert reason_of(answer) == (422, "blank_picture")
        assert answer.json()["field"] == f"pictures[{false}]"


async def test_a_receipt_that_nobody_has_signed_yet_may_be_replaced(network: TwoAttesterChain, tmp_path: Path) -> None:
    """As a hub does where a part of it was found false within the window; and the window begins anew."""
    async with serving("west", tmp_path, network, window_s=3_600) as west:
        job = fresh()
        first, second = job.evidence(), job.but(micro_units=1_200_000).evidence()
        for evidence in (first, first, second):
            answer = await post(west, evidence.encode())
            assert (answer.status_code, answer.json()["reason"]) == (202, "challenge_window")
        assert kept(west, first) is None
        begun = kept(west, second)
        assert begun is not None and begun.state == endorsements.EndorsementState.WAITING
        # Not once it is being signed, and not by anybody else.
        assert west.store.write_now(lambda t: endorsements.begin_signing(t, begun.receipt_hash))
        assert reason_of(await post(west, first.encode())) == (422, "attested_otherwise")
        assert not west.store.write_now(lambda t: endorsements.dispute(t, begun.receipt_hash, "cheat"))


async def test_a_receipt_that_is_used_or_of_a_banned_provider(network: TwoAttesterChain, west: Hub) -> None:
    banned = fresh().evidence()
    name = to_checksum_address(PROVIDERS[1].address)
    west.store.write_now(lambda t: providers.ban(t, name, reason="cheat", detail="seen cheating", now_ms=now_ms()))
    answer = await post(west, banned.encode())
    assert reason_of(answer) == (422, "banned")
    assert answer.json()["field"] == "parts[1].receipt.provider"
    west.store.write_now(lambda t: providers.unban(t, name, now_ms()))

    def suspend(reason: str) -> None:
        until_ms = now_ms() + 3_600_000
        west.store.write_now(
            lambda t: providers.suspend(t, name, until_ms=until_ms, reason=reason, detail="", now_ms=now_ms())
        )

    suspend("dispute_lost")  # West itself has caught it, at another job.
    assert reason_of(await post(west, banned.encode())) == (422, "distrusted")
    suspend("unreliable")  # Which is no reason to doubt what it did do.
    assert is_answered(await post(west, banned.encode()), banned)

    used = fresh().evidence()
    digest = digest_of(used.form, used.receipt, used.request)
    signers = sorted(ATTESTERS.values(), key=lambda key: key.address)
    who, amounts = zip(*used.receipt.payouts(), strict=True)
    call = MINT_SPLIT.encode(who, amounts, used.receipt.hash, b"".join(key.sign(digest) for key in signers))
    network.send(PROVIDERS[0], MINTER, call)
    assert reason_of(await post(west, used.encode())) == (422, "receipt_used")


async def test_a_receipt_does_not_grow_too_old_in_the_attesters_own_window(west: Hub) -> None:
    finished_at = int(time.time()) - 5 * 86_400
    late, known = (fresh().but(finished_at=finished_at, job_id=f"job-{secrets.token_hex(6)}").evidence() for _ in "ab")
    wanted = west.endorser._wanted(EAST.address, known)
    asked_ms = (finished_at + 60) * 1_000
    west.store.write_now(lambda t: endorsements.begin(t, replace(wanted, window_until_ms=asked_ms), asked_ms))
    assert is_answered(await post(west, known.encode()), known)
    assert reason_of(await post(west, late.encode())) == (422, "too_old")


async def test_windows_and_disputes(network: TwoAttesterChain, tmp_path: Path) -> None:
    async with serving("west", tmp_path, network, window_s=3_600) as west:
        evidence = fresh().evidence()
        answer = await post(west, evidence.encode())
        assert (answer.status_code, answer.json()["reason"]) == (202, "challenge_window")
        assert 3_000 < answer.json()["retry_after_s"] <= 3_601
        assert west.attester._log.find("east", evidence.receipt.job_id) is None
        receipt_hash = to_hex(evidence.receipt.hash)
        assert west.store.write_now(lambda t: endorsements.dispute(t, receipt_hash, "cheat"))
        assert reason_of(await post(west, evidence.encode())) == (422, "disputed")


BODIES: list[bytes] = [
    b"",
    b"\0",
    b"\xff\xff\xff\xff",
    (5).to_bytes(4, "big") + b"{}",
    (2).to_bytes(4, "big") + b"{}",
    (2).to_bytes(4, "big") + b"[]",
    (4).to_bytes(4, "big") + b"null",
    (9).to_bytes(4, "big") + b'{"a":NaN}',
    (13).to_bytes(4, "big") + b'{"a":1,"a":2}',
    (40_000).to_bytes(4, "big") + b"[" * 40_000,
    (3).to_bytes(4, "big") + b"\xff\xfe\xfd",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_bodies_that_are_none(west: Hub, body: bytes) -> None:
    answer = await post(west, body)
    assert 400 <= answer.status_code < 500
    assert reason_of(answer)[1]


async def test_every_cut_and_changed_byte_is_refused_or_means_the_same(west: Hub) -> None:
    evidence = fresh(Job()).evidence()
    body = evidence.encode()
    for cut in (1, 4, 5, 200, len(body) - 1):
        assert 400 <= (await post(west, body[:cut])).status_code < 500
    for place in range(6, 1_600, 97):
        changed = bytearray(body)
        changed[place] ^= 1
        answer = await post(west, bytes(changed))
        assert 400 <= answer.status_code < 500, (place, answer.text)
    assert 400 <= (await post(west, body + b"\0")).status_code < 500
    assert kept(west, evidence) is None
    assert is_answered(await post(west, body), evidence)


async def test_large_bodies_need_a_known_caller(west: Hub) -> None:
    large = (100 * 1024 * 1024).to_bytes(4, "big") + bytes(200 * 1024)
    unsigned = {SIGNATURE_HEADER: "0x" + "11" * 65}
    answer = await post(west, large, headers=unsigned)
    assert answer.status_code == 401
    assert (await post(west, large)).status_code == 400
