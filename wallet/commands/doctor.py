"""`aitbc wallet doctor`: whether this wallet is in order, and what to do where it is not."""

import platform
from importlib.metadata import version

from wallet.accounts import Accounts
from wallet.checkup import check_accounts, check_home, check_networks, check_node
from wallet.options import AsJson, ChainId, Home, NodeUrl
from wallet.terminal import CommandError, ExitCode, columns, emit
from wallet.verification import Check, rows_of


def doctor(home: Home, node_url: NodeUrl = None, chain_id: ChainId = None, as_json: AsJson = False) -> None:
    """Check this home, its keys' files, the clock and the node. Opens no key and changes nothing."""
    checks = [
        Check("version", True, f"AITBC {version('aitbc')}, Python {platform.python_version()}"),
        *check_home(home),
        *check_accounts(Accounts(home)),
        *check_networks(home),
        *check_node(home, node_url, chain_id),
    ]
    failed = [check.name for check in checks if check.passed is False]
    document = {"healthy": not failed, "checks": [check.to_object() for check in checks]}
    emit(as_json, document, columns(rows_of(checks)))
    if failed:
        raise CommandError(f"something is wrong: {', '.join(failed)}", ExitCode.NOT_VERIFIED)
