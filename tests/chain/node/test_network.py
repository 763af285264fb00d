"""Several real nodes over real sockets: finality, failures, catching up, and changes of the validator set."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from chain.consensus.effects import BlockCommitted
from chain.consensus.messages import Message, VoteMessage
from chain.node.peers.network import PeerNetwork
from chain.node.peers.settings import PeerSettings
from chain.primitives.certificate import VoteKind, sign_vote
from chain.primitives.consent import sign_consent
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_hex
from chain.primitives.modules import ADD_VALIDATOR, APPROVE_PROPOSAL, EXECUTE, GOVERNANCE, PROPOSE, REMOVE_VALIDATOR
from chain.primitives.network import Validator
from chain.primitives.types import ATOMS_PER_AIT, Hash32
from chain.web.server import listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chain.primitives.transaction import Transaction
    from tests.chain.conftest import Chain, People, RunningNode

    Validate = Callable[..., "Devnet"]

NAMES = ("validator", "second", "third", "fourth")
PATIENCE_S = 90.0


def eventually(is_so: Callable[[], bool], what: str) -> None:
    """Waits for it; the machine may be busy."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Devnet:
    """Nodes of one network, by name; every name but `follower…` is a key's."""

    def __init__(self, people: People, node_class: type[RunningNode], path: Path, validators: tuple[str, ...]) -> None:
        self.people = people
        self.path = path
        self.nodes: dict[str, RunningNode] = {}
        self._node_class = node_class
        self._listeners: dict[str, socket.socket] = {name: listen("127.0.0.1", 0) for name in validators}
        self._ports = {name: listener.getsockname()[1] for name, listener in self._listeners.items()}
        members = tuple(
            Validator(people.address(name), people.key(name).public_key, self.url(name)) for name in validators
        )
        people.network = msgspec.structs.replace(people.network, validators=members)

    def url(self, name: str) -> str:
        """Where peers reach a node."""
        return f"ws://127.0.0.1:{self._ports[name]}/p2p"

    def start(self, *names: str) -> None:
        """Starts nodes, or starts them again in their folders."""
        for name in names:
            listener = self._listeners.pop(name, None) or listen("127.0.0.1", self._ports.get(name, 0))
            self._ports[name] = listener.getsockname()[1]
            self.nodes[name] = self._node_class(
                self.people,
                self.path / name,
                validator=None if name.startswith("follower") else name,
                listener=listener,
                peers=PeerSettings(
                    listen_url=self.url(name),
                    bootstrap=(self.url("validator"),),
                    retry_first_s=0.05,
                    retry_last_validator_s=0.3,
                ),
            )

    def stop(self, *names: str) -> None:
        """Ends nodes as SIGTERM would."""
        for name in names:
            self.nodes.pop(name).stop()

    def close(self) -> None:
        """The end of a test."""
        self.stop(*list(self.nodes))
        for listener in self._listeners.values():
            listener.close()

    def __getitem__(self, name: str) -> RunningNode:
        return self.nodes[name]

    def height(self, name: str) -> int:
        """A node's newest final block."""
        return self[name].client.status().finalized.height

    def wait_for_height(self, height: int, *names: str) -> None:
        """Until these nodes, or all, have it."""
        for name in names or self.nodes:
            eventually(lambda name=name: self.height(name) >= height, f"{name} does not reach height {height}")  # type: ignore[misc]

    def settle(self, *transactions: Transaction, at: str = "validator") -> list[str]:
        """Hands transactions to one node and waits until they are final there; their statuses."""
        node = self[at]
        node.send(*transactions)
        return [
            node.client.wait_for_transaction(each.hash, timeout_s=PATIENCE_S, poll_interval_s=0.02).status
            for each in transactions
        ]

    def check_agreement(self) -> None:
        """Every node has the same blocks and states up to the lowest head; nobody has failed."""
        self.check_agreement_at(*range(min(self.height(name) for name in self.nodes) + 1))

    def check_agreement_at(self, *heights: int) -> None:
        """Every node has the same blocks and states at these heights; nobody has failed."""
        for height in heights:
            blocks = [node.client.block(height) for node in self.nodes.values()]
            assert len({(block.hash, block.state_root) for block in blocks}) == 1
        assert [node.node.fault for node in self.nodes.values()] == [None] * len(self.nodes)


@pytest.fixture
def devnet(tmp_path: Path, make_people: Callable[..., People], running_node: type[RunningNode]) -> Iterator[Validate]:
    """Makes a network: `devnet(*validators, **parameters)`; nothing runs yet."""
    with ExitStack() as running:

        def make(*validators: str, **parameters: int) -> Devnet:
            parameters.setdefault("network_delay_ms", 400)
            made = Devnet(make_people(**parameters), running_node, tmp_path, validators or NAMES)
            running.callback(made.close)
            return made

        yield make


@pytest.mark.parametrize("block_interval_ms", [0, 500])
def test_four_validators_and_a_follower_make_one_chain(devnet: Validate, block_interval_ms: int) -> None:
    net = devnet(block_interval_ms=block_interval_ms)
    net.start(*NAMES, "follower")
    people = net.people
    assert net.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0)) == ["success"]
    net.wait_for_height(net.height("validator"), "follower")
    # Through the follower, which makes no blocks.
    transfers = [people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 8)]
    assert net.settle(*transfers, at="follower") == ["success"] * 7
    net.wait_for_height(net.height("follower"))
    assert {node.client.account(people.address("bob")).balance for node in net.nodes.values()} == {7}
    net.check_agreement()
    status = net["follower"].client.status()
    assert (status.role, status.validator_index, status.syncing) == ("follower", None, None)
    assert status.peers.connected == status.peers.validators == 4
    assert {net[name].client.status().validator_index for name in NAMES} == {0, 1, 2, 3}


def test_idle_network_makes_no_block_but_heartbeats(devnet: Validate) -> None:
    net = devnet(heartbeat_ms=60_000)
    net.start(*NAMES)
    net.settle(net.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    net.wait_for_height(net.height("validator"))

    def is_at_rest() -> bool:
        before = net.height("validator"), net["validator"].client.status().view
        time.sleep(1.5)
        return before == (net.height("validator"), net["validator"].client.status().view)

    # After the one empty block that follows transactions, and when what was under way has ended.
    eventually(is_at_rest, "a network that makes no blocks")
    assert net.settle(net.people.transfer("ann", "bob", 1, nonce=1), at="third") == ["success"]
    net.check_agreement()


def test_network_goes_on_without_one_validator_which_then_catches_up(devnet: Validate) -> None:
    net = devnet()
    net.start(*NAMES)
    people = net.people
    net.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    net.stop("third")
    for nonce in range(1, 6):
        assert net.settle(people.transfer("ann", "bob", 1, nonce=nonce)) == ["success"]
    height = net.height("validator")
    net.start("third")
    net.wait_for_height(height, "third")
    assert net.settle(people.transfer("ann", "bob", 1, nonce=6), at="third") == ["success"]
    net.wait_for_height(net.height("third"))
    net.check_agreement()


def test_whole_network_stops_and_starts_again(devnet: Validate) -> None:
    net = devnet()
    net.start(*NAMES)
    people = net.people
    net.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    net.stop(*NAMES)
    net.start(*NAMES)
    assert net.settle(people.transfer("ann", "bob", 1, nonce=1), at="second") == ["success"]
    net.wait_for_height(net.height("second"))
    net.check_agreement()


def test_follower_from_nothing_fetches_everything(devnet: Validate) -> None:
    net = devnet("validator", block_interval_ms=0)
    net.start("validator")
    people = net.people
    net.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    for nonce in range(1, 40):
        net.settle(people.transfer("ann", "bob", 1, nonce=nonce))
    net.start("follower")
    net.wait_for_height(net.height("validator"))
    net.check_agreement()
    assert net.settle(people.transfer("ann", "bob", 1, nonce=40), at="follower") == ["success"]


def test_hundreds_of_blocks_are_fetched_in_ranges(devnet: Validate, chain_class: type[Chain]) -> None:
    net = devnet("validator", block_interval_ms=0)
    chain = chain_class(net.people, net.path / "validator")
    chain.fund("ann")
    for nonce in range(1, 601):
        chain.add_block(net.people.transfer("ann", "bob", 1, nonce=nonce))
    chain.ledger.close()
    net.start("validator", "follower")
    seen = set[int]()
    eventually(lambda: seen.add(net.height("follower")) or max(seen) >= 601, "the follower fetches nothing")  # type: ignore[func-returns-value]
    assert any(0 < height < 601 for height in seen), "it serves no reader before it has caught up"
    assert net["follower"].client.account(net.people.address("bob")).balance == 600
    net.check_agreement_at(1, 300, 600)
    assert net["follower"].client.status().syncing is None


def govern(net: Devnet, number: int, call: bytes, *, voters: tuple[str, ...], nonces: dict[str, int]) -> None:
    """Proposes, approves and executes a call of the governance module; the chain is past it when this returns."""
    people = net.people

    def send(name: str, data: bytes) -> None:
        transaction = people.send(name, GOVERNANCE, nonce=nonces.get(name, 0), data=data)
        nonces[name] = nonces.get(name, 0) + 1
        assert net.settle(transaction) == ["success"]

    send(voters[0], PROPOSE.encode(GOVERNANCE, call))
    for name in voters[1:]:
        send(name, APPROVE_PROPOSAL.encode(number))
    send(voters[0], EXECUTE.encode(number))


def test_validators_come_and_go_by_governance(devnet: Validate) -> None:
    net = devnet()
    net.start(*NAMES, "fifth")
    people, nonces = net.people, dict[str, int]()
    net.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    assert net["fifth"].client.status().role == "follower"

    expires_at_ms = time.time_ns() // 1_000_000 + 3_600_000
    consent = sign_consent(people.key("fifth"), chain_id=people.network.chain_id, expires_at_ms=expires_at_ms)
    call = ADD_VALIDATOR.encode(consent.public_key, consent.expires_at_ms, consent.signature)
    govern(net, 1, call, voters=NAMES[:3], nonces=nonces)
    eventually(lambda: net["fifth"].client.status().role == "validator", "the fifth is no validator")
    assert net.settle(people.transfer("ann", "bob", 1, nonce=1), at="fifth") == ["success"]
    assert net["fifth"].client.status().epoch == 1

    net.stop("second")  # Four of five are a quorum, and the fifth is needed for it.
    assert net.settle(people.transfer("ann", "bob", 1, nonce=2)) == ["success"]

    net.start("second")
    call = REMOVE_VALIDATOR.encode(people.address("third"))
    govern(net, 2, call, voters=("validator", "second", "fourth", "fifth"), nonces=nonces)
    eventually(lambda: net["third"].client.status().role == "follower", "the third is still a validator")
    assert net.settle(people.transfer("ann", "bob", 1, nonce=3), at="third") == ["success"]
    assert net["third"].client.status().epoch == 2
    net.wait_for_height(net.height("third"))
    net.check_agreement()


class Liar:
    """A peer that holds a validator's key and says what it likes."""

    def __init__(self, net: Devnet, name: str, dial: str) -> None:
        self.key, self.genesis_hash = net.people.key(name), net.people.network.genesis_hash
        self.network = PeerNetwork(
            network=net.people.network,
            key=self.key,
            settings=PeerSettings(bootstrap=(net.url(dial),), retry_first_s=0.05, retry_last_validator_s=0.3),
        )
        self.disconnected: list[str] = []

    def on_connected(self, peer: str) -> None:
        pass

    def on_disconnected(self, peer: str, reason: str) -> None:
        self.disconnected.append(reason)

    async def on_message(self, peer: str, message: Message) -> None:
        pass

    async def on_transactions(self, peer: str, raws: tuple[bytes, ...]) -> None:
        pass

    def on_error(self, error: Exception) -> None:
        raise error

    async def talk(self, *messages: Message, until: Callable[[], bool]) -> None:
        """Connects, says all this, and stays until something has come of it."""
        await self.network.start(self)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not self.network.peers():
                assert time.monotonic() < deadline, "nobody lets it in"
                await asyncio.sleep(0.02)
            for message in messages:
                self.network.send(message)
            while not until():
                assert time.monotonic() < deadline, "nothing has come of it"
                await asyncio.sleep(0.02)
        finally:
            await self.network.stop()

    def notarize(self, view: int, block_hash: bytes, signer: int) -> VoteMessage:
        return VoteMessage(
            sign_vote(
                self.key,
                genesis_hash=self.genesis_hash,
                signer=signer,
                kind=VoteKind.NOTARIZE,
                epoch=0,
                view=view,
                block_hash=Hash32(block_hash),
            )
        )


def evidence_at(node: RunningNode) -> list[dict[str, Any]]:
    """What a node shows of contradictions."""
    items: list[dict[str, Any]] = httpx.get(f"{node.url}/v1/evidence").json()["items"]
    return items


async def test_validator_that_contradicts_itself_is_shown_to_everybody(devnet: Validate) -> None:
    net = devnet(heartbeat_ms=60_000)
    net.start("validator", "second")
    view = net["validator"].client.status().view
    liar = Liar(net, "third", dial="validator")
    lies = [liar.notarize(view, keccak256(word), signer=2) for word in (b"this", b"that")]

    def is_shown() -> bool:
        return all(len(evidence_at(node)) == 1 for node in net.nodes.values())

    await liar.talk(*lies, until=is_shown)  # The second node has it from the first.
    (item,) = evidence_at(net["second"])
    assert (item["epoch"], item["signer"]) == (0, 2)
    assert [vote["kind"] for vote in item["votes"]] == ["notarize", "notarize"]
    assert {vote["block_hash"] for vote in item["votes"]} == {to_hex(keccak256(b"this")), to_hex(keccak256(b"that"))}
    net.stop("second")
    net.start("second")  # It was written down.
    assert len(evidence_at(net["second"])) == 1


async def test_peer_with_forged_votes_is_sent_away(devnet: Validate) -> None:
    net = devnet()
    net.start("validator", "second")
    liar = Liar(net, "third", dial="validator")
    forged = liar.notarize(net["validator"].client.status().view, keccak256(b"this"), signer=1)
    await liar.talk(forged, until=lambda: bool(liar.disconnected))
    assert [node.node.fault for node in net.nodes.values()] == [None, None]


def test_second_process_with_a_key_is_found_out(devnet: Validate) -> None:
    """A node whose journal is new, while the network has votes of its key, must not vote: it stops."""
    net = devnet()
    *others, absent = [name for name in NAMES if name != "third"]
    net.start(*others, "third")  # Three of four: no certificate without the third's vote.
    net.settle(net.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    net.stop("third")
    for path in net.path.glob("third*"):
        path.rename(path.with_name(f"old-{path.name}"))
    net.start("third")  # The absent one is still away: nothing can become final that the third has not signed.
    eventually(lambda: net["third"].node.fault is not None, "the third goes on without its journal")
    assert "another process" in (net["third"].node.fault or "")
    net.start(absent)
    assert net.settle(net.people.transfer("ann", "bob", 1, nonce=1)) == ["success"]


def test_fault_in_a_timers_callback_stops_the_node(devnet: Validate) -> None:
    net = devnet("validator")
    net.start("validator")
    node = net["validator"]
    impossible = BlockCommitted(Hash32(bytes(32)), False, node.node.ledger.settings())
    node.call_soon(lambda: node.node.report(impossible))
    node.wait()
    assert node.node.fault is not None
