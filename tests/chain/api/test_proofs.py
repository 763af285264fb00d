"""What a node shows to somebody who does not believe it: proofs from the network file on, and what governance does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from msgspec.structs import replace

from chain.api.proofs import MAX_EPOCH_ENDS
from chain.client import NodeClient, NodeRefused
from chain.governance_answers import FinalityView, ProposalView
from chain.node.clock import now_ms
from chain.node.governance.auditing import prove_block, verify_validators
from chain.node.governance.governing import Operator
from chain.node.key_file import SetupError
from chain.primitives.block import Header
from chain.primitives.finality import TrustedSet, genesis_set, verify_epochs, verify_finality
from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.modules import EXECUTE, FORCE_EPOCH, GOVERNANCE, PAUSE, PROPOSE, SET_PARAMETER
from chain.primitives.network import Network
from chain.primitives.rejection import Rejected, RejectionReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.chain.conftest import RunningNode

EPOCHS = 3


def operator_of(node: RunningNode) -> Operator:
    return Operator(node.client, node.people.key("validator"), network=node.people.network, timeout_s=60)


def force_epochs(node: RunningNode, count: int) -> None:
    """So many epochs more, each decided in one block."""
    nonce = node.client.account(node.people.address("validator")).nonce
    made = len(node.client.proposals(limit=200).items)
    for index in range(count):
        calls = (PROPOSE.encode(GOVERNANCE, FORCE_EPOCH.encode()), EXECUTE.encode(made + index + 1))
        sent = [
            node.people.send("validator", GOVERNANCE, nonce=nonce + 2 * index + offset, data=data)
            for offset, data in enumerate(calls)
        ]
        assert node.settle(*sent) == ["success", "success"]


@pytest.fixture(scope="module")
def aged(node_in: Callable[[Path], RunningNode], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node whose chain is in its fourth epoch."""
    node = node_in(tmp_path_factory.mktemp("aged") / "node")
    force_epochs(node, EPOCHS)
    for nonce in range(2):
        node.settle(node.people.mint("ann", 1, nonce=nonce))
    yield node
    node.stop()


def test_every_block_is_proven_from_the_network_file(aged: RunningNode) -> None:
    client, trusted = aged.client, genesis_set(aged.people.network)
    head = client.status().finalized
    for height in range(1, head.height + 1):
        at, header = prove_block(client, trusted, height)
        assert to_hex(header.hash) == client.block(height).hash
        assert at.epoch == header.epoch
    at, header = prove_block(client, trusted, head.height)
    assert (at.epoch, to_hex(header.hash)) == (EPOCHS, head.hash)
    # From a set that was checked before, only what came since is asked for.
    assert client.finality_proof(head.height, known_epoch=EPOCHS).epoch_ends == []
    assert prove_block(client, at, head.height) == (at, header)


def test_a_proof_of_another_chain_is_none(aged: RunningNode) -> None:
    network = aged.people.network
    other = Network(chain_id=network.chain_id, name="other", validators=network.validators, attesters=())
    with pytest.raises(Rejected) as caught:
        prove_block(aged.client, genesis_set(other), 1)
    assert caught.value.reason is RejectionReason.BAD_CERTIFICATE


def test_epochs_come_in_bounded_portions(node: RunningNode) -> None:
    force_epochs(node, MAX_EPOCH_ENDS + 2)
    height = node.client.status().finalized.height
    answer = node.client.finality_proof(height)
    assert len(answer.epoch_ends) == MAX_EPOCH_ENDS < answer.epoch
    trusted, _ = prove_block(node.client, genesis_set(node.people.network), height)
    assert trusted.epoch == answer.epoch


class _Forging(NodeClient):
    """A client whose node lies in one way."""

    def __init__(self, url: str, **forged: object) -> None:
        super().__init__(url)
        self._forged = forged

    def finality_proof(self, height: int, *, known_epoch: int = 0) -> FinalityView:
        """The node's answer with some members replaced."""
        return replace(super().finality_proof(height, known_epoch=known_epoch), **self._forged)


def test_a_node_that_lies_is_found_out(aged: RunningNode) -> None:
    trusted, height = genesis_set(aged.people.network), aged.client.status().finalized.height
    honest = aged.client.finality_proof(height)
    other = aged.client.finality_proof(height - 1, known_epoch=honest.epoch)
    lies: list[dict[str, object]] = [
        {"epoch_ends": []},
        {"epoch_ends": honest.epoch_ends[:-1]},
        {"epoch_ends": honest.epoch_ends[1:]},
        {"epoch_ends": [*honest.epoch_ends[:-1], replace(honest.epoch_ends[-1], next_validators=["0x" + "11" * 20])]},
        {"epoch_ends": [replace(end, certificate=honest.certificate) for end in honest.epoch_ends]},
        {"epoch": honest.epoch - 1},
        {"epoch": honest.epoch + 1},
        {"header": other.header, "certificate": other.certificate},
        {"header": other.header},
        {"header": "0x"},
        {"certificate": "0x00"},
        {"certificate": other.certificate},
        {"descendants": [honest.header]},
    ]
    for lie in lies:
        with _Forging(aged.url, **lie) as client, pytest.raises(Rejected):
            prove_block(client, trusted, height)


def test_the_validators_are_shown_and_proven(aged: RunningNode) -> None:
    client, network = aged.client, aged.people.network
    shown = client.validators()
    (validator,) = shown.validators
    assert (shown.epoch, shown.quorum) == (EPOCHS, 1)
    assert validator.address == to_checksum_address(aged.people.address("validator"))
    assert validator.last_signed_height == shown.height
    trusted, now = genesis_set(network), now_ms()
    assert verify_validators(client, trusted, network, shown, now_ms=now) == network.validator_addresses
    for lie in (
        replace(shown, epoch=EPOCHS - 1),
        replace(shown, validators=[]),
        replace(shown, validators=[validator, validator]),
        replace(shown, validators=[replace(validator, address="0x" + "11" * 20)]),
        replace(shown, height=0),
    ):
        with pytest.raises(Rejected) as caught:
            verify_validators(client, trusted, network, lie, now_ms=now)
        assert caught.value.reason is RejectionReason.BAD_PROOF
    with pytest.raises(Rejected) as caught:
        verify_validators(client, trusted, network, shown, now_ms=now + 200_000)
    assert caught.value.reason is RejectionReason.STALE_HEAD


def test_a_follower_shows_the_end_of_an_epoch_as_the_next_set(node: RunningNode) -> None:
    """Right after the boundary block, the set is that of the next block."""
    operator = operator_of(node)
    executed = operator.execute(operator.propose(FORCE_EPOCH.encode()).number)
    shown = node.client.validators()
    assert shown.epoch == 1
    verify_validators(node.client, genesis_set(node.people.network), node.people.network, shown, now_ms=now_ms())
    ends = node.client.finality_proof(node.client.status().finalized.height).epoch_ends
    assert [end.epoch for end in ends] in ([], [0])  # The boundary block itself is of epoch 0.
    assert executed.status == "executed"


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("0", 422, "height"),
        ("-1", 422, "height"),
        ("x", 422, "height"),
        ("0x11", 422, "height"),
        (str(10**15 + 1), 422, "height"),
        (str(10**15), 404, "height"),
        ("1?known_epoch=1", 400, "known_epoch"),
        ("1?known_epoch=-1", 422, "known_epoch"),
        ("1?known_epoch=" + "9" * 400, 422, "known_epoch"),
    ],
)
def test_bad_questions_name_what_is_wrong(node: RunningNode, path: str, status: int, field: str) -> None:
    node.settle(node.people.mint("ann", 1, nonce=0))
    answer = httpx.get(f"{node.url}/v1/proofs/finality/{path}")
    assert (answer.status_code, answer.json()["field"]) == (status, field)


# Proposals


def test_proposals_are_listed_newest_first(node: RunningNode) -> None:
    operator = operator_of(node)
    first = operator.propose(SET_PARAMETER.encode("account_quota", 77))
    for _ in range(3):
        operator.propose(PAUSE.encode())
    operator.execute(first.number)
    operator.revoke(2)
    items: list[ProposalView] = []
    cursor = None
    while True:
        page = node.client.proposals(cursor=cursor, limit=3)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [item.number for item in items] == [4, 3, 2, 1]
    assert [item.status for item in items] == ["open", "open", "lapsed", "executed"]
    assert [node.client.proposal(item.number) for item in items] == items
    assert items[-1].call == 'setParameter("account_quota", 77)'
    assert items[0].call == "pause()"
    assert (items[0].counted_approvals, items[0].needed_approvals) == (1, 1)
    assert items[2].approvals == []
    assert all(item.finalized for item in items)
    assert node.client.parameters().parameters["account_quota"] == 77


def test_no_proposals_and_unknown_ones(node: RunningNode) -> None:
    assert node.client.proposals().items == []
    with pytest.raises(NodeRefused, match="no proposal"):
        node.client.proposal(1)
    for path, status in (("0", 422), ("x", 422), (str(2**53), 404), (str(2**53 + 1), 422), ("?cursor=0x00", 400)):
        assert httpx.get(f"{node.url}/v1/proposals/{path}".replace("/?", "?")).status_code == status


def test_an_operator_is_told_why_the_chain_refuses(node: RunningNode) -> None:
    operator = operator_of(node)
    with pytest.raises(SetupError, match="no proposal 7"):
        operator.execute(7)
    other = Network(chain_id=1, name="other", validators=node.people.network.validators, attesters=())
    with pytest.raises(SetupError, match="genesis hash"):
        Operator(node.client, node.people.key("validator"), network=other, timeout_s=1)


def test_the_proofs_are_plain_bytes_that_anybody_can_hash(aged: RunningNode) -> None:
    """Without our client: hex to bytes, canonical MessagePack, and the two verifications."""
    height = aged.client.status().finalized.height
    answer = httpx.get(f"{aged.url}/v1/proofs/finality/{height}").json()
    assert answer["finalized"] is True
    view = aged.client.finality_proof(height)
    proof = view.proof()
    assert isinstance(proof.header, Header)
    assert to_hex(proof.header.hash) == answer["block_hash"]
    assert parse_hex(answer["header"]) == parse_hex(view.header)
    trusted: TrustedSet = verify_epochs(genesis_set(aged.people.network), [end.proof() for end in view.epoch_ends])
    verify_finality(trusted, proof)
