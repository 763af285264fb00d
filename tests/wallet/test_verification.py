"""Checking a receipt without a chain: what holds, what was tampered with, what cannot be read at all."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, attestation_digest, combined_artifact_sha256, sign_receipt
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.shards import Shard
from chain.primitives.types import Hash32
from wallet.verification import Document, check_attesters, check_document, parse_attestation, recover_attesters

PROVIDER = PrivateKey(b"\x01" * 32)
IMAGE = b"not quite a PNG"
MakeReceipt = Callable[..., Receipt]
RunWallet = Callable[..., Any]


def attest(receipt: Receipt, *keys: PrivateKey) -> bytes:
    digest = attestation_digest(receipt.provider, receipt.amount, receipt.hash)
    return b"".join(key.sign(digest) for key in sorted(keys, key=lambda key: key.address))


@pytest.fixture
def answer(make_receipt: MakeReceipt, key: PrivateKey) -> dict[str, Any]:
    """A hub's answer: receipt, signature, attestation by `key`, image."""
    receipt = make_receipt(provider=PROVIDER.address, artifact_sha256=hashlib.sha256(IMAGE).hexdigest())
    return {
        "job_id": receipt.job_id,
        "receipt": receipt.to_object(),
        "receipt_hash": to_hex(receipt.hash),
        "provider_signature": to_hex(sign_receipt(PROVIDER, receipt)),
        "attestation": to_hex(attest(receipt, key)),
        "image_base64": "data:image/png;base64," + base64.b64encode(IMAGE).decode(),
    }


def passed(answer: object) -> dict[str, bool | None]:
    document = Document.from_json(json.dumps(answer).encode())
    return {check.name: check.passed for check in check_document(document)}


def test_a_whole_answer(answer: dict[str, Any]) -> None:
    assert passed(answer) == {
        "receipt": True,
        "receipt_hash": True,
        "provider_signature": True,
        "artifact": True,
        "attestation": None,  # Only a chain's list of attesters can tell.
    }


def test_a_bare_receipt(answer: dict[str, Any]) -> None:
    assert passed(answer["receipt"]) == {"receipt": True, "provider_signature": None, "attestation": None}


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        ("nonce", "another", {"receipt_hash", "provider_signature"}),
        ("artifact_sha256", "00" * 32, {"receipt_hash", "provider_signature", "artifact"}),
        ("provider", to_checksum_address(PrivateKey(b"\x09" * 32).address), {"receipt_hash", "provider_signature"}),
    ],
)
def test_a_tampered_receipt(answer: dict[str, Any], field: str, value: object, wrong: set[str]) -> None:
    answer["receipt"][field] = value
    assert {name for name, holds in passed(answer).items() if holds is False} == wrong


def test_swapped_and_malformed_signatures(answer: dict[str, Any]) -> None:
    swapped = answer | {"provider_signature": answer["attestation"]}
    assert passed(swapped)["provider_signature"] is False
    high_s = bytearray(bytes.fromhex(answer["provider_signature"][2:]))
    high_s[32:64] = (2**256 - 1).to_bytes(32, "big")
    assert passed(answer | {"provider_signature": to_hex(bytes(high_s))})["provider_signature"] is False
    assert passed(answer | {"image_base64": base64.b64encode(b"another").decode()})["artifact"] is False


def test_several_attesters_in_order(make_receipt: MakeReceipt) -> None:
    receipt = make_receipt()
    keys = [PrivateKey.generate() for _ in range(3)]
    attestation = attest(receipt, *keys)
    assert recover_attesters(receipt, attestation) == sorted(key.address for key in keys)
    backwards = attestation[130:] + attestation[65:130] + attestation[:65]
    twice = attestation[:65] * 2
    for wrong in (backwards, twice):
        with pytest.raises(Rejected) as refusal:
            recover_attesters(receipt, wrong)
        assert refusal.value.reason is RejectionReason.SIGNATURE_ORDER


@pytest.mark.parametrize("text", ["0x", "0x" + "00" * 64, "0x" + "00" * 66, "0x" + "00" * 65 * 17, "00" * 65, "0xzz"])
def test_what_is_no_attestation(text: str) -> None:
    with pytest.raises(Rejected):
        parse_attestation(text)


def test_attesters_against_a_chains_list() -> None:
    first, second = (PrivateKey(bytes([number]) * 32).address for number in (1, 2))
    both = [to_checksum_address(first), to_checksum_address(second)]
    assert check_attesters([first], both, 1, was_minted=False).passed is True
    assert check_attesters([first], both, 2, was_minted=False).passed is False
    assert check_attesters([first, second], both, 1, was_minted=False).passed is False
    assert check_attesters([first], both[1:], 1, was_minted=False).passed is False
    removed_since = check_attesters([first], both[1:], 1, was_minted=True)
    assert removed_since.passed is True
    assert "no longer listed" in removed_since.detail


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"units": 1e99999999999999999999}', RejectionReason.MALFORMED),  # Beyond a Decimal.
        (b"", RejectionReason.MALFORMED),
        (b"[]", RejectionReason.MALFORMED),
        (b"\xff", RejectionReason.MALFORMED),
        (b"[" * 100_000, RejectionReason.TOO_LARGE),
        (b'{"a": ' + b"1" * 5000 + b"}", RejectionReason.MALFORMED),
        (b'{"job_id": "a", "job_id": "b"}', RejectionReason.DUPLICATE_KEY),
        (b'{"receipt": {}, "receipt": {}}', RejectionReason.DUPLICATE_KEY),
        (b'{"receipt": {"version": 1, "version": 1}}', RejectionReason.DUPLICATE_KEY),
        (b"{}", RejectionReason.MISSING_FIELD),
        (b'{"receipt": null}', RejectionReason.MALFORMED),
    ],
)
def test_what_is_no_document(text: bytes, reason: RejectionReason) -> None:
    with pytest.raises(Rejected) as refusal:
        Document.from_json(text)
    assert refusal.value.reason is reason


@pytest.mark.parametrize("field", ["receipt_hash", "provider_signature", "attestation", "image_base64", "receipt"])
@pytest.mark.parametrize("value", [7, "", "x", [], {}, "0x00"])
def test_fields_of_the_wrong_kind(answer: dict[str, Any], field: str, value: object) -> None:
    try:
        assert False in passed(answer | {field: value}).values()
    except Rejected:
        assert field != "job_id"


def test_the_command(run: RunWallet, tmp_path: Path, answer: dict[str, Any]) -> None:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(answer))
    ended = run("receipt", "verify", path, "--json")
    assert ended.code == 0
    assert ended.json["verified"] is True
    assert ended.json["receipt_hash"] == answer["receipt_hash"]
    assert ended.json["amount_atoms"] == answer["receipt"]["amount"]
    assert {check["name"]: check["passed"] for check in ended.json["checks"]} == passed(answer)
    from_stdin = run("receipt", "verify", "-", "--json", stdin=path.read_bytes())
    assert from_stdin.json == ended.json


def test_split_receipt_and_trajectory(run: RunWallet, tmp_path: Path, make_receipt: MakeReceipt) -> None:
    other = PrivateKey(b"\x02" * 32)
    shards = (
        Shard(provider=PROVIDER.address, micro_units=1_000_000, artifact_sha256="ab" * 32),
        Shard(provider=other.address, micro_units=250_000, artifact_sha256="bc" * 32),
    )
    artifact = combined_artifact_sha256([b"\xab" * 32, b"\xbc" * 32])
    receipt = make_receipt(shards=shards, trajectory_root=Hash32(b"\x0e" * 32), artifact_sha256=artifact)
    states = passed(receipt.to_object())
    assert (states["shards"], states["trajectory_root"]) == (True, None)
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt.to_object()))

    shown = json.loads(run("receipt", "hash", str(path), "--json").stdout)
    assert shown["trajectory_root"] == "0x" + "0e" * 32
    assert shown["shards"] == [
        {"provider": to_checksum_address(PROVIDER.address), "amount_atoms": str(10**18)},
        {"provider": to_checksum_address(other.address), "amount_atoms": str(10**18 // 4)},
    ]
    for_people = run("receipt", "verify", str(path)).stdout
    assert "2 parts that add up" in for_people
    assert f"{to_checksum_address(other.address)} 0.25 AIT" in for_people
    assert "0x" + "0e" * 32 in for_people


def test_the_command_takes_parts_one_by_one(run: RunWallet, tmp_path: Path, answer: dict[str, Any]) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(answer["receipt"], indent=4))
    parts = ["--hash", answer["receipt_hash"], "--signature", answer["provider_signature"]]
    assert run("receipt", "verify", path, *parts, "--attestation", answer["attestation"]).code == 0
    wrong = run("receipt", "verify", path, "--hash", "0x" + "00" * 32, "--json")
    assert wrong.code == 8
    assert wrong.json["verified"] is False
    assert "receipt_hash" in wrong.stderr


def test_the_command_on_what_is_no_receipt(run: RunWallet, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"receipt": {"version": 2}}')
    ended = run("receipt", "verify", path, "--json")
    assert ended.code == 8
    assert ended.json["verified"] is False
    assert run("receipt", "verify", tmp_path / "missing").code == 1
    assert run("receipt", "verify", path, "--signature", "0x12").code == 8
