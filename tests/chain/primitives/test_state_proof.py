"""Proofs made by hand from the definition in DESIGN §6; proofs made by the stored tree are in tests/chain/storage."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.state_proof import OtherLeaf, StateProof, verify_state_proof
from chain.primitives.types import Hash32

EMPTY = Hash32(bytes(32))


def hashed(message: bytes) -> Hash32:
    return Hash32(sha256(message).digest())


def leaf(state_key: bytes, value: bytes) -> Hash32:
    return hashed(b"\0" + hashed(state_key) + hashed(value))


def first_bits(state_key: bytes, count: int) -> str:
    return f"{int.from_bytes(hashed(state_key), 'big'):0256b}"[:count]


def key_with_bits(bits: str) -> bytes:
    return next(key for n in range(10_000) if first_bits(key := b"\x01%d" % n, len(bits)) == bits)


# A tree of three leaves:      root
#                             /    \
#                         node      C
#                        /    \
#                    (empty)  node
#                            /    \
#                           A      B
A, B, C, NOWHERE, BESIDE_C = (key_with_bits(bits) for bits in ("010", "011", "11", "00", "10"))
LOWEST = hashed(b"\1" + leaf(A, b"a") + leaf(B, b"b"))
MIDDLE = hashed(b"\1" + EMPTY + LOWEST)
ROOT = hashed(b"\1" + MIDDLE + leaf(C, b"c"))
PROOF_OF_A = StateProof((leaf(C, b"c"), EMPTY, leaf(B, b"b")))
LEAF_C = OtherLeaf(hashed(C), hashed(b"c"))


def test_presence() -> None:
    assert verify_state_proof(ROOT, A, b"a", PROOF_OF_A)
    assert verify_state_proof(ROOT, B, b"b", StateProof((leaf(C, b"c"), EMPTY, leaf(A, b"a"))))
    assert verify_state_proof(ROOT, C, b"c", StateProof((MIDDLE,)))


def test_absence_by_an_empty_place_and_by_another_leaf() -> None:
    assert verify_state_proof(ROOT, NOWHERE, None, StateProof((leaf(C, b"c"), LOWEST)))
    assert verify_state_proof(ROOT, BESIDE_C, None, StateProof((MIDDLE,), LEAF_C))


def test_the_empty_tree_and_the_tree_of_one_leaf() -> None:
    assert verify_state_proof(EMPTY, A, None, StateProof(()))
    assert not verify_state_proof(EMPTY, A, b"", StateProof(()))
    assert verify_state_proof(leaf(A, b"a"), A, b"a", StateProof(()))
    assert verify_state_proof(leaf(C, b"c"), A, None, StateProof((), LEAF_C))
    assert not verify_state_proof(leaf(A, b"a"), A, None, StateProof((), OtherLeaf(hashed(A), hashed(b"a"))))


@pytest.mark.parametrize(
    ("key", "value", "proof"),
    [
        pytest.param(A, b"b", PROOF_OF_A, id="another value"),
        pytest.param(A, None, PROOF_OF_A, id="absence of what is present"),
        pytest.param(B, b"a", PROOF_OF_A, id="another key"),
        pytest.param(A, b"a", StateProof(PROOF_OF_A.siblings, LEAF_C), id="a value and another leaf at once"),
        pytest.param(A, b"a", StateProof(PROOF_OF_A.siblings[:2]), id="a sibling missing"),
        pytest.param(A, b"a", StateProof((*PROOF_OF_A.siblings, EMPTY)), id="one level too deep"),
        pytest.param(A, b"a", StateProof(PROOF_OF_A.siblings[::-1]), id="another order"),
        pytest.param(A, None, StateProof((MIDDLE,), LEAF_C), id="a leaf that is not on the path"),
        pytest.param(A, b"a", StateProof((EMPTY,) * 257), id="deeper than a path is long"),
        pytest.param(A, b"a", StateProof((Hash32(b"short"), *PROOF_OF_A.siblings[1:])), id="a short sibling"),
        pytest.param(BESIDE_C, None, StateProof((MIDDLE,), OtherLeaf(hashed(C), Hash32(b""))), id="a short leaf"),
        pytest.param(BESIDE_C, None, StateProof((MIDDLE,)), id="an empty place that is not empty"),
    ],
)
def test_what_proves_nothing(key: bytes, value: bytes | None, proof: StateProof) -> None:
    assert not verify_state_proof(ROOT, key, value, proof)


def test_a_node_cannot_pass_for_a_leaf() -> None:
    """Without tags, the 65 bytes under a node's hash could be read as a leaf's."""
    forged = OtherLeaf(leaf(A, b"a"), leaf(B, b"b"))
    assert not verify_state_proof(LOWEST, NOWHERE, None, StateProof((), forged))


def test_the_json_form_and_back() -> None:
    for proof in (PROOF_OF_A, StateProof((MIDDLE,), LEAF_C), StateProof(())):
        assert StateProof.from_object(proof.to_object()) == proof
    assert StateProof((EMPTY,)).to_object() == {"siblings": ["0x" + "00" * 32], "other_leaf": None}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, RejectionReason.MALFORMED),
        ([], RejectionReason.MALFORMED),
        ({"siblings": []}, RejectionReason.MALFORMED),
        ({"siblings": [], "other_leaf": None, "more": 1}, RejectionReason.MALFORMED),
        ({"siblings": "0x", "other_leaf": None}, RejectionReason.TOO_LARGE),
        ({"siblings": ["0x" + "00" * 32] * 257, "other_leaf": None}, RejectionReason.TOO_LARGE),
        ({"siblings": ["0x00"], "other_leaf": None}, RejectionReason.MALFORMED),
        ({"siblings": [1], "other_leaf": None}, RejectionReason.MALFORMED),
        ({"siblings": [], "other_leaf": {"tree_key": "0x" + "00" * 32}}, RejectionReason.MALFORMED),
    ],
)
def test_other_documents_are_refused(document: object, reason: RejectionReason) -> None:
    with pytest.raises(Rejected) as caught:
        StateProof.from_object(document)
    assert caught.value.reason is reason


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=5), st.binary(), st.none() | st.binary())
def test_random_proofs_prove_nothing(siblings: list[bytes], key: bytes, value: bytes | None) -> None:
    assert not verify_state_proof(ROOT, key, value, StateProof(tuple(map(Hash32, siblings))))
