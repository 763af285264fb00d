"""`aitbc wallet swap list|file`: what a home remembers, without asking a chain. The rest is in tests/contracts."""

import json
from pathlib import Path

from typer.testing import CliRunner

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import to_hex
from chain.primitives.modules import HTLC, TOKEN
from chain.primitives.types import ZERO_ADDRESS, Address
from wallet.cli import app
from wallet.swaps.store import Record, SwapStore
from wallet.swaps.terms import Lock, Terms

ALICE, BOB = (Address(bytes((number,)) * 20) for number in (1, 2))
CONTRACT = Address(b"\x03" * 20)


def terms_of(secret: bytes) -> Terms:
    hash_ = sha256(secret)
    return Terms(
        first=Lock(
            chain_id=7, contract=HTLC, asset=TOKEN, value=10, deadline=2_000, sender=ALICE, recipient=BOB, hash=hash_
        ),
        second=Lock(
            chain_id=8,
            contract=CONTRACT,
            asset=Address(ZERO_ADDRESS),
            value=20,
            deadline=1_000,
            sender=BOB,
            recipient=ALICE,
            hash=hash_,
        ),
    ).checked()


def test_a_lost_file_comes_back_without_the_secret(tmp_path: Path) -> None:
    def swap(*words: str, code: int = 0) -> tuple[str, str]:
        ended = CliRunner().invoke(app, ["swap", *words, "--home", str(tmp_path)])
        assert ended.exit_code == code, ended.stderr
        return ended.stdout, ended.stderr

    assert swap("list") == ("this home knows no swap\n", "")
    assert json.loads(swap("list", "--json")[0]) == {"swaps": []}
    store, secret = SwapStore(tmp_path), b"\x05" * 32
    mine, theirs = terms_of(secret), terms_of(b"\x06" * 32)
    store.add(Record(terms=mine, secret=secret))
    store.add(Record(terms=theirs))
    listed, _ = swap("list")
    rows = {row.split()[0]: row for row in listed.splitlines()[1:]}
    assert rows.keys() == {to_hex(mine.hash), to_hex(theirs.hash)}
    assert "maker    1970-01-01 00:33:20 UTC  1970-01-01 00:16:40 UTC" in rows[to_hex(mine.hash)]
    assert "taker    1970-01-01 00:16:40 UTC  1970-01-01 00:33:20 UTC" in rows[to_hex(theirs.hash)]
    written, _ = swap("file", to_hex(mine.hash))
    assert Terms.from_json(written.encode()) == mine
    for said in (listed, written, swap("list", "--json")[0]):
        assert secret.hex() not in said
    # One that is damaged does not hide the others
    store.path_of(theirs.hash).write_bytes(b"{")
    listed, complaint = swap("list")
    assert (to_hex(mine.hash) in listed, theirs.hash.hex() in complaint) == (True, True)
    assert "Traceback" not in swap("file", to_hex(theirs.hash), code=1)[1]
    assert "knows no swap" in swap("file", "0x" + "00" * 32, code=1)[1]
    assert swap("file", "0x12", code=2)[0] == ""
