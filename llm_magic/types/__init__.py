"""Frozen records that the parts of the package pass to each other."""

from llm_magic.types.efforts import Effort, EffortLevels, merged_params, name_at
from llm_magic.types.models import Cost, LongPrompt, ModelSpec, Price, ProviderSpec, Usage
from llm_magic.types.outcomes import Accepted, Confirmation, CostBasis, Doubt, Outcome, Verdict
from llm_magic.types.plans import Candidate, Cascade, Extra, OffPeak, Plan, Quote, Skipped
from llm_magic.types.requests import (
    DEFAULT_QUALITY,
    Attachment,
    CascadeChoice,
    CascadeMode,
    Image,
    Message,
    OnRefusal,
    Request,
    SendWhen,
    Thread,
)
from llm_magic.types.results import ZERO, Attempt, Compared, Comparison, RouteResult, Step
from llm_magic.types.schemas import Schema
from llm_magic.types.shadowing import RESERVED_TAG_PREFIX, SHADOW_TAG, Shadowing
from llm_magic.types.tasks import Classification, TaskTier

__all__ = [
    "DEFAULT_QUALITY",
    "RESERVED_TAG_PREFIX",
    "SHADOW_TAG",
    "ZERO",
    "Accepted",
    "Attachment",
    "Attempt",
    "Candidate",
    "Cascade",
    "CascadeChoice",
    "CascadeMode",
    "Classification",
    "Compared",
    "Comparison",
    "Confirmation",
    "Cost",
    "CostBasis",
    "Doubt",
    "Effort",
    "EffortLevels",
    "Extra",
    "Image",
    "LongPrompt",
    "Message",
    "ModelSpec",
    "OffPeak",
    "OnRefusal",
    "Outcome",
    "Plan",
    "Price",
    "ProviderSpec",
    "Quote",
    "Request",
    "RouteResult",
    "Schema",
    "SendWhen",
    "Shadowing",
    "Skipped",
    "Step",
    "TaskTier",
    "Thread",
    "Usage",
    "Verdict",
    "merged_params",
    "name_at",
]
