"""Whether a provider has done what it was asked for. docs/hub.md explains each threshold with its measurement.

Every answer:
    answers.py      what the receipt says of time, units and price, against what was asked, measured and is allowed
    pictures.py     whole still pictures of the right size that show something; what is remembered of each
    likeness.py     copies of earlier pictures, and for which request each was made (perceptual_hash.py)
    suspicion.py    what is no reason to refuse an answer, but one to check it

A sampled share of them, new providers' all:
    sampling.py     which, by a secret key and the receipt's hash: nobody can foresee it, anybody can replay it later
    examination.py  one check from its beginning to its verdict: who is asked what, and in which order (hands.py)
      challenges.py   steps of the trajectory that the provider opens, and another computes again
      comparison.py   a whole picture that another computes again: equal bits, or as near as rounding explains
      verdicts.py     votes of those who computed, two more where they differ
    canaries.py     jobs whose answer is known already

    errors.py       why an answer is not taken, and why a check gets no answer

Nothing here reads a clock, a file, a database or draws a random number, and nothing knows torch: other providers
compute, and the hub compares bytes (`chain.primitives.latents`, `chain.primitives.picture_distance`).
"""
