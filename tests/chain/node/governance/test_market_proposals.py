"""An operator proposes what concerns the market: said in words, signed after a yes, carried out by a real node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chain.client import NodeClient
from chain.node.cli import app
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.market import ISSUE_ASSET
from chain.primitives.modules import GOVERNANCE, IS_ATTESTER, IS_ISSUER, MARKET, MINTER, PAUSED
from chain.primitives.transaction import sign_transaction
from tests.wallet.running_node import CHAIN_ID, RunningNode

ISSUER = PrivateKey(b"\x61" * 32)
ISSUER_TEXT = to_checksum_address(ISSUER.address)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    running = RunningNode(tmp_path_factory.mktemp("node") / "main")
    yield running
    running.stop()


def propose(node: RunningNode, *words: object, expect: int = 0, stdin: str | None = None) -> Result:
    """With --yes and --execute unless there is somebody to answer."""
    options = ["--data-dir", str(node.network_file.parent / "data"), "--url", node.url]
    options += ["--yes", "--execute"] if stdin is None else []
    command = ["governance", "propose", *map(str, words), *options]
    done = CliRunner().invoke(app, command, input=stdin)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == expect, done.stdout + done.stderr
    return done


def call(node: RunningNode, function: Any, *arguments: Any) -> None:
    with NodeClient(node.url) as client:
        nonce = client.account(ISSUER.address).nonce
        data = function.encode(*arguments)
        sent = sign_transaction(ISSUER, chain_id=CHAIN_ID, nonce=nonce, to=MARKET, data=data)
        client.send_transaction(sent.raw)
        assert client.wait_for_transaction(sent.hash).status == "success"


def test_from_an_issuer_to_a_market_that_closes(node: RunningNode) -> None:
    with NodeClient(node.url) as client:
        # An issuer, its asset, a market
        assert "executed" in propose(node, "issuer", "add", ISSUER_TEXT).stdout
        assert client.view(GOVERNANCE, IS_ISSUER, ISSUER.address).values == (True,)
        call(node, ISSUE_ASSET, "Worth nothing", "XUSD", 6, 0, 0, bytes(32))
        asset = client.assets().items[1].asset
        terms = ("--lot", 10**16, "--tick", 5, "--minimum-lots", 10, "--maker-fee", 5, "--taker-fee", 10)
        said = propose(node, "market", "create", "AIT", asset, *terms)
        for text in (
            f"XUSD (Worth nothing), {asset}, issued by {ISSUER_TEXT}",
            "multiples of 0.01 AIT, at least 0.1 AIT",
            "multiples of 0.0005 XUSD per AIT",
            "0.05 % (5 basis points)",
            "none: everybody may trade",
        ):
            assert text in said.stderr
        market = client.market(1)
        assert (market.lot, market.tick, market.minimum_lots) == (10**16, 5, 10)
        # Its fees, an authority, a policy, its status
        propose(node, "market", "fees", 1, "--maker-fee", 7, "--taker-fee", 8)
        propose(node, "authority", "add", ISSUER_TEXT)
        propose(node, "policy", ISSUER_TEXT, "--deny", 840, "--minimum-level", 3)
        said = propose(node, "market", "policy", 1, 1)
        assert "AIT/XUSD, now open" in said.stderr
        propose(node, "market", "status", 1, "halted")
        market = client.market(1)
        assert (market.maker_fee, market.taker_fee, market.policy, market.status) == (7, 8, 1, "halted")
        policy = client.policy(1)
        assert (policy.countries_allowed, policy.countries, policy.minimum_level) == (False, [840], 3)
        propose(node, "authority", "remove", ISSUER_TEXT)
        propose(node, "issuer", "remove", ISSUER_TEXT)
        assert client.view(GOVERNANCE, IS_ISSUER, ISSUER.address).values == (False,)
        refused = propose(node, "spend", "AIT", ISSUER_TEXT, 10**18, expect=1)  # Nothing was earned yet.
        assert "1 AIT (1000000000000000000 atoms)" in refused.stderr
        assert "insufficient_funds" in refused.stderr


def test_an_attester_comes_changes_and_goes(node: RunningNode) -> None:
    with NodeClient(node.url) as client:
        before = client.attesters().attesters
        said = propose(node, "attester", "set", ISSUER_TEXT, "--ait-per-period", "1000")
        assert f"{ISSUER_TEXT} may vouch for 1000 AIT and 1000000 receipts in a period." in said.stderr
        assert client.view(MINTER, IS_ATTESTER, ISSUER.address).values == (True,)
        propose(node, "attester", "set", ISSUER_TEXT, "--ait-per-period", "0.5", "--receipts-per-period", 7)
        (changed,) = [each for each in client.attesters().attesters if each.address == ISSUER_TEXT]
        assert (changed.atoms_per_period, changed.receipts_per_period) == (5 * 10**17, 7)
        unsure = propose(node, "attester", "remove", ISSUER_TEXT, expect=1, stdin="n\n")
        assert f"Propose to remove {ISSUER_TEXT}?" in unsure.stderr
        assert client.view(MINTER, IS_ATTESTER, ISSUER.address).values == (True,)
        propose(node, "attester", "remove", ISSUER_TEXT)
        assert client.attesters().attesters == before


def test_minting_is_paused_and_goes_on(node: RunningNode) -> None:
    with NodeClient(node.url) as client:
        unsure = propose(node, "pause", expect=1, stdin="n\n")
        assert "nothing is minted until `unpause`" in unsure.stderr
        for word, is_paused in (("pause", True), ("unpause", False)):
            propose(node, word)
            assert client.view(GOVERNANCE, PAUSED).values == (is_paused,)


def test_nothing_is_signed_without_a_yes_and_nonsense_is_one_line(node: RunningNode) -> None:
    with NodeClient(node.url) as client:
        before = len(client.proposals(limit=200).items)
        for answer in ("n\n", ""):
            assert "Propose it?" in propose(node, "issuer", "add", ISSUER_TEXT, stdin=answer, expect=1).stderr
        wrong: tuple[tuple[object, ...], ...] = (
            ("issuer", "add", "0x12"),
            ("market", "create", "AIT", "0x000000000000000000000000a17bca55ffffffff", "--lot", 1, "--tick", 1),
            ("market", "create", "AIT", "AIT", "--lot", 2**256, "--tick", 1),
            ("market", "status", 77, "open"),
            ("spend", "AIT", ISSUER_TEXT, 2**256),
        )
        for words in wrong:
            said = propose(node, *words, expect=1).stderr
            assert "Traceback" not in said
            assert said.splitlines()[-1].startswith("aitbc node: ")
        for words in (
            ("market", "fees", 1, "--maker-fee", 1_001, "--taker-fee", 0),
            ("policy", ISSUER_TEXT, "--allow", 0),
        ):
            propose(node, *words, expect=2)
        assert len(client.proposals(limit=200).items) == before
