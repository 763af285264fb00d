"""The tree against the definition in DESIGN §6, written down as a recursion over all leaves."""

import random
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import plyvel
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chain.storage.keys import Table
from chain.storage.leaves import LeafScanner
from chain.storage.tree import StateTree, TreeShape, TreeUpdate

EMPTY = bytes(32)

# So small that a handful of leaves goes through every depth, and a level is added over several blocks.
TINY = TreeShape(min_depth=1, max_depth=9, shrink_factor=8, rebuild_factor=4, deepening_steps=4, min_pages_per_step=1)


def leaf_hash(path: bytes, value: bytes) -> bytes:
    return sha256(b"\0" + path + sha256(value).digest()).digest()


def reference_root(leaves: Sequence[tuple[bytes, bytes]], depth: int = 0) -> bytes:
    """From (path, value) of all leaves of a subtree."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaf_hash(*leaves[0])
    left = [leaf for leaf in leaves if not bit(leaf[0], depth)]
    right = [leaf for leaf in leaves if bit(leaf[0], depth)]
    return sha256(b"\1" + reference_root(left, depth + 1) + reference_root(right, depth + 1)).digest()


def bit(path: bytes, depth: int) -> int:
    return int.from_bytes(path, "big") >> (255 - depth) & 1


def reference_path(
    leaves: Sequence[tuple[bytes, bytes]], path: bytes, depth: int = 0
) -> tuple[tuple[bytes, ...], bytes | None]:
    """Siblings from the root down, and the path of the leaf where the way ends."""
    if len(leaves) < 2:
        return (), leaves[0][0] if leaves else None
    mine = [leaf for leaf in leaves if bit(leaf[0], depth) == bit(path, depth)]
    others = [leaf for leaf in leaves if bit(leaf[0], depth) != bit(path, depth)]
    below, end = reference_path(mine, path, depth + 1)
    return (reference_root(others, depth + 1), *below), end


class Model:
    """A tree over a real LevelDB, beside a dictionary of what it must hold."""

    def __init__(self, folder: str, shape: TreeShape) -> None:
        self.database = plyvel.DB(folder, create_if_missing=True)
        self.database.put(b"r", b"an entry before the table")
        self.database.put(b"t", b"an entry after the table")
        self.tree = StateTree(shape)
        self.values: dict[bytes, bytes] = {}

    def scanner(self) -> LeafScanner:
        return LeafScanner(self.database.raw_iterator(verify_checksums=True))

    def compute(self, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
        leaves = {path: None if value is None else leaf_hash(path, value) for path, value in changes.items()}
        return self.tree.compute(leaves, {path for path in changes if path in self.values}, self.scanner())

    def commit(self, changes: Mapping[bytes, bytes | None], update: TreeUpdate) -> None:
        with self.database.write_batch() as batch:
            for path, value in changes.items():
                if value is None:
                    batch.delete(Table.STATE.prefix + path)
                    self.values.pop(path, None)
                else:
                    batch.put(Table.STATE.prefix + path, value)
                    self.values[path] = value
        self.tree.adopt(update)
        self.tree.adapt_depth(self.scanner())

    def after(self, changes: Mapping[bytes, bytes | None]) -> list[tuple[bytes, bytes]]:
        merged: dict[bytes, bytes | None] = {**self.values, **changes}
        return sorted((path, value) for path, value in merged.items() if value is not None)


# Paths that share from none to 255 bits, so that a few of them already make long chains of nodes beside empty sides.
paths = st.builds(
    lambda shared, ending: (
        ((1 << 256) - 1 >> (256 - shared) << (256 - shared)) | (ending & ((1 << (256 - shared)) - 1))
    ).to_bytes(32, "big"),
    st.sampled_from([0, 1, 3, 8, 21, 200, 252]),
    st.one_of(st.integers(0, 15), st.integers(0, 15).map(lambda n: n << 244), st.integers(0, 2**256 - 1)),
)
batches = st.lists(
    st.dictionaries(paths, st.one_of(st.none(), st.binary(max_size=3)), max_size=24), min_size=1, max_size=6
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(batches)
@example([{bytes([n]) + bytes(31): b"v" for n in range(40)}, {bytes([n]) + bytes(31): None for n in range(39)}, {}])
def test_any_changes_lead_to_the_reference_root_and_paths(changes_per_block: list[dict[bytes, bytes | None]]) -> None:
    with TemporaryDirectory() as folder:
        model = Model(folder, TINY)
        for changes in changes_per_block:
            before, expected = model.after({}), model.after(changes)
            update = model.compute(changes)

            assert update.root == reference_root(expected)
            assert update.leaf_count == len(expected)
            assert model.tree.root == reference_root(before), "computing changes nothing"
            for path in [*changes, *(path for path, _ in before)][:3]:
                assert model.tree.locate(path, model.scanner(), update) == reference_path(expected, path)
                assert model.tree.locate(path, model.scanner()) == reference_path(before, path)

            model.commit(changes, update)
            assert model.tree.root == update.root
            assert model.tree.leaf_count == len(expected)
            for path in list(changes)[-3:]:
                assert model.tree.locate(path, model.scanner()) == reference_path(expected, path)
        rebuilt = StateTree.build(model.scanner(), len(model.values), TINY)
        assert rebuilt.root == model.tree.root
        model.database.close()


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Model]:
    """A tiny-shaped tree over an empty database."""
    made = Model(str(tmp_path / "leaves"), TINY)
    yield made
    made.database.close()


def apply(model: Model, changes: Mapping[bytes, bytes | None]) -> None:
    update = model.compute(changes)
    assert update.root == reference_root(model.after(changes))
    model.commit(changes, update)


def test_the_empty_tree_and_a_single_leaf(model: Model) -> None:
    path = b"\xab" * 32
    assert model.tree.root == EMPTY

    apply(model, {path: b"value"})
    assert model.tree.root == leaf_hash(path, b"value")

    apply(model, {path: None})
    assert model.tree.root == EMPTY
    assert model.tree.leaf_count == 0


def test_two_leaves_form_nodes_beside_empty_sides_down_to_their_fork(model: Model) -> None:
    low, high = bytes(32), bytes(31) + b"\1"
    apply(model, {low: b"a", high: b"b"})
    expected = sha256(b"\1" + leaf_hash(low, b"a") + leaf_hash(high, b"b")).digest()
    for _ in range(255):
        expected = sha256(b"\1" + expected + EMPTY).digest()
    assert model.tree.root == expected


def test_depth_follows_growth_step_by_step_and_back_down_to_nothing(model: Model) -> None:
    draw = random.Random(20)
    depths = {model.tree.depth}
    partial = 0
    while len(model.values) < 700:
        changes: dict[bytes, bytes | None] = {
            draw.randbytes(32): draw.randbytes(2) for _ in range(1 + len(model.values) // 40)
        }
        changes.update({path: draw.randbytes(2) for path in draw.sample(sorted(model.values), len(model.values) // 20)})
        apply(model, changes)
        depths.add(model.tree.depth)
        partial += bool(model.tree._frontier)
    assert depths == set(range(1, 10)), "every depth, the greatest only as far as it is allowed"
    assert partial > 10, "levels were added over several blocks"

    while model.values:
        apply(model, dict.fromkeys(draw.sample(sorted(model.values), 1 + len(model.values) // 20)))
    assert model.tree.depth < 5, "levels are given up on the way"
    for _ in range(4):
        apply(model, {})
    assert model.tree.depth == TINY.min_depth
    assert model.tree.root == EMPTY


def test_a_huge_block_rebuilds_the_top_at_once(tmp_path: Path) -> None:
    model = Model(str(tmp_path / "leaves"), TreeShape())
    draw = random.Random(3)
    apply(model, {draw.randbytes(32): b"v" for _ in range(3_000)})
    assert model.tree.depth == 12
    model.database.close()


def test_leaves_crowded_into_one_place_are_not_rescanned(tmp_path: Path) -> None:
    """Somebody may grind accounts whose tree keys share 40 bits; a change then must not read all of them."""
    reads: list[int] = []

    class CountingScanner(LeafScanner):
        def leaves(self, *args: object, **kwargs: object) -> list[tuple[bytes, bytes]]:
            found = super().leaves(*args, **kwargs)  # type: ignore[arg-type]
            reads.append(len(found))
            return found

    draw = random.Random(4)
    model = Model(str(tmp_path / "leaves"), TINY)
    crowd = [b"\x5a" * 5 + draw.randbytes(27) for _ in range(2_000)]
    apply(model, dict.fromkeys(crowd, b"v"))
    for _ in range(12):  # The depth reaches its greatest; each step asks the crowd's page anew.
        apply(model, {draw.randbytes(32): b"v"})

    changes: dict[bytes, bytes | None] = dict.fromkeys(draw.sample(crowd, 50), b"w")
    leaves = {path: leaf_hash(path, b"w") for path in changes}
    update = model.tree.compute(leaves, set(changes), CountingScanner(model.database.raw_iterator()))
    assert update.root == reference_root(model.after(changes))
    assert max(reads) <= 16
    assert sum(reads) <= 50 * 16
    model.commit(changes, update)

    for start in range(0, 2_000, 100):  # And all of them may go again, whatever is remembered of them.
        apply(model, dict.fromkeys(crowd[start : start + 100]))
    assert not model.tree._opened
    model.database.close()


def test_an_update_for_another_shape_is_refused(model: Model) -> None:
    update = model.compute({b"\x01" * 32: b"v"})
    apply(model, {draw.randbytes(32): b"v" for draw in [random.Random(n) for n in range(40)]})
    with pytest.raises(AssertionError):
        model.tree.adopt(update)
