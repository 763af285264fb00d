"""The text that stands for a job's prompts where they are hashed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.prompts import prompt_text
from chain.primitives.rejection import Rejected


def test_one_prompt_is_itself() -> None:
    assert prompt_text(["a red circle"]) == "a red circle"


def test_several_are_a_json_array_in_canonical_form() -> None:
    assert prompt_text(["a", "b \n ä \U0001f600", '"']) == '["a","b \\n ä \U0001f600","\\""]'


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=5))
def test_no_two_lists_have_the_same_text(prompts: list[str]) -> None:
    assert json.loads(prompt_text(prompts)) == prompts


def test_what_utf_8_cannot_hold_is_rejected() -> None:
    with pytest.raises(Rejected):
        prompt_text(["a", "\ud800"])
