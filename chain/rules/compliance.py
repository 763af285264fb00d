"""Compliance: credentials that registered authorities write, policies that governance defines, and who meets one.

Its calls and views are the market module's. A credential says a country, a level and until when; whoever it is about is
an address, and what it rests on a salted hash. It counts while its authority is registered, so that removing one undoes
all that it ever wrote.
"""

from typing import Any, Final

import msgspec

from chain.primitives import message_pack
from chain.primitives.market import (
    ADD_AUTHORITY,
    AUTHORITY_ADDED_EVENT,
    AUTHORITY_REMOVED_EVENT,
    CREDENTIAL,
    CREDENTIAL_GRANTED_EVENT,
    CREDENTIAL_REVOKED_EVENT,
    DEFINE_POLICY,
    GRANT_CREDENTIAL,
    IS_AUTHORITY,
    POLICY,
    POLICY_COUNT,
    POLICY_DEFINED_EVENT,
    REMOVE_AUTHORITY,
    REVOKE_CREDENTIAL,
)
from chain.primitives.market_records import Credential, Policy
from chain.primitives.modules import MARKET, is_reserved
from chain.primitives.records import Domain, decode_addresses, decode_integer, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32
from chain.rules.call import Call, Operation, ViewTable
from chain.rules.state import State

MAX_AUTHORITIES: Final = 64
MAX_POLICY_AUTHORITIES: Final = 16
MAX_POLICY_COUNTRIES: Final = 100  # More on one list are fewer on its opposite; and a proposal must hold it.
MAX_POLICIES: Final = 1_024
_LAST_COUNTRY: Final = 999  # ISO 3166-1 numeric codes have three digits.

_AUTHORITIES_KEY: Final = state_key(Domain.AUTHORITIES)
_POLICY_COUNT_KEY: Final = state_key(Domain.POLICY_COUNT)


# The state


def authorities(state: State) -> tuple[Address, ...]:
    """Who may write credentials, in order of entry."""
    return state.read_record(_AUTHORITIES_KEY, decode_addresses, ())


def find_credential(state: State, authority: Address, subject: Address) -> Credential | None:
    """What an authority says about a subject, expired or not."""
    return state.read_record(_credential_key(authority, subject), Credential.decode, None)


def policy_count(state: State) -> int:
    """How many were ever defined; they are numbered from 1."""
    return state.read_record(_POLICY_COUNT_KEY, decode_integer, 0)


def find_policy(state: State, number: int) -> Policy | None:
    """A policy by number; None for 0, which asks nothing of anybody."""
    if not 0 < number <= policy_count(state):
        return None
    return state.read_record(_policy_key(number), Policy.decode, None)


def check_policy(state: State, number: int) -> None:
    """Raises Rejected for a number, other than 0, that no policy has."""
    if number and find_policy(state, number) is None:
        raise Rejected(RejectionReason.UNKNOWN_POLICY, f"there is no policy {number}", field="policy")


def is_eligible(state: State, policy_number: int, subject: Address, time_s: int) -> bool:
    """Whether somebody meets a defined policy at this time (Unix seconds); policy 0 asks nothing of anybody."""
    if not policy_number:
        return True
    policy = find_policy(state, policy_number)
    assert policy is not None
    registered = authorities(state)
    return any(
        credential is not None and time_s < credential.expires_at and _accepts(policy, credential)
        for credential in (
            find_credential(state, authority, subject) for authority in policy.authorities if authority in registered
        )
    )


def _accepts(policy: Policy, credential: Credential) -> bool:
    listed = credential.country in policy.countries
    return credential.level >= policy.minimum_level and listed == policy.countries_allowed


def _credential_key(authority: Address, subject: Address) -> bytes:
    return state_key(Domain.CREDENTIAL, authority + subject)


def _policy_key(number: int) -> bytes:
    return state_key(Domain.POLICY, number.to_bytes(4, "big"))


# What authorities do


class Grant(msgspec.Struct, frozen=True):
    """A checked credential."""

    subject: Address
    credential: Credential


def _require_authority(call: Call) -> None:
    if call.sender not in authorities(call.state):
        raise Rejected(RejectionReason.NOT_AN_AUTHORITY, "only registered authorities write and revoke credentials")


def validate_grant_credential(
    call: Call, subject: Address, country: int, level: int, expires_at: int, evidence_hash: Hash32
) -> Grant:
    """grantCredential(subject, country, level, expiresAt, evidenceHash): the authority's only one on this subject."""
    _require_authority(call)
    if subject == ZERO_ADDRESS or is_reserved(subject):
        raise _invalid_credential("the subject must be an ordinary address", "subject")
    if not 0 < country <= _LAST_COUNTRY:
        raise _invalid_credential(f"a country is an ISO 3166-1 numeric code, 1 to {_LAST_COUNTRY}", "country")
    if expires_at <= call.block.time_ms // 1000:
        raise _invalid_credential("it would have expired already", "expiresAt")
    return Grant(subject, Credential(country, level, expires_at, Hash32(evidence_hash)))


def _invalid_credential(message: str, field: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_CREDENTIAL, message, field=field)


def apply_grant_credential(call: Call, grant: Grant) -> None:
    """Replaces what the authority said of the subject before."""
    credential = grant.credential
    call.state.write_record(_credential_key(call.sender, grant.subject), credential, Credential.encode)
    call.emit(MARKET, CREDENTIAL_GRANTED_EVENT, call.sender, grant.subject, *msgspec.structs.astuple(credential))


def validate_revoke_credential(call: Call, subject: Address) -> Address:
    """revokeCredential(subject)."""
    _require_authority(call)
    if find_credential(call.state, call.sender, subject) is None:
        raise Rejected(
            RejectionReason.UNKNOWN_CREDENTIAL,
            f"this authority has no credential of 0x{subject.hex()}",
            field="subject",
        )
    return subject


def apply_revoke_credential(call: Call, subject: Address) -> None:
    """It counts no longer."""
    call.state.write_record(_credential_key(call.sender, subject), None, None)
    call.emit(MARKET, CREDENTIAL_REVOKED_EVENT, call.sender, subject)


# What governance does


def validate_add_authority(call: Call, authority: Address) -> Address:
    """addAuthority(authority)."""
    entered = authorities(call.state)
    if authority == ZERO_ADDRESS or is_reserved(authority) or authority in entered or len(entered) >= MAX_AUTHORITIES:
        raise Rejected(
            RejectionReason.INVALID_CHANGE,
            f"an authority is an ordinary address, entered once; at most {MAX_AUTHORITIES}",
        )
    return authority


def apply_add_authority(call: Call, authority: Address) -> None:
    """Its credentials count from now on, also those that it wrote before it was removed."""
    _set_authorities(call.state, (*authorities(call.state), authority))
    call.emit(MARKET, AUTHORITY_ADDED_EVENT, authority)


def validate_remove_authority(call: Call, authority: Address) -> Address:
    """removeAuthority(authority)."""
    if authority not in authorities(call.state):
        raise Rejected(RejectionReason.INVALID_CHANGE, "this address is no authority")
    return authority


def apply_remove_authority(call: Call, authority: Address) -> None:
    """Nothing that it wrote counts any longer; policies go on naming it."""
    _set_authorities(call.state, tuple(entry for entry in authorities(call.state) if entry != authority))
    call.emit(MARKET, AUTHORITY_REMOVED_EVENT, authority)


def _set_authorities(state: State, addresses: tuple[Address, ...]) -> None:
    state.write_record(_AUTHORITIES_KEY, addresses, message_pack.encode if addresses else None)


def validate_define_policy(
    call: Call, accepted: list[Address], countries_allowed: bool, countries: list[int], minimum_level: int
) -> Policy:
    """definePolicy(authorities, countriesAllowed, countries, minimumLevel)."""
    state = call.state
    if policy_count(state) >= MAX_POLICIES:
        raise _invalid_policy(f"there are at most {MAX_POLICIES} policies", "policy")
    if not 0 < len(accepted) <= MAX_POLICY_AUTHORITIES or len(set(accepted)) < len(accepted):
        raise _invalid_policy(f"a policy names 1 to {MAX_POLICY_AUTHORITIES} authorities, none twice", "authorities")
    if not set(accepted) <= set(authorities(state)):
        raise _invalid_policy("a policy names registered authorities only", "authorities")
    if len(countries) > MAX_POLICY_COUNTRIES or len(set(countries)) < len(countries):
        raise _invalid_policy(f"a policy names at most {MAX_POLICY_COUNTRIES} countries, none twice", "countries")
    if not all(0 < country <= _LAST_COUNTRY for country in countries):
        raise _invalid_policy(f"a country is an ISO 3166-1 numeric code, 1 to {_LAST_COUNTRY}", "countries")
    if countries_allowed and not countries:
        raise _invalid_policy("where no country is allowed, nobody could trade", "countries")
    return Policy(tuple(accepted), countries_allowed, tuple(countries), minimum_level)


def _invalid_policy(message: str, field: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_POLICY, message, field=field)


def apply_define_policy(call: Call, policy: Policy) -> None:
    """Enters it under the next number; a policy never changes, but markets can change theirs."""
    number = policy_count(call.state) + 1
    call.state.write_record(_POLICY_COUNT_KEY, number, message_pack.encode)
    call.state.write_record(_policy_key(number), policy, Policy.encode)
    call.emit(MARKET, POLICY_DEFINED_EVENT, number)


OPERATIONS = (
    Operation(
        module=MARKET,
        function=GRANT_CREDENTIAL,
        validate=validate_grant_credential,
        apply=apply_grant_credential,
    ),
    Operation(
        module=MARKET,
        function=REVOKE_CREDENTIAL,
        validate=validate_revoke_credential,
        apply=apply_revoke_credential,
    ),
    *(
        Operation(module=MARKET, function=function, validate=validate, apply=apply, is_governed=True)
        for function, validate, apply in (
            (ADD_AUTHORITY, validate_add_authority, apply_add_authority),
            (REMOVE_AUTHORITY, validate_remove_authority, apply_remove_authority),
            (DEFINE_POLICY, validate_define_policy, apply_define_policy),
        )
    ),
)


def _credential(call: Call, authority: Address, subject: Address) -> tuple[int, int, int, bytes]:
    """As it stands, also an expired one or a removed authority's; all zeros where there is none."""
    found = find_credential(call.state, authority, subject)
    return (0, 0, 0, bytes(32)) if found is None else msgspec.structs.astuple(found)


def _policy(call: Call, number: int) -> tuple[Any, ...]:
    check_policy(call.state, number)
    found = find_policy(call.state, number)
    return ((), False, (), 0) if found is None else msgspec.structs.astuple(found)


VIEWS: Final[ViewTable] = {
    (MARKET, CREDENTIAL): _credential,
    (MARKET, POLICY): _policy,
    (MARKET, POLICY_COUNT): lambda call: (policy_count(call.state),),
    (MARKET, IS_AUTHORITY): lambda call, account: (account in authorities(call.state),),
}
