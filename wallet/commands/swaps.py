"""`aitbc wallet swap`: AIT or an asset against ether or a token of an EVM chain, with nobody in between."""

import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_address, parse_hash, to_checksum_address, to_hex
from chain.primitives.market import is_asset_address
from chain.primitives.modules import HTLC, TOKEN
from chain.primitives.rejection import Rejected
from chain.primitives.swaps import MAX_LOCK_S, SECRET_BYTES
from chain.primitives.types import ZERO_ADDRESS, Address
from wallet.accounts import Account, Accounts
from wallet.actions import describe_time
from wallet.commands.arguments import account_of, parse_argument, payee_of, read_octets
from wallet.keystore import KeystoreError, write_new_file
from wallet.options import AsJson, ChainId, From, Home, NodeUrl, PasswordFile, TimeoutS, Yes
from wallet.swaps.store import Record, SwapStore
from wallet.swaps.terms import MAX_FILE_BYTES, Lock, Terms
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, columns, emit, say

if TYPE_CHECKING:  # What asks nodes loads slowly; `--help` does not wait for it.
    from wallet.commands.swap_chains import Chains
    from wallet.commands.swap_session import SwapSession

OTHER_RPC_VARIABLE: Final = "AITBC_OTHER_RPC"
_DAY_S: Final = 24 * 3600
_AMOUNT: Final = re.compile(r"([0-9]{1,40})(?:\.([0-9]{1,40}))? +(AIT|ETH|0[xX][0-9a-fA-F]{40})")
_NAMED: Final = {"AIT": TOKEN, "ETH": ZERO_ADDRESS}

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)

SwapFile = Annotated[Path, typer.Argument(metavar="FILE", help="The swap, as both sides have it.")]
OtherRpc = Annotated[
    str | None,
    typer.Option("--other-rpc", envvar=OTHER_RPC_VARIABLE, help="JSON-RPC of the EVM chain, which you trust."),
]
Margin = Annotated[
    int,
    typer.Option(
        "--margin-s", min=1, max=7 * _DAY_S, help="Time that you want for one step: with less left, none is begun."
    ),
]
Confirmations = Annotated[
    int,
    typer.Option("--confirmations", min=1, max=1_000, help="Blocks of the other chain after which nothing is undone."),
]


@app.callback()
def swap() -> None:
    """Exchange with somebody on an EVM chain: two locks under one secret. Repeat any step after any failure."""


@app.command()
def offer(
    home: Home,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written, for the other side; there already: resumed.")],
    to: Annotated[str | None, typer.Option("--to", help="The other side: its address, on both chains.")] = None,
    give: Annotated[str | None, typer.Option("--give", help="AMOUNT ASSET, such as '10 AIT' or '0.5 ETH'.")] = None,
    want: Annotated[str | None, typer.Option("--want", help="The same; ASSET may be an address on its chain.")] = None,
    lock_s: Annotated[
        int, typer.Option("--lock-s", min=4, max=MAX_LOCK_S - 3600, help="Your lock lasts this; the other's, half.")
    ] = _DAY_S,
    sender: From = None,
    other_rpc: OtherRpc = None,
    margin_s: Margin = 1_800,
    confirmations: Confirmations = 12,
    timeout_s: TimeoutS = 120,
    yes: Yes = False,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Propose a swap and lock your side first. The secret stays in this home; send FILE to the other side."""
    from wallet.commands.swap_chains import open_chains
    from wallet.commands.swap_session import Settings, SwapSession, account_for

    keys, store = Accounts(home), SwapStore(home)
    settings = Settings(
        margin_s=margin_s, confirmations=confirmations, timeout_s=timeout_s, password_file=password_file, yes=yes
    )
    asked = (to, give, want)
    with open_chains(node_url, home, chain_id, other_rpc) as chains:
        if file.exists():
            if any(each is not None for each in asked):
                raise CommandError(f"{file} exists: without terms it is resumed, else name another", ExitCode.USAGE)
            terms = _read(file)
            account = account_for(keys, terms, sender)
        else:
            if None in asked:
                raise CommandError("a new swap needs --to, --give and --want", ExitCode.USAGE)
            account = account_of(keys, sender)
            terms = _draw(store, chains, account, payee_of(keys, str(to)), (str(give), str(want)), lock_s)
            write_new_file(file.absolute(), terms.to_json())
        with keys.hold(account, say):
            session = SwapSession(chains, store, account, terms, settings)
            _check_role(session, "maker", "offer")
            did = session.lock()
            _report(session, did, as_json)


@app.command()
def accept(
    home: Home,
    file: SwapFile,
    sender: From = None,
    other_rpc: OtherRpc = None,
    margin_s: Margin = 1_800,
    confirmations: Confirmations = 12,
    timeout_s: TimeoutS = 120,
    yes: Yes = False,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Lock your side of a swap that was offered to you, once the other side has locked exactly what FILE says."""
    _take("lock", "taker", locals())


@app.command()
def claim(
    home: Home,
    file: SwapFile,
    sender: From = None,
    other_rpc: OtherRpc = None,
    margin_s: Margin = 1_800,
    confirmations: Confirmations = 12,
    timeout_s: TimeoutS = 120,
    yes: Yes = False,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Take what the other side has locked: the maker shows the secret by it, the taker reads it from the chain."""
    _take("claim", None, locals())


@app.command()
def refund(
    home: Home,
    file: SwapFile,
    sender: From = None,
    other_rpc: OtherRpc = None,
    margin_s: Margin = 1_800,
    confirmations: Confirmations = 12,
    timeout_s: TimeoutS = 120,
    yes: Yes = False,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Take your own lock back once its deadline is there and nobody has claimed it."""
    _take("refund", None, locals())


@app.command()
def show(
    home: Home,
    file: SwapFile,
    sender: From = None,
    other_rpc: OtherRpc = None,
    margin_s: Margin = 1_800,
    confirmations: Confirmations = 12,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """Where a swap stands on both chains, and what you can do now. Signs nothing."""
    _take("show", None, {**locals(), "timeout_s": 0.0, "yes": False, "password_file": None})


@app.command("list")
def list_(home: Home, as_json: AsJson = False) -> None:
    """The swaps that this home remembers. Asks no chain: `show` says where one stands."""
    store = SwapStore(home)
    records = [record for path in store.paths() if (record := _read_record(store, path)) is not None]
    rows = [["hash", "you are", "your lock until", "theirs until"]]
    for terms, is_maker in ((record.terms, record.secret is not None) for record in records):
        own, wanted = (terms.first, terms.second) if is_maker else (terms.second, terms.first)
        deadlines = describe_time(own.deadline), describe_time(wanted.deadline)
        rows.append([to_hex(terms.hash), "maker" if is_maker else "taker", *deadlines])
    document = {"swaps": [record.terms.to_object() for record in records]}
    emit(as_json, document, columns(rows) if records else ["this home knows no swap"])


def _read_record(store: SwapStore, path: Path) -> Record | None:
    """None, said to the person, for one that cannot be read: it must not hide the others."""
    try:
        return store.read(path)
    except (Rejected, KeystoreError) as error:
        say(f"aitbc: {path}: {error}")
        return None


@app.command("file")
def file_(
    home: Home, hash_: Annotated[str, typer.Argument(metavar="HASH", help="Of a swap, as `list` shows.")]
) -> None:
    """The FILE of a swap that this home remembers, on stdout, for whoever has lost it."""
    store = SwapStore(home)
    path = store.path_of(parse_argument(lambda: parse_hash(hash_, "HASH")))
    if not path.exists():
        raise CommandError("this home knows no swap with this hash: see `swap list`", ExitCode.FAILED)
    print(store.read(path).terms.to_json().decode(), end="")


def _take(step: str, only: str | None, given: dict[str, Any]) -> None:
    """One step of an existing swap."""
    from wallet.commands.swap_chains import open_chains
    from wallet.commands.swap_session import Settings, SwapSession, account_for

    keys, terms = Accounts(given["home"]), _read(given["file"])
    account = account_for(keys, terms, given["sender"])
    settings = Settings(**{name: given[name] for name in Settings.__struct_fields__})
    with (
        open_chains(given["node_url"], given["home"], given["chain_id"], given["other_rpc"]) as chains,
        keys.hold(account, say),
    ):
        session = SwapSession(chains, SwapStore(given["home"]), account, terms, settings)
        if only is not None:
            _check_role(session, only, "accept")
        steps = {"lock": session.lock, "claim": session.claim, "refund": session.refund}
        did = steps[step]() if step in steps else ("looked", None)
        _report(session, did, given["as_json"])


def _read(file: Path) -> Terms:
    return Terms.from_json(read_octets(str(file), MAX_FILE_BYTES))


def _check_role(session: "SwapSession", role: str, command: str) -> None:
    if session.role != role:
        raise CommandError(f"`{command}` is the {role}'s; you are the {session.role.value}", ExitCode.FAILED)


def _report(session: "SwapSession", did: tuple[str, str | None], as_json: bool) -> None:
    document = session.document(*did)
    states = [
        (name, f"{document[name]['status']} on chain {document[name]['chain_id']}") for name in ("first", "second")
    ]
    rows = [("you are", session.role.value), *session.lines(), *states, ("done", did[0]), ("next", document["next"])]
    emit(as_json, document, columns(rows))


def _draw(
    store: SwapStore, chains: "Chains", account: Account, to: Address, words: tuple[str, str], lock_s: int
) -> Terms:
    """New terms under a new secret, which is durable when this returns."""
    from wallet.swaps.other_chain import CONTRACT

    secret = secrets.token_bytes(SECRET_BYTES)
    hash_, now_s = sha256(secret), int(time.time())
    parties = [(account.address, to), (to, account.address)]
    locks = []
    for words_of, option, lasts_s, (sender, recipient) in zip(
        words, ("--give", "--want"), (lock_s, lock_s // 2), parties, strict=True
    ):
        is_ours, asset, value = _parse_amount(chains, words_of, option)
        locks.append(
            Lock(
                chain_id=chains.status.chain_id if is_ours else chains.other.chain_id(),
                contract=HTLC if is_ours else CONTRACT,
                asset=asset,
                value=value,
                deadline=now_s + lasts_s,
                sender=sender,
                recipient=recipient,
                hash=hash_,
            )
        )
    terms = parse_argument(Terms(first=locks[0], second=locks[1]).checked)
    store.add(Record(terms=terms, secret=secret))
    return terms


def _parse_amount(chains: "Chains", text: str, option: str) -> tuple[bool, Address, int]:
    """Whether it is on this chain, the asset, and its smallest units."""
    from wallet.swaps.reading import read_asset

    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise CommandError(
            f"{option} must be AMOUNT ASSET, such as '1.5 AIT'; ASSET is AIT, ETH or an address", ExitCode.USAGE
        )
    whole, fraction, asset_text = match[1], (match[2] or "").rstrip("0"), match[3]
    asset = _NAMED.get(asset_text) or parse_argument(lambda: parse_address(asset_text, option))
    is_ours = asset == TOKEN or is_asset_address(asset)
    name = read_asset(chains.ours if is_ours else chains.other.rpc, asset)
    if len(fraction) > name.decimals:
        raise CommandError(f"{option}: {to_checksum_address(asset)} has {name.decimals} decimals", ExitCode.USAGE)
    return is_ours, asset, int(whole + fraction.ljust(name.decimals, "0"))
