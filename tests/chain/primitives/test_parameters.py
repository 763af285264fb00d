"""Parameters: bounds on every one, and a state record that older and newer code agree on."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives import message_pack
from chain.primitives.parameters import PARAMETER_BOUNDS, Parameters, check_parameter
from chain.primitives.rejection import RejectionReason

ReasonOf = Callable[..., RejectionReason | None]


def test_defaults_are_within_their_bounds() -> None:
    defaults = Parameters()
    for name in PARAMETER_BOUNDS:
        check_parameter(name, getattr(defaults, name))


@pytest.mark.parametrize("name", PARAMETER_BOUNDS)
def test_bounds_are_inclusive_and_exact(name: str, reason_of: ReasonOf) -> None:
    lowest, highest = PARAMETER_BOUNDS[name]
    for value in (lowest, highest):
        assert getattr(Parameters().changed(name, value), name) == value
    for wrong in (lowest - 1, highest + 1, -1, 2**256, True, 1.0, "1", None):
        assert reason_of(check_parameter, name, wrong) is RejectionReason.OUT_OF_RANGE


@pytest.mark.parametrize("name", ["", "no_such", "Account_quota", "encode", "__class__", "x" * 10_000, "\ud800"])
def test_unknown_names_are_refused(name: str, reason_of: ReasonOf) -> None:
    assert reason_of(Parameters().changed, name, 1) is RejectionReason.UNKNOWN_PARAMETER
    assert reason_of(Parameters.from_mapping, {name: 1}) is RejectionReason.UNKNOWN_PARAMETER


@given(st.fixed_dictionaries({}, optional={name: st.integers(*PARAMETER_BOUNDS[name]) for name in PARAMETER_BOUNDS}))
def test_records_go_there_and_back(values: dict[str, int]) -> None:
    parameters = Parameters.from_mapping(values)

    assert Parameters.decode(parameters.encode()) == parameters
    assert all(getattr(parameters, name) == value for name, value in values.items())


def test_a_record_of_older_code_has_defaults_for_what_it_did_not_know() -> None:
    older = message_pack.encode(message_pack.decode(Parameters(account_quota=9).encode(), list[bytes])[:-1])

    assert Parameters.decode(older) == Parameters(account_quota=9)
