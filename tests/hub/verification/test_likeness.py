"""Copies: the same file for another request, or what looks alike, is looked at; the same request again is neither."""

import io
from random import Random

import msgspec
import pytest
from PIL import Image, ImageDraw

from chain.primitives.worker_fields import PictureRun
from hub.verification.likeness import COPIED, MAX_DISTANCE, MOST_ALIKE, Earlier, judge, run_key
from hub.verification.perceptual_hash import perceptual_hash
from hub.verification.pictures import Look, look

RUN = PictureRun(model="toy/model", prompts=("a", "b"), steps=4, guidance=2.0, width=256, height=256, seed=1, count=2)
SECRET = b"\x09" * 32
LONG = "a red fox, " * 18 + "a red fox"
"""75 tokens, which is as much as CLIP reads."""


def scene(seed: int) -> Image.Image:
    random = Random(seed)
    image = Image.new("RGB", (256, 256), tuple(random.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = random.randrange(200), random.randrange(200)
        box = (left, top, left + random.randrange(20, 120), top + random.randrange(20, 120))
        draw.ellipse(box, fill=tuple(random.randrange(256) for _ in range(3)))
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def again(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def test_copies_stay_near() -> None:
    """Encoded again, scaled there and back, brightened a little: nearly all at most MAX_DISTANCE bits."""
    near = total = 0
    for seed in range(40):
        image = scene(seed)
        copies = (
            again(encoded(image, "JPEG", quality=75)),
            again(encoded(image, "WEBP", quality=60)),
            image.resize((128, 128), Image.Resampling.BICUBIC).resize((256, 256), Image.Resampling.BICUBIC),
            image.point([min(255, level + 2) for level in range(256)] * 3),
        )
        for copy in copies:
            total += 1
            near += (perceptual_hash(image) ^ perceptual_hash(copy)).bit_count() <= MAX_DISTANCE
    assert near >= 0.95 * total


def test_different_pictures_are_far() -> None:
    hashes = [perceptual_hash(scene(seed)) for seed in range(60)]
    distances = [(one ^ other).bit_count() for at, one in enumerate(hashes) for other in hashes[:at]]
    assert sum(distance <= MAX_DISTANCE for distance in distances) == 0
    assert sum(distances) / len(distances) > 15


def test_flat_areas_do_not_let_noise_choose_the_bits() -> None:
    random = Random(3)
    image = Image.new("RGB", (256, 256), (120, 130, 140))
    noisy = image.point(lambda level: level + random.choice((-2, 0, 2)))
    assert perceptual_hash(image) == perceptual_hash(noisy)


def test_hash_is_the_same_for_ever() -> None:
    """Rows in a database are compared with it."""
    assert perceptual_hash(scene(1)) == 0x824924A28C30AA36


class TestRunKey:
    """Which picture was asked for."""

    def test_the_same_picture_from_another_cut(self) -> None:
        """The second picture of one shard may be the first of another."""
        single = msgspec.structs.replace(RUN, prompts=("b",), seed=2, count=1)
        assert run_key(SECRET, RUN, 1) == run_key(SECRET, single, 0)

    def test_the_file_is_not_the_picture(self) -> None:
        jpeg = msgspec.structs.replace(RUN, image_format="jpeg", quality=50)
        assert run_key(SECRET, RUN, 0) == run_key(SECRET, jpeg, 0)

    @pytest.mark.parametrize(
        "change",
        [
            {"prompts": ("c", "b")},
            {"seed": 2},
            {"steps": 5},
            {"guidance": 1.5},
            {"model": "toy/other"},
            {"negative_prompt": "x"},
            {"width": 264},
            {"scheduler": "euler"},
        ],
    )
    def test_whatever_else_differs(self, change: dict[str, object]) -> None:
        other = msgspec.structs.replace(RUN, **change)
        assert run_key(SECRET, RUN, 0) != run_key(SECRET, other, 0)

    @pytest.mark.parametrize("last", ["a red dog", "a red", "a red fox's"])
    def test_what_may_be_read_is_another_request(self, last: str) -> None:
        """Else an earlier picture could be brought for it, and nobody would look."""
        texts = (LONG.removesuffix("a red fox").removesuffix("fox, ") + end for end in ("a red fox", last))
        one, other = (msgspec.structs.replace(RUN, prompts=(text,), count=1) for text in texts)
        assert run_key(SECRET, one, 0) != run_key(SECRET, other, 0)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"prompts": ("A  Red\tFox ",)}, {"prompts": ("a red fox",)}),
            ({"prompts": ("cafe\u0301",)}, {"prompts": ("caf\u00e9",)}),
            ({"negative_prompt": "Blurred "}, {"negative_prompt": "blurred"}),
            ({"guidance": 0.0}, {"guidance": 1.0}),
            ({"prompts": (LONG + " by day",)}, {"prompts": (LONG + " by night",)}),
            ({"negative_prompt": LONG + ", blurred"}, {"negative_prompt": LONG}),
            ({"guidance": 1.0, "negative_prompt": "x"}, {"guidance": 0.5}),
        ],
    )
    def test_what_no_model_tells_apart_is_no_other_request(
        self, one: dict[str, object], other: dict[str, object]
    ) -> None:
        """Or a client that asks for both would make a liar of every honest provider."""
        single = msgspec.structs.replace(RUN, prompts=("a",), count=1)
        keys = [run_key(SECRET, msgspec.structs.replace(single, **fields), 0) for fields in (one, other)]
        assert keys[0] == keys[1]

    def test_the_secret(self) -> None:
        keys = {
            run_key(SECRET, RUN, 0),
            run_key(b"\x0a" * 32, RUN, 0),
            run_key(SECRET, RUN, 1),
        }
        assert len(keys) == 3
        assert all(0 <= key < 2**63 for key in keys)


class TestJudgement:
    """Against pictures that were accepted before."""

    SEEN: Look = look(encoded(scene(1)), RUN)
    KEY = run_key(SECRET, RUN, 0)

    def earlier(self, **fields: object) -> Earlier:
        known: dict[str, object] = {
            "job_id": "job-0", "sha256": self.SEEN.sha256, "run_key": self.KEY + 1, "distance": 0,
        }  # fmt: skip
        return Earlier(**(known | fields))  # type: ignore[arg-type]

    def test_nothing_like_it(self) -> None:
        assert judge(self.SEEN, self.KEY, []) is None

    def test_the_same_request_again(self) -> None:
        assert judge(self.SEEN, self.KEY, [self.earlier(run_key=self.KEY)]) is None

    @pytest.mark.parametrize("is_certain", [False, True])
    def test_the_same_file_for_another_request_is_a_suspicion_and_no_more(self, is_certain: bool) -> None:
        """The earlier one may be the false one, or both right: a client can ask for one picture in two ways that only a
        tokenizer tells to be the same."""
        known = [self.earlier(run_key=self.KEY), self.earlier(is_certain=is_certain, job_id="job-7")]
        suspicion = judge(self.SEEN, self.KEY, known)
        assert suspicion is not None
        assert suspicion.reason == COPIED
        assert "job-7" in suspicion.detail

    def test_a_file_that_others_have_found_right_for_this_request_needs_no_second_look(self) -> None:
        """Or who asks for two such pictures again and again would keep everybody busy."""
        known = [self.earlier(), self.earlier(run_key=self.KEY, is_certain=True)]
        assert judge(self.SEEN, self.KEY, known) is None

    def test_what_looks_like_it_is_a_suspicion(self) -> None:
        known = [self.earlier(sha256="00" * 32, distance=2, job_id="job-7")]
        suspicion = judge(self.SEEN, self.KEY, known)
        assert suspicion is not None
        assert suspicion.reason == "looks_copied"
        assert "job-7" in suspicion.detail

    def test_where_many_look_alike_that_says_nothing(self) -> None:
        """Plain motifs; but the same file for another request is no chance however many look like it."""
        known = [self.earlier(sha256=f"{number:064x}", run_key=number, distance=1) for number in range(MOST_ALIKE + 1)]
        assert judge(self.SEEN, self.KEY, known[1:]) is not None
        assert judge(self.SEEN, self.KEY, known) is None
        suspicion = judge(self.SEEN, self.KEY, [*known, self.earlier()])
        assert suspicion is not None
        assert suspicion.reason == COPIED
