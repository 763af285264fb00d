"""`aitbc wallet asset` and `send --asset`: an issuer's life and its holders', through a real node."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.client import NodeClient
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import GOVERNANCE, REMOVE_ISSUER
from tests.wallet.conftest import PASSWORD
from tests.wallet.governed import decide, make_issuer
from tests.wallet.running_node import RunningNode
from wallet.keystore import LIGHT_SCRYPT_N, save_key

RunWallet = Callable[..., Any]
Asset = Callable[..., Any]
NUMBERS = itertools.count(1)
HASH = "0x" + "ab" * 32


@pytest.fixture
def bank(node: RunningNode, people: dict[str, PrivateKey], tmp_path: Path) -> PrivateKey:
    """An issuer, as an account of the home."""
    key = PrivateKey.generate()
    save_key(tmp_path / "home" / "keys" / "bank.json", key, PASSWORD, scrypt_n=LIGHT_SCRYPT_N)
    make_issuer(node, key)
    return key


@pytest.fixture
def asset(wallet: RunWallet, bank: PrivateKey) -> Asset:
    """`asset("mint", …, sender="bank", code=0)`: JSON, or what was said on stderr."""

    def run(*words: object, sender: str = "bank", code: int = 0) -> Any:
        ran = wallet("asset", *map(str, words), "--from", sender, "--yes", "--json")
        assert ran.code == code, ran.stderr
        return ran.json if code == 0 else ran.stderr

    return run


def atoms(wallet: RunWallet, who: str, symbol: str) -> int:
    listed = wallet("asset", "balance", who, "--json").json["balances"]
    return next((int(each["balance_atoms"]) for each in listed if each["symbol"] == symbol), 0)


def test_from_issue_to_burn(wallet: RunWallet, asset: Asset, bank: PrivateKey, people: dict[str, PrivateKey]) -> None:
    symbol = f"EUR{next(NUMBERS)}"
    issued = asset("issue", "Euro of a test", symbol, "--decimals", 2, "--cap", "1000", "--reserve-hash", HASH)
    shown = wallet("asset", "show", symbol, "--json").json
    assert shown["asset"] == issued["asset"]
    assert (shown["issuer"], shown["cap_atoms"]) == (to_checksum_address(bank.address), "100000")
    assert (shown["name"], shown["decimals"], shown["reserve_hash"]) == ("Euro of a test", 2, HASH)
    assert not (shown["freezable"] or shown["clawback"] or shown["authorization_required"])
    # Minted, sent on in two ways, burnt
    assert asset("mint", symbol, "alice", "12.5")["amount_atoms"] == "1250"
    assert "asset_cap" in asset("mint", symbol, "alice", "1000", code=7)
    asset("transfer", symbol, "bob", "2.5", sender="alice")
    sent = wallet("send", "bank", "1.25", "--asset", symbol, "--from", "bob", "--yes", "--json")
    assert (sent.code, sent.json["status"], sent.json["asset"]) == (0, "success", issued["asset"])
    sent = wallet("send", "bank", "25", "--atoms", "--asset", issued["asset"], "--from", "bob", "--yes", "--json")
    assert (sent.code, sent.json["amount_atoms"]) == (0, "25")
    assert [atoms(wallet, who, symbol) for who in ("alice", "bob", "bank")] == [1_000, 100, 150]
    asset("burn", symbol, "0.5")
    assert wallet("asset", "show", symbol, "--json").json["supply_atoms"] == "1200"
    assert "insufficient_funds" in asset("transfer", symbol, "bob", "10.01", sender="alice", code=7)
    # Its reserves
    asset("reserve", symbol, "0x" + "cd" * 32)
    lines = wallet("asset", "show", symbol).stdout
    assert "0x" + "cd" * 32 in lines
    assert f"12 {symbol} (1200 atoms)" in lines
    assert symbol in wallet("asset", "list").stdout
    assert wallet("asset", "list", "--json").json["assets"][0]["symbol"] == "AIT"


def test_powers_over_holders(wallet: RunWallet, asset: Asset) -> None:
    symbol = f"REG{next(NUMBERS)}"
    powers = ("--authorization-required", "--freezable", "--clawback")
    asset("issue", "Regulated", symbol, *powers)
    assert "not_authorized" in asset("mint", symbol, "alice", "5", code=7)
    asset("authorize", symbol, "alice")
    asset("mint", symbol, "alice", "5")
    assert "not_authorized" in asset("transfer", symbol, "bob", "1", sender="alice", code=7)
    asset("freeze", symbol, "alice")
    assert "frozen" in wallet("asset", "balance", "alice").stdout
    assert "asset_frozen" in asset("transfer", symbol, "bank", "1", sender="alice", code=7)
    asset("freeze", symbol, "alice", "--thaw")
    asset("claw-back", symbol, "alice", "2")
    assert (atoms(wallet, "alice", symbol), atoms(wallet, "bank", symbol)) == (3_000_000, 2_000_000)
    asset("authorize", symbol, "alice", "--withdraw")
    assert "not authorised" in wallet("asset", "balance", "alice").stdout
    # Given up for good
    asset("weaken", symbol, "--clawback", "--freezable")
    assert wallet("asset", "show", symbol, "--json").json["authorization_required"]
    assert "asset_power" in asset("claw-back", symbol, "alice", "1", code=7)
    assert "name what you give up" in asset("weaken", symbol, code=2)


def test_it_is_said_in_words(wallet: RunWallet, asset: Asset, people: dict[str, PrivateKey]) -> None:
    symbol = f"SAY{next(NUMBERS)}"
    asset("issue", "Said", symbol)
    asset("mint", symbol, "alice", "5")
    bob = to_checksum_address(people["bob"].address)
    asked = wallet("asset", "transfer", symbol, "bob", "1.5", "--from", "alice")
    assert (asked.code, asked.stdout) == (9, "")
    assert f"1.5 {symbol} (1500000 atoms) to {bob}" in asked.stderr
    asked = wallet("asset", "mint", symbol, "bob", "2", "--from", "bank")
    assert f"mints 2 {symbol} (2000000 atoms) for {bob}" in asked.stderr
    tried = wallet("asset", "mint", symbol, "bob", "2", "--from", "alice", "--dry-run")
    assert (tried.code, f"only the issuer of {symbol}" in tried.stdout) == (5, True), tried
    issue = wallet("asset", "issue", "More", "MORE", "--freezable", "--from", "bank")
    assert "you may" in issue.stderr
    assert "freezable" in issue.stderr
    assert atoms(wallet, "bob", symbol) == 0


def test_what_cannot_be(wallet: RunWallet, asset: Asset, node: RunningNode, bank: PrivateKey) -> None:
    symbol = f"BAD{next(NUMBERS)}"
    first = asset("issue", "First", symbol)["asset"]
    assert "more than 6 decimals" in asset("mint", symbol, "alice", "0.0000001", code=2)
    assert "must be a number" in asset("mint", symbol, "alice", "1e6", code=2)
    assert "256 bits" in asset("mint", symbol, "alice", "9" * 79, code=2)
    assert "there is no asset 'NOPE'" in asset("mint", "NOPE", "alice", "1", code=1)
    assert "not_found" in asset("mint", "0x000000000000000000000000A17bCA55FfFfFfFF".lower(), "alice", "1", code=5)
    assert "AIT is sent with" in asset("transfer", "AIT", "alice", "1", code=2)
    assert "nobody has a key" in asset("transfer", symbol, first, "1", code=2)
    assert "at least one atom" in asset("issue", "Zero", "ZERO", "--cap", "0", code=2)
    assert "invalid_asset" in asset("issue", "Fake", "AIT", code=7)
    # A symbol that two assets have names neither
    second = asset("issue", "Second", symbol)["asset"]
    refused = asset("mint", symbol, "alice", "1", code=1)
    assert f"2 assets are called '{symbol}': choose an address ({first}, {second})" in refused
    asset("mint", second, "alice", "1")
    with NodeClient(node.url) as client:
        assert int(client.asset(first).supply) == 0
    # Who is no issuer any more
    asset("mint", second, "bank", "3")  # Whoever holds something may still call.
    decide(node, REMOVE_ISSUER, bank.address, target=GOVERNANCE)
    assert "not_an_issuer" in asset("mint", second, "alice", "1", code=7)
    asset("burn", second, "1")
