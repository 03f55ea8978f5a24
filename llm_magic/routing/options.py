"""The options of a request, each defined once.

The keywords of the methods of `Router`, the options of `%%route`, their help, and the table in the documentation are
all made from `RequestOptions`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypedDict, get_type_hints

from llm_magic import answers
from llm_magic.budget import Amount, usd
from llm_magic.conversations import THREAD_TOKENS
from llm_magic.plan.quotes import DEFAULT_MAX_OUTPUT_TOKENS
from llm_magic.routing import notebook, validation
from llm_magic.routing.option import Option
from llm_magic.types import DEFAULT_QUALITY, Effort, Message, OnRefusal, SendWhen, TaskTier


class RequestOptions(TypedDict, total=False):
    """The keywords that every method of `Router` with a prompt takes. None stands for the default."""

    tier: Annotated[
        TaskTier | str | None,
        Option(
            flag="--tier",
            metavar="TIER",
            help="The tier: complex, standard, structured, or bulk.",
            default="classified from the text",
            check=validation.tier,
        ),
    ]
    model: Annotated[
        str | None,
        Option(flag="--model", metavar="MODEL", help="Ask this model, then its own fallbacks, and no other."),
    ]
    quality: Annotated[
        float | None,
        Option(
            flag="--quality",
            metavar="SHARE",
            parse=validation.number,
            help="Minimum share of the best expected quality, from 0 (the cheapest model) to 1 (the best).",
            default=f"%config RouteMagics.quality, otherwise the router's value, {DEFAULT_QUALITY:g}",
            check=validation.quality,
        ),
    ]
    worth: Annotated[
        Amount | None,
        Option(
            flag="--worth",
            metavar="USD",
            help="Worth of a good answer, such as 0.50: the plan takes the model and effort with the highest expected "
            "worth minus cost, instead of a minimum quality.",
            default="%config RouteMagics.worth, otherwise none",
            check=usd,
            field="worth_usd",
        ),
    ]
    effort: Annotated[
        Effort | str | None,
        Option(
            flag="--effort",
            metavar="LEVEL",
            help="How much the model reasons: none, low, medium, high, or max. A model that lacks the level is asked "
            "at the next harder one, or at its hardest.",
            default="%config RouteMagics.effort, otherwise the cheapest level that is good enough",
            check=validation.effort,
        ),
    ]
    system: Annotated[
        str | None,
        Option(flag="--system", metavar="TEXT", help="The system prompt.", default="none", check=validation.system),
    ]
    max_output_tokens: Annotated[
        int | None,
        Option(
            flag="--max-tokens",
            metavar="N",
            parse=validation.whole_number,
            help="Maximum number of output tokens, including reasoning.",
            default=f"{DEFAULT_MAX_OUTPUT_TOKENS:,}, or the limit of the model if that is lower",
            check=validation.max_output_tokens,
        ),
    ]
    max_cost: Annotated[
        Amount | None,
        Option(
            flag="--max-cost",
            metavar="USD",
            help="Maximum cost of this run, such as 0.05.",
            default="the caps of %route_budget",
            check=usd,
            field="max_cost_usd",
        ),
    ]
    schema: Annotated[
        Mapping[str, Any] | str | type | None,
        Option(
            flag="--schema",
            metavar="VARIABLE",
            resolve=notebook.schema,
            help="A JSON Schema, or a Pydantic model, dataclass, or type such as list[Person] or bool. The answer is "
            "validated against it and parsed into result.data.",
            check=answers.schema_of,
        ),
    ]
    tags: Annotated[
        str | Sequence[str] | None,
        Option(
            flag="--tag",
            metavar="WORD",
            is_repeatable=True,
            help="A label for the ledger. May be repeated.",
            check=validation.tags,
        ),
    ]
    flex: Annotated[
        bool | None,
        Option(
            flag="--flex",
            help="Use the cheaper, slower service tier of the models that have one. It is held at the standard price.",
            default="%config RouteMagics.flex, off by default",
            check=bool,
        ),
    ]
    when: Annotated[
        SendWhen | str | None,
        Option(
            flag="--when",
            metavar="WHEN",
            help="With cheap, wait for hours in which it is expected to cost less. A notebook waits in the background, "
            "and stores the prompt in the ledger's database until then.",
            default="now",
            check=validation.when,
        ),
    ]
    hedge_s: Annotated[
        float | None,
        Option(
            flag="--hedge",
            metavar="SECONDS",
            parse=validation.number,
            help="Also send the prompt to the next model if the first token takes longer than this. Both are billed.",
            default="never",
            check=validation.hedge_s,
        ),
    ]
    cache: Annotated[
        bool | None,
        Option(
            flag="--cache",
            help="Reuse the stored answer to an identical request at no cost, or store this answer with its text.",
            default="%config RouteMagics.cache, off by default",
            check=bool,
        ),
    ]
    cache_prefix: Annotated[
        bool | None,
        Option(
            flag="--cache-prefix",
            help="Have the provider cache the system prompt and the attachments from the first prompt on.",
            default="from the second prompt with the same ones on, if they are long enough",
            check=bool,
        ),
    ]
    attach: Annotated[
        Iterable[object] | None,
        Option(
            flag="--attach",
            metavar="PATH",
            resolve=notebook.attachment,
            is_repeatable=True,
            help="A text file, an image, or {{name}}: text, a table, an image or a figure of the notebook. It does not "
            "influence the tier. May be repeated.",
            check=validation.attachments,
            field="attachments",
        ),
    ]
    thread: Annotated[
        str | None,
        Option(
            flag="--thread",
            metavar="THREAD",
            help="Continue this conversation. Its text is stored in the ledger's database: see %route_threads.",
        ),
    ]
    cascade: Annotated[
        bool | str | None,
        Option(
            flag="--cascade",
            metavar="MODE",
            bare=True,
            help="Try cheap models first, and the plan's first candidate only if their answer is not confirmed. "
            "--cascade=agree: two cheap models agree. twice: one cheap model gives the same answer twice. look: its "
            "form is valid. schema: the answer fits the schema. check: --check accepts it. judge: a judge accepts it. "
            "any: the cheapest of these that keeps the quality. effort: the first candidate at its lowest effort, and "
            "again at a higher one. off: no cascade. Without a mode: check or judge if given, otherwise agree.",
            default="if it saves money",
        ),
    ]
    check: Annotated[
        Callable[[str], bool] | None,
        Option(
            flag="--check",
            metavar="VARIABLE",
            resolve=notebook.variable,
            help="A function that takes the text of an answer. A cheap answer is accepted if it returns True.",
        ),
    ]
    judge: Annotated[
        str | None,
        Option(flag="--judge", metavar="MODEL", help="Accept a cheap answer that this model finds good enough."),
    ]
    last_resort: Annotated[
        str | None,
        Option(
            flag="--last-resort",
            metavar="MODEL",
            help="The model to ask if no other one answers, such as local, the embedded one; or off. It answers "
            "whatever its expected quality.",
            default="%config RouteMagics.last_resort, off by default. Without any other usable model, local",
            check=validation.last_resort,
        ),
    ]
    on_refusal: Annotated[
        OnRefusal | str | None,
        Option(
            flag="--on-refusal",
            metavar="ACTION",
            help="What to do if a model refuses to answer: fallback asks one other provider, stop ends the run.",
            default="%config RouteMagics.on_refusal, otherwise the router's value, fallback",
            check=validation.on_refusal,
        ),
    ]
    routing_text: Annotated[
        str | None,
        Option(help="The part of the prompt that determines the tier.", default="the whole prompt"),
    ]
    history: Annotated[
        Sequence[Message] | None,
        Option(
            help="Earlier messages of a conversation that you store yourself, sent before the prompt.",
            check=validation.history,
        ),
    ]
    thread_tokens: Annotated[
        int | None,
        Option(
            help="Maximum number of tokens of a thread that are sent.",
            default=f"{THREAD_TOKENS:,}",
            check=validation.thread_tokens,
        ),
    ]
    parent_run_id: Annotated[str | None, Option(help="The run that this one repeats or escalates, for the ledger.")]


_HINTS: Mapping[str, Any] = get_type_hints(RequestOptions, include_extras=True)
OPTIONS: Mapping[str, Option] = {name: hint.__metadata__[0] for name, hint in _HINTS.items()}
