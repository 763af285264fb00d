"""What the tiny model reads: captions of a random grammar, none of which is one of the prompts that judge it."""

import random
from collections import Counter

import pytest

from provider.tiny_model.captions import BLACK, WHITE, empty_caption, random_caption
from provider.tiny_model.parts import MAX_TOKENS, make_tokenizer
from provider.tiny_model.prompts import bare_words, evaluation_prompts
from provider.tiny_model.scenes import COLOUR_NAMES, POSITION_NAMES, SHAPES, SIZE_NAMES, Scene
from provider.tiny_model.vocabulary import WORDS, words_of


@pytest.fixture(scope="module")
def captions() -> list[tuple[str, Scene]]:
    source = random.Random("test")
    return [random_caption(source) for _ in range(20_000)]


def test_fifty_prompts_were_written_by_hand() -> None:
    prompts = evaluation_prompts()
    assert len({bare_words(prompt.text) for prompt in prompts}) == 50
    assert sum(prompt.names_position for prompt in prompts) == 16
    assert sum(prompt.names_size for prompt in prompts) == 15
    assert {prompt.scene.shape for prompt in prompts} == set(range(len(SHAPES)))
    assert {prompt.scene.colour for prompt in prompts} == set(range(len(COLOUR_NAMES)))
    assert {prompt.scene.background for prompt in prompts} == set(range(len(COLOUR_NAMES)))


def test_no_caption_is_one_of_those_prompts(captions: list[tuple[str, Scene]]) -> None:
    held_out = {bare_words(prompt.text) for prompt in evaluation_prompts()}
    assert not held_out & {bare_words(caption) for caption, _ in captions}


def test_captions_hardly_repeat(captions: list[tuple[str, Scene]]) -> None:
    assert len({caption for caption, _ in captions}) > 0.97 * len(captions)


def test_every_value_of_every_label_is_asked_for(captions: list[tuple[str, Scene]]) -> None:
    for name, count in (("shape", 6), ("colour", 8), ("background", 8), ("position", 9), ("size", 3)):
        seen = Counter(getattr(scene, name) for _, scene in captions)
        assert len(seen) == count
        assert min(seen.values()) > 500, name


def test_what_is_not_said_has_its_default(captions: list[tuple[str, Scene]]) -> None:
    for caption, scene in captions:
        words = set(words_of(caption))
        if not words & {"left", "right", "top", "bottom", "upper", "lower", "high", "down", "up"}:
            assert POSITION_NAMES[scene.position] == "centre", caption
    short = {caption: scene for caption, scene in captions if len(caption.split()) <= 2}
    for caption, scene in short.items():
        if bare_words(caption) in {f"red {shape}" for shape in SHAPES}:
            assert (scene.background, SIZE_NAMES[scene.size]) == (WHITE, "medium"), caption
    assert all(scene.colour != scene.background for _, scene in captions)
    assert {scene.background for caption, scene in captions if "dark background" in caption} >= {BLACK}


def test_the_same_seed_says_the_same() -> None:
    assert [random_caption(random.Random(3)) for _ in range(5)] == [random_caption(random.Random(3)) for _ in range(5)]


def test_a_caption_that_asks_for_nothing_names_no_shape() -> None:
    source = random.Random(1)
    said = [empty_caption(source) for _ in range(500)]
    assert "" in said
    assert not {word for caption in said for word in words_of(caption)} & {*SHAPES, "ball", "box", "rhombus"}


def test_every_word_is_one_token_and_any_text_can_be_read() -> None:
    tokenizer = make_tokenizer()
    assert all(len(tokenizer(word).input_ids) == 3 for word in WORDS)
    assert len(tokenizer("Zwölf große Bälle 你好").input_ids) > 12
    longest = max(evaluation_prompts(), key=lambda prompt: len(tokenizer(prompt.text).input_ids))
    assert len(tokenizer(longest.text).input_ids) <= MAX_TOKENS / 2
