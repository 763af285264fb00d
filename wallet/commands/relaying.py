"""Transfers that their owner signs and somebody else submits (ERC-3009): authorize, revoke, relay."""

import json
import secrets
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from chain.primitives.authorization import Authorization, AuthorizationKind
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.modules import TOKEN
from chain.primitives.types import Hash32
from wallet.accounts import Account, Accounts
from wallet.authorizations import (
    MAX_DOCUMENT_BYTES,
    Cancellation,
    SignedAuthorization,
    describe_statement,
)
from wallet.commands.arguments import account_of, amount_of, payee_of, read_text
from wallet.commands.outcomes import follow, report, report_dry_run, sign_and_submit
from wallet.known_networks import KnownNetworks
from wallet.node_session import open_node
from wallet.options import (
    AsJson,
    Atoms,
    ChainId,
    DryRun,
    From,
    Home,
    NodeUrl,
    Nonce,
    PasswordFile,
    Payee,
    TimeoutS,
    Wait,
    WaitFor,
    Yes,
)
from wallet.terminal import CommandError, ExitCode, confirm, say

_LONGEST_S: Final = 2**53  # Any number of seconds that JSON readers can hold.

SourceFile = Annotated[str, typer.Argument(metavar="FILE", help="What `authorize` or `revoke` wrote; - for stdin.")]


def authorize(
    home: Home,
    to: Payee,
    amount: Annotated[str, typer.Argument(help="AIT, such as 1.5.")],
    sender: From = None,
    atoms: Atoms = False,
    valid_for_s: Annotated[
        int,
        typer.Option(
            "--valid-for-s", min=1, max=_LONGEST_S, help="Seconds from now, after which nobody can submit it."
        ),
    ] = 3600,
    valid_after: Annotated[
        int,
        typer.Option("--valid-after", min=0, max=_LONGEST_S, help="Unix seconds, before which nobody can submit it."),
    ] = 0,
    only_payee: Annotated[bool, typer.Option("--only-payee", help="Only the recipient may submit it.")] = False,
    yes: Yes = False,
    chain_id: ChainId = None,
    password_file: PasswordFile = None,
) -> None:
    """Sign a transfer that anybody may submit and pay for. Asks no node; prints JSON for `relay`."""
    keys = Accounts(home)
    account = account_of(keys, sender)
    authorization = Authorization(
        account.address,
        payee_of(keys, to),
        amount_of(amount, atoms=atoms),
        valid_after,
        int(time.time()) + valid_for_s,
        Hash32(secrets.token_bytes(32)),
        AuthorizationKind.RECEIVE if only_payee else AuthorizationKind.TRANSFER,
    )
    if not authorization.valid_after < authorization.valid_before:
        raise CommandError("it would end before it begins: give a longer --valid-for-s", ExitCode.USAGE)
    _sign(home, account, chain_id, authorization, password_file, yes=yes)


def revoke(
    home: Home, source: SourceFile, sender: From = None, yes: Yes = False, password_file: PasswordFile = None
) -> None:
    """Sign that an authorization of yours which nobody has used yet is void. Prints JSON for `relay`."""
    keys = Accounts(home)
    revoked = SignedAuthorization.from_json(read_text(source, MAX_DOCUMENT_BYTES))
    account = keys.find(sender or to_checksum_address(revoked.statement.sender))
    if account.address != revoked.statement.sender:
        raise CommandError(f"{account.name} has not signed it, and cannot take it back", ExitCode.FAILED)
    cancellation = Cancellation(revoked.statement.sender, revoked.statement.nonce)
    _sign(home, account, revoked.chain_id, cancellation, password_file, yes=yes)


def relay(
    home: Home,
    source: SourceFile,
    sender: From = None,
    wait: WaitFor = Wait.FINAL,
    timeout_s: TimeoutS = 60,
    nonce: Nonce = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Submit a transfer that somebody has authorized: the AIT are the owner's, the transaction and its fee yours."""
    signed = SignedAuthorization.from_json(read_text(source, MAX_DOCUMENT_BYTES))
    keys = Accounts(home)
    account = account_of(keys, sender)
    with open_node(node_url, home, chain_id) as (client, status):
        from wallet.drafts import plan_transaction, try_draft

        if signed.chain_id != status.chain_id:
            raise CommandError(
                f"it is signed for chain {signed.chain_id}, the node serves {status.chain_id}", ExitCode.WRONG_NETWORK
            )
        with keys.hold(account, say):
            draft = plan_transaction(
                client, status, account.address, account.name, to=TOKEN, call_data=signed.call_data, nonce=nonce
            )
            if dry_run:
                report_dry_run(client, draft, as_json, signed.to_object())
                return
            # Used, expired or not covered: better said before it costs a nonce and a fee.
            if refusal := try_draft(client, draft).refusal:
                raise CommandError(f"it would be refused: {refusal}. Nothing was signed", ExitCode.REFUSED)
            transaction = sign_and_submit(client, draft, account, password_file, yes=yes)
        outcome = follow(client, transaction.hash, wait, timeout_s)
    report(outcome, wait, as_json, draft.to_object() | {"authorization": signed.to_object()["authorization"]})


def _sign(
    home: Path,
    account: Account,
    chain_id: int | None,
    statement: Authorization | Cancellation,
    password_file: Path | None,
    *,
    yes: bool,
) -> None:
    Accounts(home).check_may_sign_messages(account)
    networks = KnownNetworks(home)
    meant = networks.meant(chain_id)
    if meant is None:
        raise CommandError("this home knows no network yet: give --chain-id", ExitCode.USAGE)
    known = networks.get(meant)
    network = f"{known.name if known else 'a network that this home does not know'} (chain id {meant})"
    confirm(describe_statement(statement, account.name, network), yes=yes, question="Sign it?")
    signed = SignedAuthorization.sign(account.open(password_file), meant, statement)
    print(json.dumps(signed.to_object(), indent=2))
