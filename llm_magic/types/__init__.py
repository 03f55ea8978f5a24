"""The nouns: frozen records that every room passes to the next."""

from llm_magic.types.models import Cost, ModelSpec, Price, ProviderSpec, Usage
from llm_magic.types.plans import Candidate, Cascade, Part, Plan, Skipped
from llm_magic.types.requests import DEFAULT_QUALITY, Attachment, CascadeHow, Image, Message, Request, Thread
from llm_magic.types.results import ZERO, Attempt, Compared, Comparison, RouteResult, Step
from llm_magic.types.tasks import Classification, TaskTier

__all__ = [
    "DEFAULT_QUALITY",
    "ZERO",
    "Attachment",
    "Attempt",
    "Candidate",
    "Cascade",
    "CascadeHow",
    "Classification",
    "Compared",
    "Comparison",
    "Cost",
    "Image",
    "Message",
    "ModelSpec",
    "Part",
    "Plan",
    "Price",
    "ProviderSpec",
    "Request",
    "RouteResult",
    "Skipped",
    "Step",
    "TaskTier",
    "Thread",
    "Usage",
]
