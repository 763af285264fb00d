"""`aitbc wallet network`: which networks this home knows, which of them is meant by default, and whom to ask."""

import re
from typing import Annotated, Any, Final

import msgspec
import typer

from chain.primitives.hexadecimal import to_hex
from chain.primitives.network import MAX_NETWORK_FILE_BYTES, parse_network
from wallet.accounts import default_home
from wallet.commands.arguments import read_text
from wallet.keystore import KeystoreError
from wallet.known_networks import KnownNetwork, KnownNetworks, NetworkMismatchError, UnknownNetworkError
from wallet.node_session import ask_node, network_of
from wallet.options import AsJson, Home, Yes
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, columns, confirm, emit, say

# What every shell takes as one word. Names come from nodes, and zsh runs what it finds in a completion.
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)


def complete_networks(context: typer.Context, incomplete: str) -> list[str]:
    """For the shell's completion: the networks of this home, by number where the name is more than a word."""
    home = context.params.get("home") or default_home()
    try:
        networks = KnownNetworks(home).each()
    except KeystoreError:  # The command itself will say it.
        return []
    words = (each.name if _WORD.fullmatch(each.name) else str(each.chain_id) for each in networks)
    return [word for word in words if word.startswith(incomplete)]


NetworkName = Annotated[
    str, typer.Argument(metavar="NETWORK", help="Its name or chain id.", autocompletion=complete_networks)
]
OptionalNetworkName = Annotated[
    str | None,
    typer.Argument(
        metavar="NETWORK", help="Its name or chain id; the default one if none.", autocompletion=complete_networks
    ),
]


@app.callback()
def network() -> None:
    """Know networks by their genesis, choose one, and remember whom to ask."""


@app.command("list")
def list_(home: Home, as_json: AsJson = False) -> None:
    """Every network of this home; `*` marks the one that is meant by default."""
    networks = KnownNetworks(home)
    entries = [_describe(networks, each) for each in networks.each()]
    rows = [
        ["*" if entry["default"] else " ", entry["name"], str(entry["chain_id"]), entry["node_url"] or "(no node)"]
        for entry in entries
    ]
    if not rows:
        say("No network yet: the first node that you ask decides, or: aitbc wallet network add URL")
    emit(as_json, {"networks": entries}, columns(rows) if rows else [])


@app.command()
def add(
    home: Home,
    source: Annotated[str, typer.Argument(metavar="URL|FILE", help="A node's URL, or the network's TOML file.")],
    name: Annotated[str | None, typer.Option("--name", help="What to call it, instead of its own name.")] = None,
    own_node_url: Annotated[
        str | None, typer.Option("--node-url", help="With FILE: the node to ask from now on.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remember a network and a node of it, or another node of a known one. The first one becomes the default.

    From a URL, the node's word says what the genesis is; a network file says it for certain.
    """
    if "://" in source:
        if own_node_url is not None:
            raise CommandError("--node-url is for a network's file; a URL is a node's already", ExitCode.USAGE)
        met = _ask(source)
    else:
        stated = parse_network(read_text(source, MAX_NETWORK_FILE_BYTES))
        met = KnownNetwork(chain_id=stated.chain_id, genesis_hash=to_hex(stated.genesis_hash), name=stated.name)
        if own_node_url is not None:
            met = msgspec.structs.replace(met, node_url=_check_node(met, own_node_url))
    networks = KnownNetworks(home)
    _emit(networks, networks.add(met, name=name), as_json)


@app.command()
def use(home: Home, network: NetworkName, as_json: AsJson = False) -> None:
    """Make a network the default: what is meant where --chain-id does not say otherwise."""
    networks = KnownNetworks(home)
    found = networks.find(network)
    networks.use(found)
    _emit(networks, found, as_json)


@app.command()
def show(home: Home, network: OptionalNetworkName = None, as_json: AsJson = False) -> None:
    """One network, with its genesis hash."""
    networks = KnownNetworks(home)
    if network is None:
        default = networks.default_chain_id()
        if default is None:
            raise UnknownNetworkError("this home knows no network yet; see: aitbc wallet network add")
        network = str(default)
    _emit(networks, networks.find(network), as_json)


@app.command()
def remove(home: Home, network: NetworkName, yes: Yes = False, as_json: AsJson = False) -> None:
    """Forget a network: the next node that claims its chain id would be believed about the genesis."""
    networks = KnownNetworks(home)
    found = networks.find(network)
    lines = [("network", f"{found.name} (chain id {found.chain_id})"), ("genesis", found.genesis_hash)]
    confirm(lines, yes=yes, heading="This will be forgotten:", question="Forget it?", otherwise="nothing was changed")
    described = _describe(networks, found)
    networks.remove(found)
    emit(as_json, described, [f"forgotten: {found.name} (chain id {found.chain_id})"])


def _ask(node_url: str) -> KnownNetwork:
    with ask_node(node_url) as (client, status):
        return msgspec.structs.replace(network_of(status), node_url=client.url)


def _check_node(network: KnownNetwork, node_url: str) -> str:
    """The URL of a node that serves this very network; raises NetworkMismatchError for one that serves another."""
    met = _ask(node_url)
    if (met.chain_id, met.genesis_hash) != (network.chain_id, network.genesis_hash):
        raise NetworkMismatchError(
            f"the node at {node_url} serves chain {met.chain_id} with genesis {met.genesis_hash}, which is not the "
            "network of the file"
        )
    assert met.node_url is not None
    return met.node_url


def _describe(networks: KnownNetworks, network: KnownNetwork) -> dict[str, Any]:
    return {
        "name": network.name,
        "chain_id": network.chain_id,
        "genesis_hash": network.genesis_hash,
        "node_url": network.node_url,
        "default": networks.default_chain_id() == network.chain_id,
    }


def _emit(networks: KnownNetworks, network: KnownNetwork, as_json: bool) -> None:
    entry = _describe(networks, network)
    rows = [[key.replace("_", " "), "-" if value is None else str(value)] for key, value in entry.items()]
    emit(as_json, entry, columns(rows))
