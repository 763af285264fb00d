"""A process for the crash tests: commits block after block, and says so only after each commit has returned.

    python commit_forever.py FOLDER GENESIS_HASH_HEX [LARGEST_FILE_BYTES, 0: no limit [SYNC_EVERY]]

What it commits at a height depends on the height alone, so the test knows what must be found afterwards.
"""

import random
import resource
import runpy
import sys
from pathlib import Path

from chain.storage.errors import StorageError
from chain.storage.store import Store

KEYS = [b"\x01key %d" % number for number in range(200)]


def changes_at(height: int) -> dict[bytes, bytes | None]:
    """The state changes of one block: some values small, some large, some keys removed."""
    draw = random.Random(height)
    changes: dict[bytes, bytes | None] = {
        key: draw.randbytes(draw.choice((3, 40, 9_000))) for key in draw.sample(KEYS, 20)
    }
    changes.update(dict.fromkeys(draw.sample(KEYS, 5)))
    changes[b"\x02height"] = b"%d" % height
    return changes


def main(folder: Path, genesis_hash: bytes, sync_every: int) -> None:
    """Commits until something fails; prints each committed height."""
    block_on = runpy.run_path(str(Path(__file__).parent / "conftest.py"))["block_on"]
    store = Store.open(folder, genesis_hash=genesis_hash, create=True, history_blocks=4)
    while True:
        changes = changes_at(store.head.height + 1 if store.head else 0)
        pending = store.prepare(changes, on=store.view())
        block = block_on(store.head, pending.state_root)
        head = store.commit(block, pending, sync=block.header.height % sync_every == 0)
        print(head.height, flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 3 and (limit := int(sys.argv[3])):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        main(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    except StorageError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(1)
