"""What `aitbc wallet doctor` looks at: the home, its files, this machine's clock, and the node."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wallet.accounts import Account, Accounts
from wallet.keystore import KeystoreError
from wallet.known_networks import KnownNetworks, NetworkMismatchError
from wallet.node_session import choose_node_url, network_of
from wallet.verification import Check

if TYPE_CHECKING:  # httpx takes a tenth of a second to load; only what asks a node waits for it.
    from chain.answers import StatusView
    from chain.client import NodeClient

# Blocks may be a little ahead of an honest clock; more, and this machine's is wrong.
_MOST_AHEAD_MS: Final = 15_000
# Without transactions a chain's blocks come more rarely; beyond this, somebody's clock is wrong, or the chain stands.
_LONGEST_SILENCE_MS: Final = 120_000
_MOST_ACCOUNTS: Final = 20  # Asked about one by one.


def check_home(home: Path) -> Iterator[Check]:
    """Whether the folder is there, can be written, and is closed to others."""
    if not home.is_dir():
        yield Check("home", None, f"{home} is not there yet; the first account or network makes it")
        return
    yield Check("home", os.access(home, os.R_OK | os.W_OK | os.X_OK), f"{home}")
    keys = Accounts(home).folder
    if keys.is_dir():
        mode = stat.S_IMODE(keys.stat().st_mode)
        closed = not mode & 0o022
        advice = "" if closed else f"; others can put files into it: chmod 700 {keys}"
        yield Check("keys_folder", closed, f"mode {mode:04o}{advice}")


def check_accounts(accounts: Accounts) -> Iterator[Check]:
    """Whether every account's file can be read; passwords are not asked for."""
    found = list(accounts.each())
    damaged = [each for each in found if not isinstance(each, Account)]
    for name, error in damaged:
        yield Check("account", False, f"{name}: {error}")
    usable = len(found) - len(damaged)
    yield Check("accounts", True if usable else None, f"{usable} in order" if usable else "none yet")


def check_networks(home: Path) -> Iterator[Check]:
    """Whether the networks' files can be read, and which one is meant."""
    networks = KnownNetworks(home)
    try:
        known = networks.each()
        default = networks.default_chain_id()
    except KeystoreError as error:
        yield Check("networks", False, str(error))
        return
    if default is None:
        yield Check("networks", None, f"{len(known)} known, none chosen: the first node that is asked decides")
        return
    meant = next((each for each in known if each.chain_id == default), None)
    yield Check(
        "networks", True, f"{len(known)} known; meant is {meant.name if meant else 'one met never'} ({default})"
    )


def check_node(home: Path, node_url: str | None, chain_id: int | None) -> Iterator[Check]:
    """Whether a node answers, serves the network that is meant, keeps up, and what waits there."""
    from chain.client import NodeClient, NodeError

    try:
        url = choose_node_url(node_url, home, chain_id)
        with NodeClient(url) as client:
            status = client.status()
            yield Check("node", True, f"{url} answers as {status.role}, AITBC {status.version}")
            try:
                KnownNetworks(home).compare(network_of(status), chain_id)
            except NetworkMismatchError as error:
                yield Check("network", False, str(error))
                return
            yield Check("network", True, f"{status.network} (chain id {status.chain_id}), {status.genesis_hash}")
            yield _check_progress(status)
            yield check_clock(status.finalized.time_ms, time.time_ns() // 1_000_000)
            yield from _check_waiting(client, Accounts(home))
    except (NodeError, ValueError, KeystoreError) as error:
        yield Check("node", False, str(error))


def _check_progress(status: "StatusView") -> Check:
    if status.syncing is None:
        return Check("synced", True, f"block {status.finalized.height} is final")
    behind = status.syncing.target - status.finalized.height
    return Check("synced", None, f"{behind} blocks behind: balances and nonces are old")


def check_clock(block_time_ms: int, now_ms: int) -> Check:
    """The newest block's time, which validators agree on, against this machine's."""
    age_ms = now_ms - block_time_ms
    if age_ms < -_MOST_AHEAD_MS:
        return Check("clock", False, f"this machine's clock is {-age_ms // 1000} s behind the newest block: set it")
    if age_ms > _LONGEST_SILENCE_MS:
        return Check(
            "clock", None, f"the newest block is {age_ms // 1000} s old: the chain stands, or the clock is ahead"
        )
    return Check("clock", True, f"the newest block is {max(0, age_ms) / 1000:.1f} s old")


def _check_waiting(client: "NodeClient", accounts: Accounts) -> Iterator[Check]:
    """Transactions that a block has not taken yet; a nonce that is missing would keep them for ever."""
    asked = [account for account in accounts.readable() if account.key.address is not None][:_MOST_ACCOUNTS]
    views = [(account.name, client.account(account.address)) for account in asked]
    waiting = [
        f"{view.pending_nonce - view.nonce} of {name}" for name, view in views if view.pending_nonce > view.nonce
    ]
    if asked:
        yield Check("pending", None if waiting else True, ", ".join(waiting) or "no transaction waits")
