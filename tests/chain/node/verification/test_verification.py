"""`aitbc node verify`: a good chain is good, each kind of tampering is found, and the folder is left as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import plyvel
import pytest
from typer.testing import CliRunner, Result

from chain.node.cli import app
from chain.node.folder import NodeFolder
from chain.node.ledger import Candidate
from chain.node.records import decode_results, encode_results
from chain.node.verification.replay import Fault, Verification, verify_folder
from chain.primitives import message_pack
from chain.primitives.block import TransactionResult, decode_block
from chain.primitives.certificate import Certificate
from chain.primitives.market import ISSUE_ASSET, MINT_ASSET
from chain.primitives.modules import ADD_ISSUER, EXECUTE, FORCE_EPOCH, GOVERNANCE, MARKET, PROPOSE
from chain.primitives.network import network_to_toml
from chain.primitives.types import ATOMS_PER_AIT
from chain.storage.errors import FolderInUse, FolderMissing, WrongNetwork
from chain.storage.keys import FLOOR_KEY, HEAD_KEY, Table, height_key
from chain.storage.records import decode_head
from tests.chain.trading import COIN, Trading

if TYPE_CHECKING:
    from tests.chain.conftest import Chain, People

BLOCKS = 11
CERTIFIED_AFTER_RUN = 6
BOUNDARY = 8
TRADING_TRANSACTIONS = 8


def build(chain: Chain) -> None:
    """Mints, a transfer, a registration, a failed call, a run with one certificate, the end of an epoch, a trade."""
    people = chain.people
    chain.fund("ann", "bob")  # 1
    chain.add_block(people.transfer("ann", "bob", ATOMS_PER_AIT, nonce=1), people.register("cat", nonce=0))  # 2
    used = people.receipt_hash()
    chain.add_block(people.mint("cat", 1, nonce=1, receipt_hash=used))  # 3
    run: list[Candidate] = []
    for transactions in ((people.mint("cat", 1, nonce=2, sender="ann", receipt_hash=used),), (), ()):
        run.append(chain.propose(*transactions, on=run[-1] if run else None))
    assert [result.status for result in run[0].outcome.results] == [0]
    for candidate in run[:-1]:
        chain.ledger.commit(candidate, None, chain.ledger.floor_after(candidate, None))  # 4, 5
    chain.commit(run[-1])  # 6
    call = PROPOSE.encode(GOVERNANCE, FORCE_EPOCH.encode())
    chain.add_block(people.send("validator", GOVERNANCE, nonce=0, data=call))  # 7
    chain.add_block(people.send("validator", GOVERNANCE, nonce=1, data=EXECUTE.encode(1)))  # 8
    trading = Trading(people, nonces={"ann": 3, "bob": 1, "validator": 2}, proposals=1)
    market = (
        *trading.decide(GOVERNANCE, ADD_ISSUER, people.address("ann")),
        trading.call("ann", MARKET, ISSUE_ASSET, "Coin", "COIN", 6, 0, 0, bytes(32)),
        trading.call("ann", MARKET, MINT_ASSET, COIN, people.address("bob"), 10**6),
        *trading.open_market(),
        *trading.trade(500, 1),
    )
    assert [result.status for result in chain.add_block(*market).outcome.results] == [1] * TRADING_TRANSACTIONS  # 9
    for _ in range(2):
        chain.add_block()
    assert chain.head.height == BLOCKS
    assert chain.ledger.floor().epoch == 1


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, chain_in: Callable[[Path], Chain]) -> Path:
    """A stopped node's folder; tests that change it take a copy."""
    path = tmp_path_factory.mktemp("verification") / "node"
    path.mkdir()
    chain = chain_in(path / "chain")
    (path / "network.toml").write_text(network_to_toml(chain.people.network))
    build(chain)
    chain.ledger.close()
    return path


@pytest.fixture
def data_dir(built: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(built, tmp_path / "node"))


def verify(data_dir: Path) -> Verification:
    heights: list[int] = []
    found = verify_folder(NodeFolder(data_dir), report=lambda height, _: heights.append(height))
    assert heights == [*range(heights[-1] + 1)]
    return found


def fault_of(data_dir: Path) -> Fault:
    with pytest.raises(Fault) as caught:
        verify(data_dir)
    return caught.value


class Tamper:
    """Writes to a stopped node's database, past everything that guards it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = str(data_dir / "chain")

    def get(self, key: bytes) -> bytes:
        with plyvel.DB(self._path) as database:
            value: bytes | None = database.get(key)
        assert value is not None
        return value

    def put(self, key: bytes, value: bytes | None) -> None:
        """None: the row goes."""
        with plyvel.DB(self._path) as database:
            if value is None:
                database.delete(key)
            else:
                database.put(key, value)

    def first(self, table: Table, number: int = 0) -> tuple[bytes, bytes]:
        """A row of a table, with its whole key."""
        with plyvel.DB(self._path) as database:
            rows = list(database.iterator(start=table.prefix, stop=table.end))
        key, value = rows[number]
        return key, value


def snapshot(data_dir: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(data_dir)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(data_dir.rglob("*"))
        if path.is_file()
    }


# Good chains


def test_good_chain_is_good_and_its_folder_is_left_as_it_was(built: Path) -> None:
    before = snapshot(built)
    found = verify(built)
    assert snapshot(built) == before
    assert (found.height, found.certified_height, found.epoch) == (BLOCKS, BLOCKS, 1)
    assert found.certificates == BLOCKS - 2
    assert found.transactions == 8 + TRADING_TRANSACTIONS
    # A sender each, an attester for each mint that got so far, a validator for each certificate.
    assert found.signatures == found.transactions + 3 + found.certificates
    head = decode_head(Tamper(Path(shutil.copytree(built, built.parent / "read"))).get(HEAD_KEY)).header
    assert (found.block_hash, found.state_root) == (head.hash, head.state_root)


def test_genesis_alone_is_good(tmp_path: Path, chain_in: Callable[[Path], Chain]) -> None:
    chain = chain_in(tmp_path / "chain")
    (tmp_path / "network.toml").write_text(network_to_toml(chain.people.network))
    chain.ledger.close()
    assert verify(tmp_path).height == 0


def test_crash_between_two_commits_is_no_fault(tmp_path: Path, chain_in: Callable[[Path], Chain]) -> None:
    chain = chain_in(tmp_path / "chain")
    (tmp_path / "network.toml").write_text(network_to_toml(chain.people.network))
    chain.add_block()
    candidate = chain.propose()
    chain.ledger.commit(candidate, None, chain.ledger.floor_after(candidate, None))
    chain.ledger.close()
    found = verify(tmp_path)
    assert (found.height, found.certified_height) == (2, 1)
    shown = CliRunner().invoke(app, ["verify", "--data-dir", str(tmp_path)])
    assert shown.exit_code == 0
    assert "No certificate covers the blocks after 1" in shown.stderr


# Tampering


def flip(value: bytes, position: int = -1) -> bytes:
    changed = bytearray(value)
    changed[position] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("height", [0, 1, 5, BLOCKS])
def test_changed_block_is_found(data_dir: Path, height: int) -> None:
    tamper, key = Tamper(data_dir), height_key(Table.BLOCK, height)
    block = decode_block(tamper.get(key))
    tamper.put(key, msgspec.structs.replace(block, header=msgspec.structs.replace(block.header, time_ms=7)).encode())
    fault = fault_of(data_dir)
    assert fault.height == height


def test_block_that_is_noise_missing_or_lacks_a_transaction_is_found(data_dir: Path) -> None:
    tamper, key = Tamper(data_dir), height_key(Table.BLOCK, 2)
    good = tamper.get(key)
    block = decode_block(good)
    for changed, words in (
        (b"noise", "cannot be decoded"),
        (good + b"\x00", "cannot be decoded"),
        (None, "missing"),
        (msgspec.structs.replace(block, transactions=block.transactions[:1]).encode(), "transactions_root"),
        (tamper.get(height_key(Table.BLOCK, 3)), "certificate"),
    ):
        tamper.put(key, changed)
        fault = fault_of(data_dir)
        assert fault.height == 2
        assert words in fault.reason
    tamper.put(key, good)
    verify(data_dir)


def test_changed_certificate_is_found(data_dir: Path) -> None:
    tamper, height = Tamper(data_dir), CERTIFIED_AFTER_RUN
    key = height_key(Table.CERTIFICATE, height)
    good = message_pack.decode(tamper.get(key), Certificate)
    replace = msgspec.structs.replace
    for changed in (
        b"noise",
        b"\x00" * 100_000,
        message_pack.encode(good) + b"\x00",
        message_pack.encode(replace(good, signatures=(flip(good.signatures[0], 5),))),
        message_pack.encode(replace(good, signatures=(), signer_bitmap=0)),
        message_pack.encode(replace(good, view=good.view + 1)),
        message_pack.encode(replace(good, epoch=1)),
        tamper.get(height_key(Table.CERTIFICATE, height + 1)),
    ):
        tamper.put(key, changed)
        assert fault_of(data_dir).height == height
    tamper.put(key, message_pack.encode(good))
    verify(data_dir)


def test_missing_certificate_is_found_where_no_later_one_stands_for_it(data_dir: Path) -> None:
    tamper = Tamper(data_dir)
    for height in (BOUNDARY, BLOCKS):
        key = height_key(Table.CERTIFICATE, height)
        good = tamper.get(key)
        tamper.put(key, None)
        fault = fault_of(data_dir)
        assert fault.height == (BOUNDARY if height == BOUNDARY else None)
        assert ("certificate is missing" if height == BOUNDARY else "floor") in fault.reason
        tamper.put(key, good)
    tamper.put(height_key(Table.CERTIFICATE, 1), None)
    assert verify(data_dir).certificates == BLOCKS - 3, "the one over the next block stands for it"
    tamper.put(height_key(Table.CERTIFICATE, 5), tamper.get(height_key(Table.CERTIFICATE, 6)))
    assert fault_of(data_dir).height == 5


def test_changed_results_are_found(data_dir: Path) -> None:
    tamper = Tamper(data_dir)
    key = height_key(Table.RESULTS, 4)
    good = tamper.get(key)
    stored = decode_results(good)
    result = msgspec.structs.replace(stored.result(0), status=1)
    (failure,) = stored.failures

    def encoded(results: tuple[TransactionResult, ...], *, senders: int = 1, failures: int = 1) -> bytes:
        return encode_results(results, stored.senders[:senders], stored.failures[:failures])

    for changed in (
        b"noise",
        None,
        encoded((result,)),
        encoded((stored.result(0),), senders=0),
        encoded((stored.result(0),), failures=0),
        encoded(()),
    ):
        tamper.put(key, changed)
        assert fault_of(data_dir).height == 4
    # Another version may have other words for the same failure.
    tamper.put(key, encode_results((stored.result(0),), stored.senders, ((failure[0], failure[1], "other words"),)))
    verify(data_dir)


@pytest.mark.parametrize(
    "table",
    [each for each in Table if each not in (Table.BLOCK, Table.CERTIFICATE, Table.RESULTS, Table.EVIDENCE, Table.UNDO)],
)
def test_changed_added_and_missing_rows_of_every_table_are_found(data_dir: Path, table: Table) -> None:
    tamper = Tamper(data_dir)
    key, good = tamper.first(table)
    for at, changed in ((key, flip(good or b"\x00")), (key, None), (flip(key, 1), good), (key + b"\x00", b"")):
        was = good if at == key else None
        tamper.put(at, changed)
        assert f"table {table.name.lower()}" in fault_of(data_dir).reason
        tamper.put(at, was)
    verify(data_dir)


def test_rows_above_the_newest_block_are_found(data_dir: Path) -> None:
    tamper = Tamper(data_dir)
    for table in (Table.BLOCK, Table.CERTIFICATE, Table.RESULTS):
        key = height_key(table, BLOCKS + 1)
        tamper.put(key, b"more")
        assert "above the newest block" in fault_of(data_dir).reason
        tamper.put(key, None)


def test_changed_undo_record_is_found(data_dir: Path) -> None:
    tamper, key = Tamper(data_dir), height_key(Table.UNDO, 2)
    for changed in (b"noise", message_pack.encode([]), message_pack.encode([b"key"])):
        tamper.put(key, changed)
        assert fault_of(data_dir).height == 2
    # A node may keep less.
    tamper.put(key, None)
    verify(data_dir)


def test_changed_head_and_floor_are_found(data_dir: Path) -> None:
    tamper = Tamper(data_dir)
    head, floor = tamper.get(HEAD_KEY), tamper.get(FLOOR_KEY)
    for key, changed, good in (
        (HEAD_KEY, None, head),
        (HEAD_KEY, b"noise", head),
        (HEAD_KEY, flip(head), head),
        (FLOOR_KEY, None, floor),
        (FLOOR_KEY, flip(floor), floor),
    ):
        tamper.put(key, changed)
        fault_of(data_dir)
        tamper.put(key, good)
    verify(data_dir)


def test_chain_that_was_cut_off_is_found_at_its_new_end(data_dir: Path) -> None:
    """Whoever takes the newest block away with all its records still leaves the state of it."""
    tamper = Tamper(data_dir)
    record = decode_head(tamper.get(HEAD_KEY))
    older = decode_block(tamper.get(height_key(Table.BLOCK, 3))).header
    tamper.put(HEAD_KEY, msgspec.structs.replace(record, header=older).encode())
    assert "above the newest block" in fault_of(data_dir).reason


def test_file_of_the_database_that_was_damaged_is_found(data_dir: Path) -> None:
    (data_dir / "chain" / "CURRENT").write_bytes(b"nonsense\n")
    done = CliRunner().invoke(app, ["verify", "--data-dir", str(data_dir)])
    assert done.exit_code == 1
    assert f"The chain data in {data_dir / 'chain'} are damaged" in done.stderr


# Where nothing can be verified


def test_folder_of_a_running_node_is_refused(tmp_path: Path, chain_in: Callable[[Path], Chain]) -> None:
    chain = chain_in(tmp_path / "chain")
    (tmp_path / "network.toml").write_text(network_to_toml(chain.people.network))
    with pytest.raises(FolderInUse):
        verify(tmp_path)
    chain.add_block()
    chain.ledger.close()
    assert verify(tmp_path).height == 1


def test_other_network_and_no_chain_are_refused(data_dir: Path, people: People) -> None:
    other = msgspec.structs.replace(people.network, name="others")
    (data_dir / "network.toml").write_text(network_to_toml(other))
    with pytest.raises(WrongNetwork):
        verify(data_dir)
    shutil.rmtree(data_dir / "chain")
    with pytest.raises(FolderMissing):
        verify(data_dir)


# The command


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def test_command_shows_what_was_checked(built: Path, tmp_path: Path) -> None:
    done = run("--data-dir", built, "--scratch-dir", tmp_path)
    assert done.exit_code == 0, done.stderr
    assert f"good up to height {BLOCKS}" in done.stdout
    assert list(tmp_path.iterdir()) == []
    shown = json.loads(run("--data-dir", built, "--json").stdout)
    assert shown["height"] == shown["certified_height"] == BLOCKS
    assert shown["state_root"].startswith("0x")


def test_command_fails_with_height_and_reason(data_dir: Path) -> None:
    Tamper(data_dir).put(height_key(Table.CERTIFICATE, 2), b"noise")
    done = run("--data-dir", data_dir, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["fault"]["height"] == 2
    assert "block 2: its certificate cannot be decoded" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_command_explains_what_it_cannot_verify(tmp_path: Path) -> None:
    done = run("--data-dir", tmp_path / "none")
    assert done.exit_code == 1
    assert "aitbc node init" in done.stderr
