"""Roots of lists: golden vectors, proofs for every place, and no proof for anything that is not there."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.hashing import sha256
from chain.primitives.merkle import list_proof, list_root, verify_list_proof
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import ZERO_HASH, Hash32

ReasonOf = Callable[..., RejectionReason | None]


def _items(count: int) -> list[Hash32]:
    return [sha256(b"item %d" % index) for index in range(count)]


def _top_as_documented(items: list[bytes]) -> bytes:
    """The tree from the top down: the left side holds the largest power of two below the count."""
    if not items:
        return ZERO_HASH
    if len(items) == 1:
        return sha256(b"\0" + items[0])
    half = 1 << (len(items) - 1).bit_length() - 1
    return sha256(b"\1" + _top_as_documented(items[:half]) + _top_as_documented(items[half:]))


def test_golden_roots() -> None:
    assert [list_root(_items(count)).hex() for count in (0, 1, 2, 3, 5)] == [
        "c6c0aa07f27493d2f2e5cff56c890a353a20086d6c25ec825128e12ae752b2d9",
        "6b9719f788c6ba81faf95fa12f36888dfb16dc64c68c9151686f313e1e6ac5af",
        "0087989fdb7ceb812fc8b77d0b1fc9e0a65b46a14a29aa7e9e8181d59e14472d",
        "3aa4009f34cd0fbba92109c14110b25e57cef2ed0c33cc1be1ca82c47b154200",
        "90bc8c8b3ff4c251e1aa1e99e26f79dfbe2482a7d665388b64ae5d0ba890f8b5",
    ]


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_the_root_follows_its_definition(items: list[bytes]) -> None:
    assert list_root(items) == sha256(b"\2" + len(items).to_bytes(8, "big") + _top_as_documented(items))


def test_every_place_has_a_proof_and_no_other_item_has_it() -> None:
    for count in range(1, 18):
        items = _items(count)
        root = list_root(items)
        for index, item in enumerate(items):
            siblings = list_proof(items, index)
            assert verify_list_proof(root, item, index, count, siblings)
            for other_index in range(-1, count + 2):
                for other_count in range(count + 2):
                    is_same = (other_index, other_count) == (index, count)
                    assert verify_list_proof(root, item, other_index, other_count, siblings) is is_same
            assert not verify_list_proof(root, sha256(item), index, count, siblings)
            assert not verify_list_proof(sha256(root), item, index, count, siblings)
            assert not verify_list_proof(root, item, index, count, (*siblings, ZERO_HASH))
            assert not verify_list_proof(root, item, index, count, siblings[:-1]) or not siblings
            for level in range(len(siblings)):
                changed = [*siblings]
                changed[level] = sha256(changed[level])
                assert not verify_list_proof(root, item, index, count, changed)


def test_a_node_does_not_pass_for_an_item() -> None:
    items = _items(2)
    node = sha256(b"\0" + items[0]) + sha256(b"\0" + items[1])
    assert list_root([node]) != list_root(items)
    assert not verify_list_proof(list_root(items), node, 0, 1, ())


def test_lists_that_differ_have_different_roots() -> None:
    items = _items(4)
    lists = [items, items[:3], items[::-1], [*items[:3], items[2]], [*items, items[3]], [], [ZERO_HASH]]
    assert len({list_root(each) for each in lists}) == len(lists)


def test_a_hostile_proof_is_just_false() -> None:
    root = list_root(_items(1))
    for index, count in ((0, 2**64), (0, 2**70_000), (2**63, 2**64), (0, -1), (-1, 1), (0, 0)):
        assert not verify_list_proof(root, _items(1)[0], index, count, ())
    assert not verify_list_proof(root, _items(1)[0], 0, 2**64, (ZERO_HASH,) * 64)
    assert not verify_list_proof(root, _items(1)[0], 0, 2, (Hash32(b"short"),))
    assert not verify_list_proof(root, _items(1)[0], 0, 2**62, (ZERO_HASH,) * 10_000)
