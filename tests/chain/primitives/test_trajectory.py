"""Trajectories: golden root, and no opening but the true one verifies, whatever part of it is bent."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import to_hex
from chain.primitives.merkle import list_root
from chain.primitives.rejection import RejectionReason
from chain.primitives.trajectory import Opening, TrajectoryContext, open_step, trajectory_root, verify_opening
from chain.primitives.types import Address, Hash32

ReasonOf = Callable[..., RejectionReason | None]
Digests = list[list[Hash32]]

CONTEXT = TrajectoryContext(
    chain_id=424_242,
    hub_id="",
    job_id="2026-11-22-000001",
    provider=Address(b"\x11" * 20),
    request_hash=Hash32(b"\x12" * 32),
    artifact_sha256="13" * 32,
    profiles_hash=Hash32(b"\x14" * 32),
)
DIGESTS = [[sha256(f"{picture} {step}".encode()) for step in range(4)] for picture in range(2)]
ROOT = trajectory_root(CONTEXT, DIGESTS)
OPENING = open_step(CONTEXT, DIGESTS, picture=1, step=2)

digests = st.binary(min_size=32, max_size=32).map(Hash32)


@st.composite
def trajectories(draw: st.DrawFn) -> Digests:
    steps = draw(st.integers(1, 9))
    return draw(st.lists(st.lists(digests, min_size=steps, max_size=steps), min_size=1, max_size=5))


def test_golden_root() -> None:
    assert to_hex(CONTEXT.hash) == "0x3e4373b8019d265ddd738bb5b1cb66688c96065a56e949f95ac84e61cdcdd90d"
    assert to_hex(ROOT) == "0xdc415a45d3877fd0a91877346b6fc66d0e45df0e7a8144e50928a8c4d5a9c819"


def test_root_can_be_made_from_the_documented_recipe() -> None:
    """docs/protocol.md, with nothing of ours but the order of siblings in the proof."""

    def h(octets: bytes) -> bytes:
        return hashlib.sha256(octets).digest()

    text = (
        '{"artifact_sha256":"' + "13" * 32 + '","chain_id":424242,"hub_id":"","job_id":"2026-11-22-000001",'
        '"profiles_hash":"0x' + "14" * 32 + '","provider":"0x' + "11" * 20 + '","request_hash":"0x' + "12" * 32 + '"}'
    )
    context = h(b"aitbc/trajectory/context/1\0" + text.encode())
    level = [
        h(
            b"\0"
            + h(
                b"aitbc/trajectory/latents/1\0"
                + context
                + bytes([0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, p, 0, 0, 0, s])
                + DIGESTS[p][s]
            )
        )
        for p in range(2)
        for s in range(4)
    ]
    while len(level) > 1:
        level = [h(b"\1" + level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    assert h(b"\2" + (8).to_bytes(8, "big") + level[0]) == ROOT


@settings(max_examples=60)
@given(trajectories(), st.data())
def test_every_item_can_be_opened(all_digests: Digests, data: st.DataObject) -> None:
    root = trajectory_root(CONTEXT, all_digests)
    picture = data.draw(st.integers(0, len(all_digests) - 1))
    step = data.draw(st.integers(0, len(all_digests[0]) - 1))
    opening = open_step(CONTEXT, all_digests, picture=picture, step=step)

    assert opening.latents_sha256 == all_digests[picture][step]
    assert verify_opening(root, CONTEXT, opening)
    assert Opening.from_object(json.loads(json.dumps(opening.to_object()))) == opening


@settings(max_examples=150)
@given(trajectories(), st.data())
def test_no_bent_opening_verifies(all_digests: Digests, data: st.DataObject) -> None:
    root = trajectory_root(CONTEXT, all_digests)
    picture = data.draw(st.integers(0, len(all_digests) - 1))
    step = data.draw(st.integers(0, len(all_digests[0]) - 1))
    honest = open_step(CONTEXT, all_digests, picture=picture, step=step)
    number = st.integers(-2, 60)
    names = ("picture", "pictures", "step", "steps")
    bent = data.draw(
        st.one_of(
            *(st.tuples(st.just(name), number).map(lambda pair: {pair[0]: pair[1]}) for name in names),
            st.tuples(number, number).map(lambda pair: {"pictures": pair[0], "steps": pair[1]}),
            st.tuples(number, number).map(lambda pair: {"picture": pair[0], "step": pair[1]}),
            digests.map(lambda digest: {"latents_sha256": digest}),
            st.lists(digests, max_size=8).map(lambda siblings: {"siblings": tuple(siblings)}),
            st.permutations(honest.siblings).map(lambda siblings: {"siblings": tuple(siblings)}),
            st.just({"siblings": honest.siblings[1:]}),
            st.just({"siblings": (*honest.siblings, Hash32(bytes(32)))}),
        )
    )
    other = msgspec.structs.replace(honest, **bent)

    assert verify_opening(root, CONTEXT, other) is (other == honest)


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 424_243},
        {"hub_id": "hub-1"},
        {"job_id": "2026-11-22-000002"},
        {"provider": Address(b"\x15" * 20)},
        {"request_hash": Hash32(b"\x15" * 32)},
        {"artifact_sha256": "15" * 32},
        {"profiles_hash": Hash32(b"\x15" * 32)},
    ],
)
def test_root_cannot_be_carried_to_another_job(change: dict[str, Any]) -> None:
    assert set(change) < set(TrajectoryContext.__struct_fields__)
    assert verify_opening(ROOT, CONTEXT, OPENING)
    other = msgspec.structs.replace(CONTEXT, **change)
    assert not verify_opening(ROOT, other, OPENING)
    assert trajectory_root(other, DIGESTS) != ROOT


def test_reordered_steps_and_pictures_have_another_root() -> None:
    swapped_steps = [[DIGESTS[0][i] for i in (0, 2, 1, 3)], DIGESTS[1]]
    assert trajectory_root(CONTEXT, swapped_steps) != ROOT
    assert trajectory_root(CONTEXT, DIGESTS[::-1]) != ROOT
    # The same eight items as one picture of eight, or as four of two.
    flat = DIGESTS[0] + DIGESTS[1]
    assert trajectory_root(CONTEXT, [flat]) != ROOT
    assert trajectory_root(CONTEXT, [flat[i : i + 2] for i in range(0, 8, 2)]) != ROOT


def test_opening_does_not_pass_for_one_of_a_run_of_another_shape() -> None:
    """2 pictures of 4 latents and 4 of 2 are lists of the same length, with (0, 1) at the same place."""
    opening = open_step(CONTEXT, DIGESTS, picture=0, step=1)
    assert verify_opening(ROOT, CONTEXT, opening)
    assert not verify_opening(ROOT, CONTEXT, msgspec.structs.replace(opening, pictures=4, steps=1))
    assert not verify_opening(ROOT, CONTEXT, msgspec.structs.replace(opening, pictures=1, steps=7))


def test_copied_latents_do_not_pass_for_another_step() -> None:
    """A provider that answers with what it opened for another step is not believed, though the latents are equal."""
    frozen = [[DIGESTS[0][0]] * 4]
    root = trajectory_root(CONTEXT, frozen)
    opening = open_step(CONTEXT, frozen, picture=0, step=1)
    assert not verify_opening(root, CONTEXT, msgspec.structs.replace(opening, step=2))


def test_inner_node_does_not_pass_for_an_item() -> None:
    """Second preimage: the node above the first two leaves, offered as an item of a list half as long."""

    def h(octets: bytes) -> Hash32:
        return sha256(octets)

    items = [
        h(
            b"aitbc/trajectory/latents/1\0"
            + CONTEXT.hash
            + bytes([0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, step])
            + DIGESTS[0][step]
        )
        for step in range(4)
    ]
    root = trajectory_root(CONTEXT, DIGESTS[:1])
    assert root == list_root(items)
    leaves = [h(b"\0" + item) for item in items]
    nodes = [h(b"\1" + leaves[0] + leaves[1]), h(b"\1" + leaves[2] + leaves[3])]
    for claimed, sibling in ((nodes[0], nodes[1]), (h(leaves[0] + leaves[1]), nodes[1]), (leaves[0], leaves[1])):
        for steps in (1, 3):
            opening = Opening(picture=0, pictures=1, step=0, steps=steps, latents_sha256=claimed, siblings=(sibling,))
            assert not verify_opening(root, CONTEXT, opening)


@pytest.mark.parametrize(
    "change",
    [
        {"pictures": 2**63},
        {"steps": 2**63},
        {"picture": -1},
        {"step": -1},
        {"picture": 2},
        {"step": 4},
        {"pictures": 0, "picture": 0},
        {"siblings": (Hash32(bytes(32)),) * 10_000},
        {"siblings": (Hash32(b""),)},
        {"siblings": (Hash32(bytes(31)), *OPENING.siblings[1:])},
        {"latents_sha256": Hash32(b"")},
        {"latents_sha256": Hash32(bytes(64))},
    ],
)
def test_openings_out_of_bounds(change: dict[str, Any]) -> None:
    assert not verify_opening(ROOT, CONTEXT, msgspec.structs.replace(OPENING, **change))


def test_steps_that_there_are_not(reason_of: ReasonOf) -> None:
    for picture, step in ((0, -1), (0, 4), (2, 0), (-1, 0), (10**30, 0)):
        assert reason_of(open_step, CONTEXT, DIGESTS, picture=picture, step=step) is RejectionReason.OUT_OF_RANGE


def test_contexts_travel_as_json() -> None:
    assert TrajectoryContext.from_object(json.loads(rfc8785.dumps(CONTEXT.to_object()))) == CONTEXT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *[({name: None}, RejectionReason.MALFORMED) for name in CONTEXT.to_object()],
        *[({name: True}, RejectionReason.MALFORMED) for name in CONTEXT.to_object()],
        *[({name: []}, RejectionReason.MALFORMED) for name in CONTEXT.to_object()],
        ({"chain_id": 0}, RejectionReason.MALFORMED),
        ({"chain_id": 2**32}, RejectionReason.MALFORMED),
        ({"job_id": "a b"}, RejectionReason.MALFORMED),
        ({"job_id": "../../x"}, RejectionReason.MALFORMED),
        ({"hub_id": "x" * 65}, RejectionReason.MALFORMED),
        ({"artifact_sha256": "AB" * 32}, RejectionReason.MALFORMED),
        ({"more": 1}, RejectionReason.UNKNOWN_FIELD),
    ],
)
def test_faulty_contexts(change: dict[str, Any], reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(TrajectoryContext.from_object, CONTEXT.to_object() | change) is reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *[({name: None}, RejectionReason.MALFORMED) for name in OPENING.to_object()],
        *[({name: True}, RejectionReason.MALFORMED) for name in OPENING.to_object()],
        *[({name: "1"}, RejectionReason.MALFORMED) for name in OPENING.to_object()],
        ({"siblings": ["0x" + "00" * 32] * 23}, RejectionReason.MALFORMED),
        ({"siblings": ["0x" + "00" * 31]}, RejectionReason.MALFORMED),
        ({"siblings": [None]}, RejectionReason.MALFORMED),
        ({"latents_sha256": "0x" + "00" * 32}, RejectionReason.MALFORMED),
        ({"more": 1}, RejectionReason.UNKNOWN_FIELD),
    ],
)
def test_faulty_openings(change: dict[str, Any], reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(Opening.from_object, OPENING.to_object() | change) is reason


@pytest.mark.parametrize("name", OPENING.to_object())
def test_openings_need_every_field(name: str, reason_of: ReasonOf) -> None:
    fields = OPENING.to_object()
    del fields[name]
    assert reason_of(Opening.from_object, fields) is RejectionReason.MISSING_FIELD
    assert reason_of(Opening.from_object, []) is RejectionReason.MALFORMED
