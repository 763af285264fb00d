"""The words that the tiny model reads: what colours, shapes, places and sizes are called, and how people ask.

Every word that occurs here is one token. Whatever else a prompt holds is read byte by byte and learned to be ignored.
"""

import re
from typing import Final


def _words(text: str) -> list[str]:
    return text.split()


COLOUR_WORDS: Final = {
    "red": _words("red red red red crimson scarlet ruby cherry vermilion"),
    "green": _words("green green green green emerald lime olive jade grass-green"),
    "blue": _words("blue blue blue blue navy azure cobalt sapphire indigo sky-blue"),
    "yellow": _words("yellow yellow yellow yellow golden gold lemon amber"),
    "orange": _words("orange orange orange orange tangerine pumpkin apricot"),
    "purple": _words("purple purple purple violet violet lilac magenta lavender"),
    "white": _words("white white white white ivory snow-white"),
    "black": _words("black black black black ebony jet-black pitch-black"),
}
SHAPE_WORDS: Final = {
    "circle": ["circle", "circle", "circle", "ball", "disc", "disk", "dot", "round shape", "round", "sphere", "coin"],
    "square": ["square", "square", "square", "box", "block", "cube", "tile", "rectangle"],
    "triangle": ["triangle", "triangle", "triangle", "pyramid", "three-sided shape", "wedge"],
    "star": ["star", "star", "star", "five-pointed star", "5-pointed star", "starlet", "pointed star"],
    "diamond": ["diamond", "diamond", "diamond", "rhombus", "rhomb", "lozenge", "kite"],
    "cross": ["cross", "cross", "plus", "plus sign", "plus symbol", "cross sign", "cross symbol", "plus mark"],
}
SIZE_WORDS: Final = {
    "small": _words("small small small tiny tiny little little mini miniature wee small-sized minuscule"),
    "medium": ["medium", "medium-sized", "mid-sized", "medium size", "average", "middle-sized", "normal-sized"],
    "big": _words("big big big large large huge giant enormous gigantic massive great oversized large-sized"),
}
_CORNER_PATTERNS: Final = [
    "in the {} corner",
    "in the {} corner",
    "in the {}",
    "at the {}",
    "{} corner",
    "{}",
    "on the {} side",
    "near the {} corner",
    "on the {}",
    "to the {}",
    "at the {} corner",
    "toward the {} corner",
]


def _corner(vertical: list[str], side: str) -> list[str]:
    """What one corner of the picture is called."""
    names = [f"{word}{join}{side}" for word in vertical for join in (" ", "-")] + [f"{side} {vertical[0]}"]
    return [pattern.format(name) for name in names for pattern in _CORNER_PATTERNS]


_ABOVE: Final = ["top", "upper"]
_BELOW: Final = ["bottom", "lower"]
_SIDE_PATTERNS: Final = [
    "on the {}",
    "on the {}",
    "to the {}",
    "at the {}",
    "on the {} side",
    "at the {} side",
    "{} side",
    "in the {} half",
    "near the {} edge",
    "at the {} edge",
    "{}",
    "on the far {}",
    "towards the {}",
    "shifted to the {}",
]
POSITION_PHRASES: Final = {
    "centre": [
        *_words("centered centred centrally"),
        "in the middle",
        "in the middle",
        "in the center",
        "in the centre",
        "at the center",
        "at the centre",
        "in the very middle",
        "right in the middle",
        "in the exact center",
        "center",
        "middle",
    ],
    "left": [pattern.format("left") for pattern in _SIDE_PATTERNS] + ["left of center"],
    "right": [pattern.format("right") for pattern in _SIDE_PATTERNS] + ["right of center"],
    "top": [
        *["at the top", "at the top", "at the very top", "near the top", "top", "up top", "top half", "on the top"],
        *[
            "in the upper half",
            "at the upper edge",
            "top edge",
            "close to the top",
            "towards the top",
            "at the top edge",
        ],
        *["upper part", "in the upper part", "top center", "top middle", "high up"],
    ],
    "bottom": [
        *[
            "at the bottom",
            "at the bottom",
            "at the very bottom",
            "near the bottom",
            "bottom",
            "down low",
            "bottom half",
        ],
        *["in the lower half", "at the lower edge", "bottom edge", "close to the bottom", "towards the bottom"],
        *["on the bottom", "at the bottom edge", "lower part", "in the lower part", "bottom center", "bottom middle"],
    ],
    "top left": _corner(_ABOVE, "left"),
    "top right": _corner(_ABOVE, "right"),
    "bottom left": _corner(_BELOW, "left"),
    "bottom right": _corner(_BELOW, "right"),
}
SHADES: Final = _words("bright plain solid pure vivid deep dark light pale flat rich strong simple uniform clear")
SURFACES: Final = _words(
    "background background background background backdrop backdrop canvas page wall sky field surface paper board "
    "screen sheet picture image ground floor frame base scene plane"
)
PICTURES: Final = _words(
    "picture picture image image photo drawing painting illustration icon poster logo graphic sketch print render "
    "artwork sign sticker emoji card wallpaper flag"
)
STYLES: Final = _words(
    "simple clean crisp minimalist minimal flat nice beautiful sharp neat abstract colorful colourful geometric modern "
    "cute pretty lovely perfect lonely single plain good bold"
)
EMPHASES: Final = _words("very really quite rather fairly pretty extremely somewhat so")
OPENINGS: Final = [
    *["draw", "draw me", "please draw", "paint", "paint me", "make", "make me", "please make", "create", "generate"],
    *["show", "show me", "give me", "i want", "i want to see", "i'd like", "i'd like to see", "i would like", "i need"],
    *["can you draw", "can you make", "can you create", "could you draw", "could you paint", "could you make"],
    *["would you draw", "would you paint", "can i have", "can i get", "may i have", "could i see", "let me see"],
    *["there is", "there's", "this is", "it's", "it is", "imagine", "render", "design", "sketch", "produce", "put"],
    *["please show me", "please give me", "please create", "please paint", "i am looking for", "we need", "let's see"],
    *["what about", "how about", "place", "we see", "you see", "here is", "please"],
]
REQUESTS: Final = [opening for opening in OPENINGS if opening.split()[0] in {"can", "could", "would", "may"}]
GREETINGS: Final = [
    "hello",
    "hi",
    "hey",
    "dear model",
    "good morning",
    "ok",
    "so",
    "now",
    "well",
    "my favourite",
    "today",
]
REMARKS: Final = [
    *["please", "please", "thanks", "thank you", "nothing else", "no text", "that's all", "as simple as possible"],
    *["high quality", "best quality", "highly detailed", "4k", "8k", "hd", "sharp edges", "clean lines", "flat design"],
    *["vector art", "minimalist", "minimalism", "simple", "digital art", "masterpiece", "geometric", "flat colors"],
    *["for my daughter", "for my son", "for a friend", "for my website", "for me", "for a logo", "for my project"],
    *["in a simple style", "with sharp edges", "without shadows", "no shadow", "no border", "one only", "only one"],
    *["trending", "studio lighting", "isolated", "icon style", "like a flag", "like a sticker", "if you can"],
]
UNWANTED: Final = [
    *["blurry", "ugly", "low quality", "bad quality", "worst quality", "distorted", "deformed", "text", "watermark"],
    *["noise", "noisy", "artifacts", "jpeg artifacts", "signature", "cropped", "out of frame", "bad anatomy", "grainy"],
    *["pixelated", "dull", "extra limbs", "people", "person", "face", "hands", "low resolution", "nsfw", "shadow"],
]
_GRAMMAR: Final = _words(
    "a an the in on at of to and with one some that which is are sits lies stands placed located positioned be should "
    "i'd there's it's let's against over upon above before behind front it its everything else all around rest "
    "surrounded by filled fill has having showing containing featuring shown where just only using color colour "
    "colored coloured shape shaped painted shade made set size sized please want make background put inside within "
    "near next their my your this these two draw picture use then but or as not no for from into onto out up down "
    "dog cat house tree car man woman child red-hot covered hundred bored scattered framed tired inspired top of"
)


def words_of(text: str) -> list[str]:
    """The text as the tokenizer cuts it: lower case, letters, single digits and punctuation apart."""
    return re.findall(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+", text.lower())


def _all_words() -> list[str]:
    phrases = [*SHADES, *SURFACES, *PICTURES, *STYLES, *EMPHASES, *OPENINGS, *GREETINGS, *REMARKS, *UNWANTED, *_GRAMMAR]
    for named in (COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS, POSITION_PHRASES):
        for entries in named.values():
            phrases += entries
    return sorted({word for phrase in phrases for word in words_of(phrase) if len(word) > 1})


WORDS: Final = _all_words()
