"""`aitbc wallet compliance`: an authority vouches for somebody, and a market with a policy lets them trade."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.client import NodeClient
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.market import ADD_AUTHORITY, DEFINE_POLICY, POLICY_COUNT, REMOVE_AUTHORITY
from chain.primitives.modules import MARKET
from chain.primitives.types import ATOMS_PER_AIT
from tests.wallet.conftest import PASSWORD
from tests.wallet.governed import decide, issue, open_market
from tests.wallet.running_node import RunningNode
from wallet.keystore import LIGHT_SCRYPT_N, save_key

RunWallet = Callable[..., Any]
ISSUER = PrivateKey(b"\x52" * 32)
EVIDENCE = "0x" + "17" * 32


@pytest.fixture
def office(node: RunningNode, people: dict[str, PrivateKey], tmp_path: Path) -> PrivateKey:
    """An authority, as an account of the home."""
    key = PrivateKey.generate()
    save_key(tmp_path / "home" / "keys" / "office.json", key, PASSWORD, scrypt_n=LIGHT_SCRYPT_N)
    decide(node, ADD_AUTHORITY, key.address)
    return key


def test_a_credential_opens_a_market(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey], office: PrivateKey
) -> None:
    decide(node, DEFINE_POLICY, [office.address], True, [276, 40], 2)
    with NodeClient(node.url) as client:
        (policy,) = client.view(MARKET, POLICY_COUNT).values or (0,)
    market = open_market(node, issue(node, ISSUER, "KYC"), policy=policy)
    node.fund(people["alice"], 10 * ATOMS_PER_AIT)
    address, authority = (to_checksum_address(key.address) for key in (people["alice"], office))

    def compliance(*words: object, code: int = 0) -> Any:
        ran = wallet("compliance", *map(str, words), "--from", "office", "--yes", "--json")
        assert ran.code == code, ran.stderr
        return ran.json if code == 0 else ran.stderr

    def shown() -> Any:
        return wallet("compliance", "show", "alice", "--market", str(market), "--json").json

    def sell() -> Any:
        return wallet("market", "sell", str(market), "1", "1", "--from", "alice", "--yes", "--json")

    # Nobody has vouched for alice yet
    assert shown() == {"address": address, "credentials": [], "market": market, "eligible": False}
    refused = sell()
    assert (refused.code, "not_eligible" in refused.stderr) == (7, True)
    # At too low a level, then at the right one, by the only credential of this authority
    compliance("grant", "alice", "--country", 276, "--level", 1)
    assert not shown()["eligible"]
    granted = compliance("grant", "alice", "--country", 276, "--level", 2, "--evidence-hash", EVIDENCE)
    (credential,) = shown()["credentials"]
    assert credential == {
        "authority": authority,
        "country": 276,
        "level": 2,
        "expires_at": granted["expires_at"],
        "expired": False,
        "evidence_hash": EVIDENCE,
    }
    assert shown()["eligible"]
    order = sell().json["order_id"]
    lines = wallet("compliance", "show", "alice", "--market", f"{market}").stdout
    assert f"{authority}  country 276  level 2  until " in lines
    assert f"may trade in market {market}, AIT/KYC" in lines
    # Taken back: no new order, but what rests can be cancelled
    compliance("revoke", "alice")
    assert shown()["credentials"] == []
    assert sell().code == 7
    assert wallet("market", "cancel", str(order), "--from", "alice", "--yes").code == 0
    assert "unknown_credential" in compliance("revoke", "alice", code=7)
    # What policies ask is public
    listed = wallet("compliance", "policies", "--json").json["policies"]
    assert listed[policy - 1] == {
        "policy": policy,
        "authorities": [authority],
        "countries_allowed": True,
        "countries": [276, 40],
        "minimum_level": 2,
    }
    assert "only 276, 040" in wallet("compliance", "policies").stdout


def test_words_and_refusals(wallet: RunWallet, node: RunningNode, office: PrivateKey) -> None:
    asked = wallet("compliance", "grant", "alice", "--country", "40", "--from", "office")
    assert (asked.code, asked.stdout) == (9, "")
    assert "country 040, level 1" in asked.stderr
    for wrong in (
        ("grant", "alice", "--country", "0"),
        ("grant", "alice", "--country", "1000"),
        ("grant", "alice", "--country", "40", "--evidence-hash", "0x12"),
        ("grant", "0x0000000000000000000000000000000000000000", "--country", "40"),
        ("grant", "alice"),
    ):
        assert wallet("compliance", *wrong, "--from", "office", "--yes").code == 2, wrong
    # Another authority's credential is seen where it is asked for
    assert wallet("compliance", "grant", "bob", "--country", "40", "--from", "office", "--yes").code == 0
    found = wallet("compliance", "show", "bob", "--authority", "office", "--json").json["credentials"]
    assert [each["country"] for each in found] == [40]
    decide(node, REMOVE_AUTHORITY, office.address)
    refused = wallet("compliance", "grant", "alice", "--country", "40", "--from", "office", "--yes")
    assert refused.code in (5, 7)
    assert "newcomer" in refused.stderr or "not_an_authority" in refused.stderr
