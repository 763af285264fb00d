"""The text that stands for a job's prompts where they are hashed: one prompt is itself, several are a JSON array."""

from collections.abc import Sequence

import rfc8785

from chain.primitives.rejection import Rejected, RejectionReason


def prompt_text(prompts: Sequence[str]) -> str:
    """What is salted and hashed for a receipt's prompt_hash; Rejected (malformed) for what UTF-8 cannot hold.

    A list of one prompt is that prompt, so that it has the same hash however the client sent it.
    """
    assert prompts
    if len(prompts) == 1:
        return prompts[0]
    try:
        return rfc8785.dumps(list(prompts)).decode()
    except rfc8785.CanonicalizationError:
        raise Rejected(RejectionReason.MALFORMED, "a lone surrogate is no text", field="prompt") from None
