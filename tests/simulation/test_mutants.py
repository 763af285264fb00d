"""Every broken engine is caught; the whole one passes under the same conditions."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.mutation import Change, engine_class
from tests.simulation.simulation import simulate
from tests.simulation.violation import Violation

CONTROL_SEEDS = 2


def verdict_on(mutant: Mutant, seed: int) -> str:
    """The oracle that has seen it in this seed, "engine" where the mutant fell over its own feet, else nothing."""
    try:
        simulate(mutant.scenario(seed), engine_class=mutant.engine(), node_class=mutant.node_class)
    except Violation as violation:
        return violation.oracle
    except Exception:  # noqa: BLE001 - an assertion or whatever else a broken engine raises
        return "engine"
    return ""


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_mutant_is_caught(mutant: Mutant) -> None:
    verdicts = []
    for seed in mutant.seeds:
        verdicts.append(verdict_on(mutant, seed))
        if verdicts[-1] in mutant.oracles:
            return
    pytest.fail(f"{mutant.name} was to be seen by {mutant.oracles}, and the seeds ended with {verdicts}")


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_whole_engine_passes_where_the_mutant_is_caught(mutant: Mutant) -> None:
    for seed in mutant.seeds[:CONTROL_SEEDS]:
        simulate(mutant.scenario(seed))


def test_names_are_unique_and_the_mutants_of_the_specification_are_there() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(dict.fromkeys(names)) == len(names)
    assert {
        "finalize_after_nullify",
        "skip_without_nullification",
        "send_before_sync",
        "no_retry",
        "votes_twice_after_restart",
        "small_quorum",
        "unknown_proposer",
        "repeated_signer",
    } <= {*names}


@pytest.mark.parametrize("passage", ["this passage is gone", "self"])
def test_mutant_whose_passage_is_gone_or_ambiguous_fails_loudly(passage: str) -> None:
    with pytest.raises(ValueError, match="times"):
        engine_class("of_nothing", [Change("voter", passage, "")])
