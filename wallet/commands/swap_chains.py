"""Both chains of a swap, and how what goes wrong with either ends a command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wallet.node_session import open_node
from wallet.swaps.json_rpc import JsonRpc, RpcRefused, RpcUnavailable
from wallet.swaps.other_chain import NotMinedYet, OtherChain
from wallet.swaps.steps import StepRefused
from wallet.terminal import CommandError, ExitCode

if TYPE_CHECKING:  # httpx takes a tenth of a second to load; only what asks a node waits for it.
    from chain.answers import StatusView
    from chain.client import NodeClient


class Chains(msgspec.Struct, frozen=True):
    """Connections to both."""

    client: "NodeClient"
    status: "StatusView"
    ours: JsonRpc
    other: OtherChain


@contextmanager
def open_chains(node_url: str | None, home: Path, chain_id: int | None, other_rpc: str | None) -> Iterator[Chains]:
    """Both chains; what goes wrong with them ends the command with a line and its exit code."""
    if other_rpc is None:
        raise CommandError("which other chain? give --other-rpc URL", ExitCode.USAGE)
    try:
        other = JsonRpc(other_rpc, "the other chain's node")
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None
    with (
        open_node(node_url, home, chain_id) as (client, status),
        JsonRpc(client.url.rstrip("/") + "/rpc", "the node") as ours,
        other,
    ):
        try:
            yield Chains(client, status, ours, OtherChain(other))
        except RpcUnavailable as error:
            raise CommandError(str(error), ExitCode.NODE_UNAVAILABLE) from None
        except NotMinedYet as error:
            raise CommandError(str(error), ExitCode.NOT_FINAL) from None
        except (RpcRefused, StepRefused) as error:
            raise CommandError(str(error), ExitCode.REFUSED) from None
