"""The commands that sign a transaction and see it through: send, mint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.modules import MINT_SPLIT, MINT_WITH_RECEIPT, MINTER
from wallet.accounts import Accounts
from wallet.assets import NATIVE
from wallet.commands.arguments import account_of, amount_of, payee_of
from wallet.commands.assets import send_asset
from wallet.commands.calling import Calling
from wallet.commands.outcomes import follow, report, report_dry_run, sign_and_submit
from wallet.documents import read_document
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
from wallet.terminal import CommandError, ExitCode, say
from wallet.verification import parse_attestation, recover_attesters

if TYPE_CHECKING:
    from chain.primitives.receipt import Receipt


def send(
    home: Home,
    to: Payee,
    amount: Annotated[str, typer.Argument(help="AIT, such as 1.5.")],
    asset: Annotated[
        str, typer.Option("--asset", help="What AMOUNT counts: AIT, or an asset's symbol or address.")
    ] = NATIVE,
    sender: From = None,
    atoms: Atoms = False,
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
    """Send AIT, or an asset, to an address."""
    if asset != NATIVE:
        calling = Calling(
            home=home,
            sender=sender,
            wait=wait,
            timeout_s=timeout_s,
            nonce=nonce,
            dry_run=dry_run,
            yes=yes,
            node_url=node_url,
            chain_id=chain_id,
            password_file=password_file,
            as_json=as_json,
        )
        with calling.session() as session:
            send_asset(session, asset, payee_of(session.keys, to), amount, is_atoms=atoms)
        return
    keys = Accounts(home)
    payee = payee_of(keys, to)
    value = amount_of(amount, atoms=atoms)
    account = account_of(keys, sender)
    details = {"asset": NATIVE, "amount_atoms": str(value)}
    with open_node(node_url, home, chain_id) as (client, status):
        from wallet.drafts import plan_transaction

        with keys.hold(account, say):
            draft = plan_transaction(client, status, account.address, account.name, to=payee, value=value, nonce=nonce)
            if dry_run:
                report_dry_run(client, draft, as_json, details)
                return
            transaction = sign_and_submit(client, draft, account, password_file, yes=yes)
        outcome = follow(client, transaction.hash, wait, timeout_s)
    report(outcome, wait, as_json, draft.to_object() | details)


def _mint_call(receipt: "Receipt", signatures: bytes) -> bytes:
    providers, amounts = [provider for provider, _ in receipt.payouts()], [atoms for _, atoms in receipt.payouts()]
    if len(providers) == 1:
        return MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, signatures)
    return MINT_SPLIT.encode(providers, amounts, receipt.hash, signatures)


def mint(
    home: Home,
    receipt_file: Annotated[Path, typer.Argument(help="A receipt's JSON, or a hub's answer that has it; - for stdin.")],
    attestation: Annotated[
        str | None, typer.Option("--attestation", help="0x-hex signature(s); not needed where the file has them.")
    ] = None,
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
    """Mint for an attested receipt. Anyone may send it, the AIT go to the receipt's providers; twice is once."""
    document = read_document(receipt_file)
    signatures = parse_attestation(attestation) if attestation else document.attestation
    if signatures is None:
        raise CommandError("there is no attestation in the file: give --attestation", ExitCode.USAGE)
    receipt = document.receipt
    if document.is_settlement:
        raise CommandError("this attestation is for a settlement: the client's deposit pays", ExitCode.USAGE)
    recover_attesters(receipt, signatures)
    keys = Accounts(home)
    account = account_of(keys, sender)
    details = {
        "receipt_hash": to_hex(receipt.hash),
        "provider": to_checksum_address(receipt.provider),
        "amount_atoms": str(receipt.amount),
    }
    with open_node(node_url, home, chain_id) as (client, status):
        from wallet.drafts import plan_transaction
        from wallet.sending import find_mint

        if receipt.chain_id != status.chain_id:
            raise CommandError(
                f"the receipt is of chain {receipt.chain_id}, the node serves {status.chain_id}", ExitCode.WRONG_NETWORK
            )
        call_data = _mint_call(receipt, signatures)
        with keys.hold(account, say):
            draft = plan_transaction(
                client, status, account.address, account.name, to=MINTER, call_data=call_data, nonce=nonce
            )
            if dry_run:
                report_dry_run(client, draft, as_json, details)
                return
            outcome = find_mint(client, receipt.hash)
            transaction = None if outcome else sign_and_submit(client, draft, account, password_file, yes=yes)
        if transaction is not None:
            outcome = follow(client, transaction.hash, wait, timeout_s, receipt.hash)
        else:
            say("The receipt was minted before; nothing was sent.")
        assert outcome is not None
    report(outcome, wait, as_json, draft.to_object() | details)
