"""The key that signs an order, and for whom: what the user says and the wallet knows, not what the hub does."""

from pathlib import Path
from typing import TYPE_CHECKING

from hub.commands.outcome import failed

if TYPE_CHECKING:
    from chain.primitives.keys import Signer
    from hub.client import HubSigning


def signing_of(
    account: str | None,
    keystore: Path | None,
    *,
    password_file: Path | None,
    hub_id: str | None,
    chain_id: int | None,
    home: Path | None,
) -> "HubSigning | None":
    """With an account of the wallet, or a keystore; None where neither is said. Asks for a password or a Ledger."""
    from chain.primitives.keys import SignerUnavailable
    from chain.primitives.rejection import Rejected
    from hub.client import HubSigning
    from wallet.accounts import default_home
    from wallet.keystore import KeystoreError
    from wallet.known_networks import KnownNetworks

    if account is None and keystore is None:
        return None
    if account is not None and keystore is not None:
        raise failed("one key signs: --from or --keystore, not both")
    if hub_id is None:
        raise failed("a signature is for one hub: say --hub-id, which its operator knows")
    folder = home or default_home()
    try:
        meant = KnownNetworks(folder).meant(chain_id)
        if meant is None:
            raise failed("which network? say --chain-id, or let the wallet know it: aitbc wallet network add")
        return HubSigning(_signer(account, keystore, folder, password_file), hub_id, meant)
    except (KeystoreError, SignerUnavailable) as error:
        raise failed(str(error)) from None
    except Rejected as error:
        raise failed(error.message) from None


def _signer(account: str | None, keystore: Path | None, home: Path, password_file: Path | None) -> "Signer":
    from wallet.accounts import Accounts
    from wallet.keystore import load_key
    from wallet.passwords import read_password

    if keystore is not None:
        return load_key(keystore, read_password(password_file, purpose=str(keystore)))
    accounts = Accounts(home)
    found = accounts.find(account or "")
    accounts.check_may_sign_messages(found)
    return found.open(password_file)
