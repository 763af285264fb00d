"""A validator in the hands of an attacker: real key, real handshake, and nothing honest behind it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import msgspec

from chain.consensus.messages import (
    CertificateMessage,
    Message,
    Proposal,
    VoteMessage,
    decode_message,
    encode_message,
)
from chain.node.peers.frames import Lane, lane_of
from chain.node.peers.messages import Control, Ping, Pong
from chain.node.peers.sockets import SocketClosed
from chain.primitives import message_pack
from chain.primitives.block import Block, Header, results_root, transactions_root
from chain.primitives.certificate import NO_BLOCK, Certificate, Vote, VoteKind, sign_vote
from chain.primitives.keys import PrivateKey
from chain.primitives.network import Network
from chain.primitives.types import BlockHeight, Hash32
from tests.chain.node.peers.stations import Intruder
from tests.processes.cluster import Cluster, NodeProcess

_WAIT_S: Final = 60.0
_HEARD_VOTES: Final = 4_000


@dataclass(frozen=True, slots=True)
class Door:
    """Where an intruder goes in."""

    url: str
    port: int
    network: Network


async def enter(node: NodeProcess, network: Network, key: PrivateKey | None = None) -> Intruder:
    """A proven peer of a node; without a key, one that is nobody."""
    return await Intruder.enter(Door(f"ws://127.0.0.1:{node.port}/p2p", node.port, network), key)


async def say(intruder: Intruder, message: Message) -> None:
    """A small message on its own lane."""
    await intruder.send(lane_of(message), encode_message(message))


@dataclass(frozen=True, slots=True)
class Turn:
    """A view that the attacker leads, and what an honest leader would propose there: an empty block."""

    view: int
    parent_view: int
    parent_certificate: Certificate | None
    nullifications: tuple[Certificate, ...]
    header: Header


class Byzantine:
    """Connected to the honest validators, it hears all that they say; what it says itself is up to the test."""

    def __init__(self, cluster: Cluster, index: int) -> None:
        self._network = cluster.network
        self._nodes = cluster.nodes
        self.index = index
        self.key = cluster.keys[index]
        self.intruders: dict[str, Intruder] = {}
        self.blocks: dict[Hash32, Header] = {}
        self.certificates: dict[tuple[VoteKind, int], Certificate] = {}
        self.votes: list[Vote] = []
        self._news = asyncio.Event()
        self._readers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._readers = [asyncio.create_task(self._attend(node)) for node in self._nodes]
        await self._until(lambda: len(self.intruders) == len(self._nodes), "a connection to everybody")
        return self

    async def __aexit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for intruder in self.intruders.values():
            intruder.leave()

    @property
    def view(self) -> int:
        """What comes after the newest certificate."""
        return max((view for _, view in self.certificates), default=0) + 1

    # Speaking

    async def tell_all(self, message: Message) -> None:
        """To everybody who still listens."""
        for name in list(self.intruders):
            await self.tell(name, message)

    async def tell(self, name: str, message: Message) -> None:
        """To one node, by its name."""
        with suppress(SocketClosed):  # It has had enough; `_attend` knocks again.
            if name in self.intruders:
                await say(self.intruders[name], message)

    def vote(self, kind: VoteKind, view: int, parent_view: int = 0, block_hash: Hash32 = NO_BLOCK) -> Vote:
        """Signed with the real key."""
        return sign_vote(
            self.key,
            genesis_hash=self._network.genesis_hash,
            signer=self.index,
            kind=kind,
            epoch=0,
            view=view,
            parent_view=parent_view,
            block_hash=block_hash,
        )

    def proposal(self, turn: Turn, header: Header, transactions: Sequence[bytes] = ()) -> Proposal:
        """Rightly signed and justified, whatever the header says."""
        vote = self.vote(VoteKind.NOTARIZE, turn.view, turn.parent_view, header.hash)
        block = Block(header, tuple(transactions))
        return Proposal(block, vote, turn.parent_certificate, turn.nullifications)

    # Listening

    async def turn(self) -> Turn:
        """The next view that it leads, as soon as it has begun."""
        first = self.view + 1
        await self._until(lambda: self.view >= first and self._turn() is not None, "turn to lead")
        turn = self._turn()
        assert turn is not None
        return turn

    def _turn(self) -> Turn | None:
        """None where another one leads, or the parent is not known here."""
        view = self.view
        if view % len(self._network.validators) != self.index:
            return None
        nullifications: list[Certificate] = []
        for parent_view in range(view - 1, 0, -1):
            for kind in (VoteKind.FINALIZE, VoteKind.NOTARIZE):
                certificate = self.certificates.get((kind, parent_view))
                parent = self.blocks.get(certificate.block_hash) if certificate is not None else None
                if parent is not None:
                    header = self._empty_block_on(parent)
                    return Turn(view, parent_view, certificate, tuple(reversed(nullifications)), header)
            nullified = self.certificates.get((VoteKind.NULLIFY, parent_view))
            if nullified is None:
                return None
            nullifications.append(nullified)
        return None

    def _empty_block_on(self, parent: Header) -> Header:
        """An empty block leaves the state as it is."""
        return msgspec.structs.replace(
            parent,
            height=BlockHeight(parent.height + 1),
            parent_hash=parent.hash,
            time_ms=max(time.time_ns() // 1_000_000, parent.time_ms + 1),
            proposer=self.key.address,
            transactions_root=transactions_root([]),
            results_root=results_root([]),
        )

    async def outcome(self, view: int) -> Certificate:
        """Of a view: its NotarCert or its NullCert, whichever comes first."""
        await self._until(lambda: self._outcome(view) is not None, f"outcome of view {view}")
        certificate = self._outcome(view)
        assert certificate is not None
        return certificate

    def _outcome(self, view: int) -> Certificate | None:
        kinds = (VoteKind.NOTARIZE, VoteKind.FINALIZE, VoteKind.NULLIFY)
        return next((each for kind in kinds if (each := self.certificates.get((kind, view)))), None)

    async def thrown_out(self) -> None:
        """Until somebody has had enough, and speaks to it no more for a while."""
        await self._until(lambda: len(self.intruders) < len(self._nodes), "somebody to have had enough")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        async with asyncio.timeout(_WAIT_S):
            while not condition():
                self._news.clear()
                await self._news.wait()
        assert condition(), what

    async def _attend(self, node: NodeProcess) -> None:
        """Reads what a node says; where it is thrown out, it knocks again."""
        while True:
            with suppress(SocketClosed, OSError):
                intruder = self.intruders[node.name] = await enter(node, self._network, self.key)
                self._news.set()
                await self._listen(intruder)
            self.intruders.pop(node.name, None)
            self._news.set()
            await asyncio.sleep(0.5)

    async def _listen(self, intruder: Intruder) -> None:
        unfinished: dict[Lane, bytearray] = {}
        while True:
            for chunk in await intruder.receive():
                content = unfinished.setdefault(chunk.lane, bytearray())
                content += chunk.piece
                if chunk.remaining == 0:
                    await self._hear(intruder, chunk.lane, bytes(unfinished.pop(chunk.lane)))

    async def _hear(self, intruder: Intruder, lane: Lane, content: bytes) -> None:
        if lane is Lane.CONTROL:
            control: Control = message_pack.decode(content, Control)  # type: ignore[arg-type]
            if isinstance(control, Ping):
                await intruder.send(Lane.CONTROL, Pong(control.number))
        elif lane is not Lane.TRANSACTIONS:
            self._learn(decode_message(content))
            self._news.set()

    def _learn(self, message: Message) -> None:
        match message:
            case CertificateMessage(certificate):
                self._keep(certificate)
            case Proposal(block, vote, parent_certificate, nullifications):
                self.blocks[block.header.hash] = block.header
                self._note(vote)
                for each in (parent_certificate, *nullifications):
                    if each is not None:
                        self._keep(each)
            case VoteMessage(vote):
                self._note(vote)

    def _keep(self, certificate: Certificate) -> None:
        self.certificates[certificate.kind, certificate.view] = certificate

    def _note(self, vote: Vote) -> None:
        if len(self.votes) < _HEARD_VOTES:
            self.votes.append(vote)
