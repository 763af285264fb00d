"""How much of a result is made again by others, who are not paid for it."""

from collections.abc import Sequence

import pytest

from hub.jobs.examining import options_for
from hub.verification.likeness import COPIED, LOOKS_COPIED


@pytest.mark.parametrize(
    ("suspicions", "suspected", "pictures"),
    [
        ((), (), 1),
        ((LOOKS_COPIED,), (2, 5), 1),
        ((COPIED,), (2, 5), 2),
        ((COPIED, LOOKS_COPIED), (1, 2, 5), 3),
        ((COPIED,), range(30), 8),
        (("too_quick", COPIED), (5,), 8),
        (("provider_caught",), (), 8),
    ],
)
def test_how_many_pictures(suspicions: Sequence[str], suspected: Sequence[int], pictures: int) -> None:
    options = options_for(suspicions, suspected)
    assert (options.pictures, options.suspected) == (pictures, tuple(suspected))
