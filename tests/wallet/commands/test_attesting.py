"""`aitbc wallet attest`: what an attester saw of a provider stands in its record on the chain, counted once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.client import NodeClient
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import PUBLISH_SLA, REGISTER, REGISTRY
from chain.primitives.sla import ServiceLevel, sign_service_level
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, Amount
from chain.rules.reputation import MAX_RECORDED
from tests.wallet.conftest import PASSWORD
from tests.wallet.governed import call
from tests.wallet.running_node import ATTESTER, CHAIN_ID, RunningNode
from wallet.commands.attesting import MAX_COUNTED
from wallet.keystore import LIGHT_SCRYPT_N, save_key

RunWallet = Callable[..., Any]
ENDPOINT = "https://gpu.example"


@pytest.fixture
def provider(node: RunningNode, people: dict[str, PrivateKey], tmp_path: Path) -> PrivateKey:
    """A registered one; the attester's key is in the home."""
    save_key(tmp_path / "home" / "keys" / "attester.json", ATTESTER, PASSWORD, scrypt_n=LIGHT_SCRYPT_N)
    key = PrivateKey.generate()
    call(node, key, REGISTRY, REGISTER, ENDPOINT, ["tiny-sd"], 10**15, "images", 0, ZERO_ADDRESS)
    return key


def _record(node: RunningNode, provider: PrivateKey) -> tuple[int, int, int]:
    with NodeClient(node.url) as client:
        counted = client.provider(provider.address).reputation
    return counted.failures, counted.disputes, counted.breaches


def test_failures_and_disputes_are_counted_once(
    wallet: RunWallet, node: RunningNode, provider: PrivateKey, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    evidence = tmp_path / "jobs.json"
    evidence.write_text('{"jobs": []}')
    address = to_checksum_address(provider.address)
    command = (
        "attest",
        "outcome",
        address,
        "--failures",
        "2",
        "--disputes",
        "1",
        "--evidence",
        evidence,
        "--yes",
        "--json",
    )
    done = wallet(*command, "--from", "attester")
    assert done.code == 0, done.stderr
    assert "2 failures, 1 disputes: for good" in done.stderr
    assert done.json["evidence_hash"] == to_hex(keccak256(evidence.read_bytes()))
    assert _record(node, provider) == (2, 1, 0)
    again = wallet(*command, "--from", "attester")
    assert (again.code, "evidence_used" in again.stderr) == (7, True)
    evidence.write_text("other")
    node.fund(people["alice"], ATOMS_PER_AIT)
    stranger = wallet(*command, "--from", "alice")
    assert (stranger.code, "not_an_attester" in stranger.stderr) == (7, True)
    assert _record(node, provider) == (2, 1, 0)


def test_a_breach_names_a_statement_that_was_published(
    wallet: RunWallet, node: RunningNode, provider: PrivateKey, tmp_path: Path
) -> None:
    now_s = int(time.time())
    promised = ServiceLevel(
        chain_id=CHAIN_ID,
        provider=provider.address,
        endpoint=ENDPOINT,
        availability_basis_points=9_950,
        p95_latency_ms=30_000,
        price_per_unit=Amount(10**15),
        unit_type="images",
        valid_from=now_s,
        valid_until=now_s + 3_600,
    )
    statement, evidence = tmp_path / "sla.json", tmp_path / "seen.csv"
    document = sign_service_level(provider, promised).to_object()
    statement.write_text(json.dumps(document))
    evidence.write_text("time,seconds\n1,99\n")
    command = ("attest", "breach", statement, "--evidence", evidence, "--from", "attester", "--yes", "--json")
    early = wallet(*command)
    assert (early.code, "unknown_sla" in early.stderr) == (7, True)
    call(node, provider, REGISTRY, PUBLISH_SLA, promised.hash)
    done = wallet(*command)
    assert (done.code, done.json["sla_hash"]) == (0, to_hex(promised.hash)), done.stderr
    assert _record(node, provider) == (0, 0, 1)
    # Changed afterwards, it is nobody's
    statement.write_text(json.dumps(document | {"statement": document["statement"] | {"p95_latency_ms": 1}}))
    assert wallet(*command).code == 1
    assert _record(node, provider) == (0, 0, 1)


def test_what_shows_nothing_is_refused_before_anything_is_asked(
    offline: RunWallet, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    address = to_checksum_address(people["bob"].address)
    for options, hint in (
        (("--evidence", empty, "--failures", "1"), "shows nothing"),
        (("--evidence", empty), "nothing to record"),
        (("--evidence", empty, "--failures", str(MAX_RECORDED + 1)), "Invalid value for '--failures'"),
    ):
        refused = offline("attest", "outcome", address, *options, "--from", "alice")
        assert (refused.code, refused.stdout) == (2, "")
        assert hint in refused.stderr
    assert offline("attest", "outcome", address, "--failures", "1", "--evidence", tmp_path / "none").code == 1
    assert MAX_COUNTED == MAX_RECORDED
