"""Random captions in free wording: a grammar of requests, descriptions and fragments, with words that mean nothing.

What a caption leaves out has a default: the middle, medium size, a circle, white behind (black behind white), black in
front (white on black). None of the prompts that the model is judged by is ever a caption.
"""

import random
import string
from dataclasses import dataclass

from provider.tiny_model.prompts import bare_words, held_out
from provider.tiny_model.scenes import COLOUR_NAMES, POSITION_NAMES, SHAPES, SIZE_NAMES, Scene
from provider.tiny_model.vocabulary import (
    COLOUR_WORDS,
    EMPHASES,
    GREETINGS,
    OPENINGS,
    PICTURES,
    POSITION_PHRASES,
    REMARKS,
    REQUESTS,
    SHADES,
    SHAPE_WORDS,
    SIZE_WORDS,
    STYLES,
    SURFACES,
    UNWANTED,
)

WHITE, BLACK = COLOUR_NAMES.index("white"), COLOUR_NAMES.index("black")
_CENTRE, _MEDIUM, _CIRCLE = POSITION_NAMES.index("centre"), SIZE_NAMES.index("medium"), SHAPES.index("circle")


@dataclass(frozen=True)
class Mentions:
    """Which parts of its scene a caption speaks of."""

    colour: bool
    background: bool
    shape: bool
    position: bool
    size: bool


def random_caption(source: random.Random) -> tuple[str, Scene]:
    """A caption and the scene that it asks for; never one of the prompts that the model is judged by."""
    while True:
        caption, scene = Speaker(source).caption()
        if bare_words(caption) not in held_out():
            return caption, scene


def empty_caption(source: random.Random) -> str:
    """A caption that asks for nothing: empty, or remarks and what negative prompts hold."""
    if source.random() < 0.5:
        return ""
    words = [
        source.choice(source.choice((REMARKS, UNWANTED, UNWANTED, GREETINGS))) for _ in range(source.randint(1, 6))
    ]
    return source.choice((", ", " ")).join(words)


class Speaker:
    """Says scenes in random words."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def caption(self) -> tuple[str, Scene]:
        """A caption and its scene."""
        mentions = self._mentions()
        scene = self._scene(mentions)
        text = self._sentence(scene, mentions)
        for _ in range(self._source.choice((0, 0, 0, 0, 1, 1, 2))):
            text = self._with_noise(text)
        return self._spelled(text), scene

    def _chance(self, share: float) -> bool:
        return self._source.random() < share

    def _mentions(self) -> Mentions:
        colour = self._chance(0.95)
        return Mentions(
            colour, self._chance(0.88), self._chance(0.97) or not colour, self._chance(0.5), self._chance(0.45)
        )

    def _scene(self, mentions: Mentions) -> Scene:
        """A random scene in which whatever is not mentioned has its default."""
        draw = self._source.randrange
        background = draw(len(COLOUR_NAMES)) if mentions.background else None
        colour = draw(len(COLOUR_NAMES)) if mentions.colour else BLACK if background != BLACK else WHITE
        if background is None:
            background = WHITE if colour != WHITE else BLACK
        elif background == colour:
            return self._scene(mentions)
        return Scene(
            colour,
            background,
            draw(len(SHAPES)) if mentions.shape else _CIRCLE,
            draw(len(POSITION_NAMES)) if mentions.position else _CENTRE,
            draw(len(SIZE_NAMES)) if mentions.size else _MEDIUM,
        )

    # Sentences ------------------------------------------------------------------------------------------------------

    def _sentence(self, scene: Scene, mentions: Mentions) -> str:
        choose = self._source.choice
        thing = self._thing(scene, mentions)
        place = choose(POSITION_PHRASES[POSITION_NAMES[scene.position]]) if mentions.position else ""
        if place and self._chance(0.3):
            place += f" of the {choose((*PICTURES, *SURFACES))}"
        ground = self._ground(scene) if mentions.background else ""
        shape_first = self._chance(0.75)
        if ground and shape_first and self._chance(0.45):
            text = self._joined_closely(thing, place, scene)
        elif shape_first:
            text = self._listed([self._placed(thing, place), ground])
        else:
            text = self._ground_first(thing, place, scene) if ground else self._listed([place, thing])
        return self._framed(text)

    def _joined_closely(self, thing: str, place: str, scene: Scene) -> str:
        """ "a red ball on the left of a blue page": the background hangs on the shape by a preposition."""
        choose = self._source.choice
        colour = self._background_colour(scene)
        surface = choose(SURFACES)
        article = choose(("a", "a", "a", "the", ""))
        if place and self._chance(0.4) and not place.startswith("center"):
            link = choose(("", "", "placed", "located", "that sits", "that is", "sitting"))
            lead = f"{thing} {link} {place.split(' of ', maxsplit=1)[0]}"
            return f"{lead} {choose(('of', 'of', 'on', 'in'))} {article} {colour} {surface}"
        preposition = choose(
            ("on", "on", "on", "on", "against", "over", "upon", "in front of", "with", "before", "on top of")
        )
        if preposition == "with":
            tail = f"with {article} {colour} {surface}"
        elif self._chance(0.4):
            tail = f"{preposition} {colour}"
        else:
            tail = f"{preposition} {article} {colour} {surface}"
        if place and self._chance(0.4):
            return self._listed([f"{thing} {tail}", place])
        return f"{self._placed(thing, place)}{choose((' ', ' ', ', '))}{tail}"

    def _placed(self, thing: str, place: str) -> str:
        if not place:
            return thing
        link = self._source.choice(
            (" ", " ", " ", ", ", ", ", " placed ", " located ", " that sits ", " which is ", " sitting ")
        )
        return f"{thing}{link}{place}"

    def _ground(self, scene: Scene) -> str:
        """The background as a phrase of its own."""
        colour, surface = self._background_colour(scene), self._source.choice(SURFACES)
        return self._source.choice(
            (
                f"{colour} {surface}",
                f"{colour} {surface}",
                f"a {colour} {surface}",
                f"{surface} {colour}",
                f"{surface}: {colour}",
                f"with a {colour} {surface}",
                f"and a {colour} {surface}",
                f"the {surface} is {colour}",
                f"and the {surface} is {colour}",
                f"the {surface} should be {colour}",
                f"the {surface} must be all {colour}",
                f"everything else {colour}",
                f"and everything else is {colour}",
                f"the rest is {colour}",
                f"surrounded by {colour}",
                f"{colour} all around",
                f"{colour} behind it",
                f"on {colour}",
                f"where the {surface} is {colour}",
                f"the {surface} in {colour}",
            )
        )

    def _ground_first(self, thing: str, place: str, scene: Scene) -> str:
        """ "the page is blue and there is a red ball on it"."""
        choose = self._source.choice
        colour, surface = self._background_colour(scene), choose(SURFACES)
        placed = self._placed(thing, place) if self._chance(0.6) or not place else f"{place} {thing}"
        fill, put = choose(("paint", "make", "fill", "color", "draw")), choose(("put", "draw", "add", "place", "paint"))
        return choose(
            (
                f"{colour} {surface}, {placed}",
                f"{colour} {surface} and {placed}",
                f"{colour} {surface}. {placed}",
                f"{colour} {surface} with {placed}",
                f"{colour} {surface} with {placed} on it",
                f"a {colour} {surface} with {placed}",
                f"a {colour} {surface}, and on it {placed}",
                f"on a {colour} {surface}: {placed}",
                f"on {colour}, {placed}",
                f"on a {colour} {surface} {placed}",
                f"the {surface} is {colour} and there is {placed} on it",
                f"the {surface} is {colour}, the shape is {placed}",
                f"{fill} the {surface} {colour} and {put} {placed}",
                f"{surface}: {colour}, {choose(('shape', 'object', 'foreground', 'subject'))}: {placed}",
                f"{colour} {surface} showing {placed}",
                f"{placed} and {colour} {surface}",
            )
        )

    def _framed(self, text: str) -> str:
        """Puts the request around what is asked for."""
        choose = self._source.choice
        if self._chance(0.3):
            style = f"{choose(STYLES)} " if self._chance(0.4) else ""
            style += f"{choose(STYLES)}{choose((' ', ', '))}" if self._chance(0.2) else ""
            link = choose((" of ", " of ", " of ", " with ", " showing ", ": ", ", ", " containing ", " that shows "))
            text = f"{choose(('a ', 'a ', 'an ', 'the ', ''))}{style}{choose(PICTURES)}{link}{text}"
        asks = self._chance(0.4)
        if asks:
            text = f"{choose(OPENINGS)} {text}"
        if self._chance(0.1):
            text = f"{choose(GREETINGS)}{choose((', ', ' ', '! ', ': '))}{text}"
        for _ in range(choose((0, 0, 0, 0, 1, 1, 2))):
            text = f"{text}{choose((', ', ', ', ' ', '. '))}{choose(REMARKS)}"
        question = asks and any(opening in text for opening in REQUESTS) and self._chance(0.7)
        return text + ("?" if question else choose(("", "", "", ".", "!")))

    def _listed(self, phrases: list[str]) -> str:
        present = [phrase for phrase in phrases if phrase]
        return self._source.choice((", ", ", ", " ", ". ", "; ", " - ")).join(present)

    # Words ----------------------------------------------------------------------------------------------------------

    def _thing(self, scene: Scene, mentions: Mentions) -> str:
        """The shape with its size and colour, in one of their orders."""
        choose = self._source.choice
        size = self._size(scene) if mentions.size else ""
        colour = self._colour(scene.colour) if mentions.colour else ""
        shape = choose(SHAPE_WORDS[SHAPES[scene.shape]]) if mentions.shape else choose(("", "thing", "shape", "object"))
        if mentions.shape and self._chance(0.08):
            shape += " shape"
        article = choose(("a", "a", "a", "one", "the", "an", "", "", "just a", "a single", "some"))
        if colour and size and self._chance(0.15):
            size, colour = colour, size
        if self._chance(0.78) or not (colour or size):
            return " ".join(word for word in (article, size, colour, shape) if word)
        described = [word for word in (colour, size) if word]
        if len(described) == 2 and self._chance(0.5):
            link = choose((", ", " that is ", " which is ", ", rather "))
            return f"{article} {described[0]} {shape}{link}{described[1]}"
        self._source.shuffle(described)
        joined = choose((" and ", ", ", " ")).join(described)
        link = choose((", ", " in ", " that is ", " which is ", " colored ", " painted ", ", "))
        end = choose((",", "", "")) if link == ", " else ""
        return f"{article} {shape}{link}{joined}{end}"

    def _size(self, scene: Scene) -> str:
        word = self._source.choice(SIZE_WORDS[SIZE_NAMES[scene.size]])
        return f"{self._source.choice(EMPHASES)} {word}" if self._chance(0.12) else word

    def _colour(self, colour: int) -> str:
        word = self._source.choice(COLOUR_WORDS[COLOUR_NAMES[colour]])
        if self._chance(0.08):
            word = f"{self._source.choice(SHADES)} {word}"
        return f"{word}{self._source.choice((' colored', '-colored', ' coloured'))}" if self._chance(0.03) else word

    def _background_colour(self, scene: Scene) -> str:
        """A background may also be called dark or light."""
        if scene.background in (WHITE, BLACK) and self._chance(0.2):
            return self._source.choice(("dark",) if scene.background == BLACK else ("light", "bright", "pale", "blank"))
        return self._colour(scene.background)

    def _with_noise(self, text: str) -> str:
        """Drops a word that nobody knows, sometimes one that ends like a known one, or a remark into the text."""
        words = text.split(" ")
        letters = "".join(self._source.choices(string.ascii_lowercase, k=self._source.randint(1, 7)))
        if self._chance(0.2):
            letters += self._source.choice(self._source.choice(list(COLOUR_WORDS.values())))
        words.insert(
            self._source.randint(0, len(words)), self._source.choice((letters, letters, self._source.choice(STYLES)))
        )
        return " ".join(words)

    def _spelled(self, text: str) -> str:
        """Some people leave articles out."""
        words = text.split()
        if self._chance(0.12):
            words = [word for word in words if word not in {"a", "an", "the"}]
        return " ".join(words)
