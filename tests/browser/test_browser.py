"""A page in Chromium, a wallet's injected provider and a node: three origins that meet only in the browser."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import parse_hex, to_checksum_address
from chain.primitives.keys import PrivateKey, recover_address
from chain.primitives.signing import eip191_digest
from chain.primitives.types import ATOMS_PER_AIT
from genesis.topology import DEVNET_NAME, wallet_network
from tests.browser.page_server import PageServer
from tests.clients.network import DevnetNetwork, run_script

pytestmark = [pytest.mark.node, pytest.mark.chromium, pytest.mark.timeout(200)]

BROWSER = Path(__file__).parent / "browser.mjs"
PRICE = 2 * ATOMS_PER_AIT


Press = Callable[[str], dict[str, Any]]


@pytest.fixture
def payee() -> PrivateKey:
    return PrivateKey.generate()


@pytest.fixture
def relayer(network: DevnetNetwork) -> PrivateKey:
    """The page's owner, who sends what visitors sign."""
    return network.funded(ATOMS_PER_AIT)


@pytest.fixture
def press(network: DevnetNetwork, holder: PrivateKey, relayer: PrivateKey, payee: PrivateKey) -> Iterator[Press]:
    """`press(button)`: what the page says after the holder has clicked, and what else happened in the browser."""
    with page_about(network, relayer, payee) as page:

        def run(button: str) -> dict[str, Any]:
            seen = click(button, network, page, holder)
            assert "error" not in seen["outcome"], (seen["outcome"], seen["said"])
            # Two origins, so the browser let each request pass only because the node said that pages may.
            assert set(seen["asked"]) == {page.url.rstrip("/"), network.url}
            return seen

        yield run


def page_about(network: DevnetNetwork, relayer: PrivateKey, payee: PrivateKey) -> PageServer:
    """A page that has visitors of this network pay somebody."""
    settings = {
        "network": wallet_network(network.chain_id, DEVNET_NAME, network.url),
        "nodeUrl": network.url,
        "webSocketUrl": network.websocket_url,
        "payee": to_checksum_address(payee.address),
        "value": str(PRICE),
    }
    return PageServer(network, relayer, settings)


def click(button: str, network: DevnetNetwork, page: PageServer, visitor: PrivateKey) -> dict[str, Any]:
    """Opens the page in a browser of its own whose wallet holds the visitor's key."""
    inputs = network.script_inputs(visitor, pageUrl=page.url, chromiumPath=shutil.which("chromium"))
    return run_script(BROWSER, button, inputs)


def test_typed_data_that_a_page_has_signed_is_submitted_by_its_owner(
    network: DevnetNetwork,
    holder: PrivateKey,
    payee: PrivateKey,
    relayer: PrivateKey,
    press: Press,
) -> None:
    seen = press("pay")
    outcome = seen["outcome"]
    assert seen["prompts"] == ["eth_requestAccounts", "wallet_addEthereumChain", "eth_signTypedData_v4"]
    assert outcome["before"]["asSigned"] is None
    assert "invalid signature" in outcome["before"]["raised"]
    assert "authorization is expired" in outcome["before"]["late"]
    assert (outcome["status"], outcome["isUsed"]) == (1, True)
    assert outcome["events"] == ["AuthorizationUsed", "Transfer"]
    assert outcome["balances"] == [str(98 * ATOMS_PER_AIT), str(PRICE)]
    assert "authorization is used or canceled" in outcome["after"]
    assert outcome["statusOfReplay"] == 0
    final = network.client.transaction(outcome["hash"])
    assert (final.status, final.sender) == ("success", to_checksum_address(relayer.address))
    assert network.balance(payee.address) == PRICE
    assert (network.nonce(holder.address), network.nonce(relayer.address)) == (1, 3)


def test_a_page_asks_for_a_transaction_and_waits_until_it_is_final(
    network: DevnetNetwork, holder: PrivateKey, payee: PrivateKey, press: Press
) -> None:
    seen = press("send")
    outcome = seen["outcome"]
    assert seen["prompts"][-2:] == ["personal_sign", "eth_sendTransaction"]
    signature = parse_hex(outcome["signature"], length=65)
    assert recover_address(eip191_digest(outcome["message"].encode()), signature) == holder.address
    assert (outcome["status"], outcome["refusal"]) == (1, "INSUFFICIENT_FUNDS")
    assert network.client.transaction(outcome["hash"]).status == "success"
    assert network.balance(payee.address) == PRICE
    assert network.nonce(holder.address) == 2


def test_a_page_follows_the_chain_over_a_websocket(press: Press) -> None:
    outcome = press("watch")["outcome"]
    assert outcome["values"] == ["1", "2", "3"]
    assert len(set(outcome["heights"])) == len(outcome["heights"]) >= 3
    assert outcome["heights"] == sorted(outcome["heights"])


def test_only_pages_that_the_operator_names_may_read_where_he_names_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, press: Press
) -> None:
    assert press("look")["outcome"] == ["fulfilled"] * 3
    monkeypatch.setenv("AITBC_NODE_CORS_ORIGINS", "https://wallet.example")
    nobody = PrivateKey.generate()
    with DevnetNetwork(tmp_path / "net", validators=1) as closed, page_about(closed, nobody, nobody) as page:
        assert click("look", closed, page, nobody)["outcome"] == ["rejected"] * 3
        assert closed.client.status().chain_id == closed.chain_id  # Who is no browser is none of its business.
