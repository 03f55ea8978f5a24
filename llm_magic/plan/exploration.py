"""Thompson sampling among candidates that are good enough, in proportion to what is known of their capabilities."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Mapping

from llm_magic.types import Candidate, Classification, ModelSpec, Request


def is_exploring(request: Request) -> bool:
    """True if the choice may vary. By default, it may if shadow runs measure the results."""
    wanted = request.shadowing.explore
    return request.shadowing.share > 0 if wanted is None else wanted


def drawn_quality(candidate: Candidate, classification: Classification, request: Request, seed: str) -> float | None:
    """Draw the chance of a good answer from the posterior; None if nothing was learned about the model in this tier.

    The draw depends on the seed, the model and the prompt only, so a plan shows what the run does.
    """
    width = candidate.model.capability_width.get(classification.tier)
    if width is None:
        return None
    digest = hashlib.sha256(request.prompt.encode("utf-8", "surrogatepass")).hexdigest()
    draw = random.Random(f"{seed} {candidate.model.id} {digest}")  # noqa: S311 - a sample, not a secret
    quality = min(1 - 1e-9, max(1e-9, candidate.expected_quality))
    logit = math.log(quality / (1 - quality)) + draw.gauss(0.0, width)
    return 1.0 / (1.0 + math.exp(-logit))


def explored(
    cheapest_first: Iterable[ModelSpec],
    entries: Mapping[str, object],
    classification: Classification,
    request: Request,
    *,
    minimum: float,
    seed: str,
) -> ModelSpec | None:
    """Return the cheapest model whose drawn quality is sufficient; None if none is.

    cheapest_first: the models whose expected quality is sufficient, so the result is never below the requested quality.
    """
    for model in cheapest_first:
        entry = entries[model.id]
        if not isinstance(entry, Candidate):
            continue
        quality = drawn_quality(entry, classification, request, seed)
        if quality is None or quality >= minimum:
            return model
    return None
