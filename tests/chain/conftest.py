"""What the tests of node, API and client share: named people, a ledger on a real LevelDB, a node that serves.

People are named: one name, one key, the same in every run. Everybody starts with nothing; who needs coins mints them
for a receipt that the attester has signed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from chain.api.application import create_api
from chain.client import NodeClient
from chain.node.ledger import Candidate, Ledger
from chain.node.metrics import NodeMetrics
from chain.node.peers.settings import PeerSettings
from chain.node.pool_limits import PoolLimits
from chain.node.runner import Node
from chain.primitives.certificate import Certificate, VoteKind, vote_digest
from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER, REGISTER, REGISTRY
from chain.primitives.network import AttesterAllowance, Network, Validator
from chain.primitives.parameters import Parameters
from chain.primitives.receipt import attestation_digest
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, Address, Hash32
from chain.rules.state import State
from chain.storage.journal import VoteJournal
from chain.storage.records import Head
from chain.web.server import Server, listen

CHAIN_ID = 2_718_281_828
START_MS = 1_700_000_000_000
BLOCK_INTERVAL_MS = 20  # The tests wait for blocks.


@cache
def key_of(name: str) -> PrivateKey:
    """The same key for the same name."""
    return PrivateKey(keccak256(b"test key of " + name.encode()))


class People:
    """A network, and what its people sign."""

    def __init__(self, *, block_interval_ms: int = BLOCK_INTERVAL_MS, **parameters: int) -> None:
        self.network = Network(
            chain_id=CHAIN_ID,
            name="people",
            validators=(Validator(key_of("validator").address, key_of("validator").public_key),),
            attesters=(AttesterAllowance(key_of("attester").address, 10**6 * ATOMS_PER_AIT, 10**6),),
            parameters=Parameters.from_mapping(parameters),
            block_interval_ms=block_interval_ms,
        )
        self._receipts = 0

    def key(self, name: str) -> PrivateKey:
        """A person's key."""
        return key_of(name)

    def address(self, name: str) -> Address:
        """A person's address."""
        return key_of(name).address

    def send(self, sender: str, to: Address, *, nonce: int, **fields: Any) -> Transaction:
        """A signed transaction."""
        fields.setdefault("chain_id", CHAIN_ID)
        return sign_transaction(key_of(sender), nonce=nonce, to=to, **fields)

    def transfer(self, sender: str, recipient: str, value: int, *, nonce: int, **fields: Any) -> Transaction:
        """A plain transfer of atoms."""
        return self.send(sender, self.address(recipient), nonce=nonce, value=value, **fields)

    def receipt_hash(self) -> Hash32:
        """One that was not used before."""
        self._receipts += 1
        return keccak256(b"receipt %d" % self._receipts)

    def mint(
        self,
        provider: str,
        amount: int,
        *,
        nonce: int,
        sender: str | None = None,
        receipt_hash: Hash32 | None = None,
        attester: str = "attester",
    ) -> Transaction:
        """An attested mint, sent by its provider unless another is named."""
        receipt_hash = receipt_hash or self.receipt_hash()
        attestation = key_of(attester).sign(attestation_digest(self.address(provider), amount, receipt_hash))
        call = MINT_WITH_RECEIPT.encode(self.address(provider), amount, receipt_hash, attestation)
        return self.send(sender or provider, MINTER, nonce=nonce, data=call)

    def register(self, provider: str, *, nonce: int, endpoint: str = "http://127.0.0.1:9000") -> Transaction:
        """A provider's offer."""
        call = REGISTER.encode(endpoint, ["tiny-sd"], 10**15, "gpu_seconds", 0, ZERO_ADDRESS)
        return self.send(provider, REGISTRY, nonce=nonce, data=call)


class Chain:
    """A ledger whose blocks the test itself finalizes."""

    def __init__(self, people: People, path: Path) -> None:
        self.people = people
        self.path = path
        self.ledger = Ledger.open(path, people.network, create=True)

    @property
    def head(self) -> Head:
        """The newest final block."""
        return self.ledger.head

    def state(self) -> State:
        """Typed access to the newest state."""
        return State(self.ledger.view())

    def balance(self, name: str) -> int:
        """Atoms that somebody holds."""
        return self.state().account(self.people.address(name)).balance

    def propose(self, *transactions: Transaction, time_ms: int | None = None, on: Candidate | None = None) -> Candidate:
        """A candidate on the head, or on another candidate."""
        parent = self.head.header if on is None else on.block.header
        time_ms = time_ms or max(START_MS, parent.time_ms + 1000)
        return self.ledger.propose(transactions, proposer=self.people.address("validator"), time_ms=time_ms, on=on)

    def certificate(self, block_hash: Hash32, *, signer: str = "validator", **changes: Any) -> Certificate:
        """What the validator would sign for this block on the present floor."""
        floor = self.ledger.floor()
        fields = {"epoch": floor.epoch, "view": floor.view + 1, "parent_view": floor.view, **changes}
        digest = vote_digest(self.people.network.genesis_hash, kind=VoteKind.FINALIZE, block_hash=block_hash, **fields)
        signature = key_of(signer).sign(digest)
        return Certificate(
            kind=VoteKind.FINALIZE, block_hash=block_hash, signer_bitmap=1, signatures=(signature,), **fields
        )

    def commit(self, candidate: Candidate) -> Head:
        """Finalizes and writes a candidate."""
        certificate = self.certificate(candidate.block.header.hash)
        return self.ledger.commit(candidate, certificate, self.ledger.floor_after(candidate, certificate))

    def add_block(self, *transactions: Transaction) -> Candidate:
        """Proposes and commits; the candidate tells what was rejected."""
        candidate = self.propose(*transactions)
        self.commit(candidate)
        return candidate

    def fund(self, *names: str, atoms: int = 100 * ATOMS_PER_AIT) -> None:
        """Gives each a minted balance; their nonce is 1 afterwards."""
        candidate = self.add_block(*(self.people.mint(name, atoms, nonce=0) for name in names))
        assert not candidate.rejected

    def reopen(self) -> None:
        """What a restart does."""
        self.ledger.close()
        self.ledger = Ledger.open(self.path, self.people.network)


def journal_beside(path: Path, network: Network) -> VoteJournal:
    """The vote journal that belongs to the chain in a folder; made where there is none."""
    id_file = path.with_name(f"{path.name}.journal-id")
    journal = VoteJournal.open(
        path.with_name(f"{path.name}.journal"),
        genesis_hash=network.genesis_hash,
        journal_id=id_file.read_bytes() if id_file.exists() else None,
    )
    id_file.write_bytes(journal.journal_id)
    return journal


class RunningNode:
    """A node that serves on loopback from a thread of its own."""

    def __init__(
        self,
        people: People,
        path: Path,
        *,
        limits: PoolLimits | None = None,
        validator: str | None = "validator",
        listener: socket.socket | None = None,
        peers: PeerSettings | None = None,
    ) -> None:
        """`validator`: whose key it has, None for a follower."""
        self.people = people
        self.path = path
        registry = CollectorRegistry()
        key = people.key(validator) if validator is not None else None
        with ExitStack() as opened:
            ledger = opened.enter_context(Ledger.open(path, people.network, create=True))
            journal = journal_beside(path, people.network) if key is not None else None
            if journal is not None:
                opened.callback(journal.close)
            self.node = Node(
                ledger,
                key=key,
                journal=journal,
                limits=limits or PoolLimits(),
                metrics=NodeMetrics(registry),
                peers=peers,
            )
            opened.pop_all()
        self.api = create_api(self.node, registry=registry, version="test")
        self._server = Server(
            self.api,
            listener or listen("127.0.0.1", 0),
            on_stopping=self.api.state.on_stopping,
            direct_answers=self.api.state.direct_answers,
        )
        self.node.on_fault = self._server.stop
        self.url = self._server.url
        self._is_ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        assert self._is_ready.wait(60)
        self.client = NodeClient(self.url)

    def _serve(self) -> None:
        self._loop.run_until_complete(self._server.serve(lambda _url: self._is_ready.set()))
        self._loop.close()

    def send(self, *transactions: Transaction) -> None:
        """Hands transactions in, in order."""
        for transaction in transactions:
            self.client.send_transaction(transaction.raw)

    def settle(self, *transactions: Transaction) -> list[str]:
        """Hands them in and waits until all are final; their statuses."""
        self.send(*transactions)
        return [
            self.client.wait_for_transaction(each.hash, timeout_s=60, poll_interval_s=0.01).status
            for each in transactions
        ]

    def call_soon(self, work: Callable[[], None]) -> None:
        """On the node's own event loop."""
        self._loop.call_soon_threadsafe(work)

    def wait(self) -> None:
        """Until it has stopped by itself."""
        self._thread.join(60)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        """As SIGTERM would."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._server.stop)
        self.wait()
        self.client.close()


MakeChain = Callable[..., Chain]
StartNode = Callable[..., RunningNode]


@pytest.fixture(scope="module", autouse=True)
def quiet_logs() -> Iterator[None]:
    """A line per request helps nobody here; warnings and worse are kept."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
def people() -> People:
    """A network with the default parameters and quick blocks."""
    return People()


@pytest.fixture
def make_people() -> type[People]:
    """Makes networks with parameters of one's choice."""
    return People


@pytest.fixture
def running_node() -> type[RunningNode]:
    """For tests that look after their nodes themselves."""
    return RunningNode


@pytest.fixture
def chain_class() -> type[Chain]:
    """For tests that look after their chains themselves."""
    return Chain


@pytest.fixture
def make_chain(tmp_path: Path) -> Iterator[MakeChain]:
    """Makes chains, each in a folder of its own: `make_chain(**parameters)` or `make_chain(people=…)`."""
    chains: list[Chain] = []

    def make(*, people: People | None = None, **parameters: int) -> Chain:
        chains.append(Chain(people or People(**parameters), tmp_path / f"chain-{len(chains)}"))
        return chains[-1]

    yield make
    for chain in chains:
        chain.ledger.close()


@pytest.fixture
def chain(make_chain: MakeChain) -> Chain:
    """One chain with the default parameters."""
    return make_chain()


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[StartNode]:
    """Starts nodes, each in a folder of its own unless `path` is given; they stop with the test."""
    with ExitStack() as running:
        count = 0

        def start(
            people: People | None = None,
            *,
            path: Path | None = None,
            limits: PoolLimits | None = None,
            as_validator: bool = True,
            **parameters: int,
        ) -> RunningNode:
            nonlocal count
            count += 1
            node = RunningNode(
                people or People(**parameters),
                path or tmp_path / f"node-{count}",
                limits=limits,
                validator="validator" if as_validator else None,
            )
            running.callback(node.stop)
            return node

        yield start


@pytest.fixture
def node(start_node: StartNode) -> RunningNode:
    """One validator with the default parameters."""
    return start_node()


@pytest.fixture(scope="session")
def node_in() -> Callable[[Path], RunningNode]:
    """Starts a validator in a folder; whoever asks stops it. For tests that share one node."""
    return lambda path: RunningNode(People(), path)


@pytest.fixture(scope="session")
def chain_in() -> Callable[[Path], Chain]:
    """Makes a chain in a folder; whoever asks closes it. For tests of many examples, which cannot share a fixture."""
    return lambda path: Chain(People(), path)
