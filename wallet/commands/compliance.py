"""`aitbc wallet compliance`: who may trade where: policies, credentials, and writing them as an authority."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chain.primitives.hexadecimal import parse_address, parse_hash, to_checksum_address, to_hex
from chain.primitives.market import CREDENTIAL, GRANT_CREDENTIAL, IS_ELIGIBLE, POLICY_COUNT, REVOKE_CREDENTIAL
from chain.primitives.modules import MARKET
from chain.primitives.types import Address, Hash32
from wallet.accounts import Accounts
from wallet.actions import describe_time
from wallet.assets import find_market, units_of
from wallet.commands.arguments import address_of, parse_argument, payee_of
from wallet.commands.balances import NameOrAddress
from wallet.commands.calling import Calling, calls_chain
from wallet.node_session import open_node
from wallet.options import AsJson, ChainId, Home, NodeUrl, complete_names
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, columns, emit

if TYPE_CHECKING:  # What asks nodes loads slowly; `--help` does not wait for it.
    from chain.client import NodeClient
    from chain.market_answers import PolicyView

_DAY_S: Final = 24 * 3600
_MOST_POLICIES: Final = 2_000
_NO_EVIDENCE: Final = Hash32(bytes(32))

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)

Subject = Annotated[
    str, typer.Argument(help="Address, or the name of an account of this home.", autocompletion=complete_names)
]


@app.callback()
def compliance() -> None:
    """Credentials, and the policies of markets that ask for one. Most markets ask for nothing."""


@app.command()
def policies(home: Home, node_url: NodeUrl = None, chain_id: ChainId = None, as_json: AsJson = False) -> None:
    """Every policy that governance has defined."""
    with open_node(node_url, home, chain_id) as (client, _):
        views = _policies(client)
    documents = [
        {
            "policy": view.policy,
            "authorities": view.authorities,
            "countries_allowed": view.countries_allowed,
            "countries": view.countries,
            "minimum_level": view.minimum_level,
        }
        for view in views
    ]
    rows = [["policy", "countries", "level", "credentials of"]]
    rows += [[str(v.policy), _countries(v), f"{v.minimum_level} or more", ", ".join(v.authorities)] for v in views]
    emit(as_json, {"policies": documents}, columns(rows) if views else ["there is no policy"])


def _policies(client: "NodeClient") -> "list[PolicyView]":
    count = min(_ask(client, POLICY_COUNT)[0], _MOST_POLICIES)
    return [client.policy(number) for number in range(1, count + 1)]


def _countries(view: "PolicyView") -> str:
    named = ", ".join(f"{country:03d}" for country in view.countries)
    if view.countries_allowed:
        return f"only {named}"
    return f"all but {named}" if named else "all"


def _ask(client: "NodeClient", function: Any, *arguments: Any) -> tuple[Any, ...]:
    answer = client.view(MARKET, function, *arguments)
    if answer.values is None:
        raise CommandError(f"the node refused: {answer.refusal}", ExitCode.REFUSED)
    return answer.values


@app.command()
def show(
    home: Home,
    account: NameOrAddress = None,
    authority: Annotated[
        list[str] | None, typer.Option("--authority", help="Ask for this one's credential, beside those of policies.")
    ] = None,
    market: Annotated[str | None, typer.Option("--market", help="Whether the account may trade there.")] = None,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """An account's credentials: all that is known of it is a country, a level and until when."""
    keys = Accounts(home)
    address = address_of(keys, account)
    asked = [address_of(keys, each) for each in authority or ()]
    with open_node(node_url, home, chain_id) as (client, _):
        named = (parse_address(each) for view in _policies(client) for each in view.authorities)
        found = [_credential(client, each, address) for each in dict.fromkeys((*asked, *named))]
        where = None if market is None else find_market(client, market)
        eligible = None if where is None else bool(_ask(client, IS_ELIGIBLE, where.market, address)[0])
    credentials = [each for each in found if each is not None]
    document: dict[str, Any] = {"address": to_checksum_address(address), "credentials": credentials}
    lines = columns([_row(each) for each in credentials]) if credentials else ["no credential of a known authority"]
    if where is not None:
        document |= {"market": where.market, "eligible": eligible}
        verdict = "may" if eligible else "may not"
        lines.append(f"{verdict} trade in market {where.market}, {units_of(where).name}")
    emit(as_json, document, lines)


def _credential(client: "NodeClient", authority: Address, subject: Address) -> dict[str, Any] | None:
    answer = client.view(MARKET, CREDENTIAL, authority, subject)
    if answer.values is None or not answer.values[2]:
        return None
    country, level, expires_at, evidence = answer.values
    return {
        "authority": to_checksum_address(authority),
        "country": country,
        "level": level,
        "expires_at": expires_at,
        "expired": expires_at <= time.time(),
        "evidence_hash": to_hex(evidence),
    }


def _row(credential: dict[str, Any]) -> list[str]:
    until = describe_time(credential["expires_at"])
    return [
        credential["authority"],
        f"country {credential['country']:03d}",
        f"level {credential['level']}",
        f"expired {until}" if credential["expired"] else f"until {until}",
    ]


@app.command()
@calls_chain
def grant(
    subject: Subject,
    country: Annotated[int, typer.Option("--country", min=1, max=999, help="ISO 3166-1 numeric code, such as 276.")],
    level: Annotated[int, typer.Option("--level", min=0, max=255, help="How well you know it, by your own scale.")] = 1,
    valid_days: Annotated[int, typer.Option("--valid-days", min=1, max=36_500, help="From now on.")] = 365,
    evidence_hash: Annotated[
        str | None, typer.Option("--evidence-hash", help="32 bytes in 0x-hex: a salted hash of what you keep.")
    ] = None,
    *,
    calling: Calling,
) -> None:
    """Write a credential as an authority. Everybody can read it for ever: no personal data, and a salted hash."""
    evidence = parse_argument(lambda: parse_hash(evidence_hash, "--evidence-hash")) if evidence_hash else _NO_EVIDENCE
    expires_at = int(time.time()) + valid_days * _DAY_S
    with calling.session() as session:
        address = payee_of(session.keys, subject)
        session.call(
            MARKET,
            GRANT_CREDENTIAL.encode(address, country, level, expires_at, evidence),
            words=[
                ("credential", f"of {to_checksum_address(address)}: country {country:03d}, level {level}"),
                ("valid until", describe_time(expires_at)),
                ("instead of", "what you said of it before, if anything"),
            ],
            details={
                "subject": to_checksum_address(address),
                "country": country,
                "level": level,
                "expires_at": expires_at,
            },
        )


@app.command()
@calls_chain
def revoke(subject: Subject, *, calling: Calling) -> None:
    """Take your credential of somebody back."""
    with calling.session() as session:
        address = payee_of(session.keys, subject)
        session.call(
            MARKET,
            REVOKE_CREDENTIAL.encode(address),
            words=[("credential", f"of {to_checksum_address(address)}: no longer yours to vouch for")],
            details={"subject": to_checksum_address(address)},
        )
