"""From recorded traffic and a file to proposals and a changed text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config.document import Document, Node
from ..config.registry import single, spelled
from ..config.shape import nearest
from ..descriptor import kind_of
from ..errors import ConfigError
from ..lint.facts import repeatable
from ..lint.files import Used, settings_in
from ..recorded import Call, Histogram, Recording
from .edit import NotEditable, insert_after, put
from .hedges import hedge_for
from .judge import complaint, linted, others, uses_of
from .proposal import Proposal
from .rates import rate_for
from .retries import attempts_for
from .sizes import places_for
from .timeouts import from_histogram, timeout_for

__all__ = ["Tuned", "tune"]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of it: proposals by pipeline, and the text before and after."""

    file: str
    proposals: Mapping[str, Sequence[Proposal]]
    before: str
    after: str


def tune(
    file: str,
    text: str,
    traffic: Recording | Sequence[Histogram],
    *,
    pipeline: str | None = None,
    q: float = 0.99,
    confidence: float = 0.95,
) -> Tuned:
    """What the traffic says about the pipelines in a text; `pipeline` names one of them, else all that had traffic.

    Raises `ConfigError` if the text is no sound configuration, or no call of its pipelines was recorded.
    """
    read = linted(text, file)
    uses, once = uses_of(read), settings_in(read.contents.root).not_idempotent
    chosen = [use for use in uses.values() if pipeline is None or use.called(pipeline)]
    if not uses:
        raise ConfigError(f"{file}: has no pipeline to tune")
    if not chosen:
        known = f"{nearest(str(pipeline), list(uses))} (in this file: {', '.join(uses) or 'none'})"
        raise ConfigError(f"{file}: no pipeline is named {pipeline!r}{known}")
    proposals: dict[str, list[Proposal]] = {}
    after = text
    for use in chosen:
        found = _judged(use, once, _traffic_of(traffic, use, alone=len(uses) == 1), q, confidence)
        proposals[use.name] = []
        for proposal in found:
            kept, after = _applied(proposal, file, after, use)
            proposals[use.name].append(kept)
    if not any(proposals.values()):
        known = ", ".join(map(repr, _names(traffic))) or "none"
        own = ", ".join(repr(use.full) for use in chosen)
        raise ConfigError(
            f"{file}: no call of its pipelines was recorded (recorded pipelines: {known}; in this file: {own})"
        )
    return Tuned(file, proposals, text, after)


# -- the traffic of a pipeline --------------------------------------------------------------------------------


def _names(traffic: Recording | Sequence[Histogram]) -> list[str]:
    if isinstance(traffic, Recording):
        return traffic.pipelines
    return sorted({histogram.pipeline for histogram in traffic})


def _traffic_of(traffic: Recording | Sequence[Histogram], use: Used, alone: bool) -> Recording | list[Histogram]:
    """What was recorded of it; if it is the only one in the file and only one was recorded, that must be it."""
    only = alone and len(_names(traffic)) == 1
    if isinstance(traffic, Recording):
        found = traffic.of(use.full)
        return traffic if only else found if found.calls else traffic.of(use.name)
    names = (use.full, use.name)
    return [h for h in traffic if only or h.pipeline in names or h.pipeline.endswith(f".{use.name}")]


def _judged(
    use: Used, once: Collection[str], traffic: Recording | Sequence[Histogram], q: float, confidence: float
) -> Iterator[Proposal]:
    """A proposal for everything that can be judged, in the order of the policies. `once`: must not happen twice."""
    policies = use.policies
    deadline = next((policy for policy in policies if kind_of(policy) == "deadline"), None)
    timeout = next((policy for policy in policies if kind_of(policy) == "timeout"), None)

    def within(op: str) -> float | None:
        return None if deadline is None else deadline.per_op.get(op, deadline.seconds)

    if not isinstance(traffic, Recording):
        for histogram in traffic:
            if timeout is not None and timeout.adaptive is None:
                now = timeout.per_op.get(histogram.op, timeout.seconds)
                yield from_histogram(histogram, q, confidence, now, within(histogram.op))
        return
    if not traffic.calls:
        return
    by_operation = traffic.by_operation()
    reads = {op: calls for op, calls in by_operation.items() if repeatable(op, once, use.facts)}
    yield from _of_repeating(policies, traffic.calls, reads, timeout, deadline, confidence)
    for policy in policies:
        kind = kind_of(policy)
        if kind == "rate_limit":
            yield rate_for(traffic.calls, policy.rate)
        elif kind == "bulkhead" and policy.key is None and policy.weight == "one":
            yield places_for(traffic.calls, policy.limit)
        elif kind == "timeout" and policy.adaptive is None:
            for op, calls in by_operation.items():
                yield timeout_for(op, calls, q, confidence, policy.per_op.get(op, policy.seconds), within(op))


def _of_repeating(
    policies: Sequence[Any],
    calls: Sequence[Call],
    reads: Mapping[str, Sequence[Call]],
    timeout: Any,
    deadline: Any,
    confidence: float,
) -> Iterator[Proposal]:
    """Of the retry and the hedge; a hedge that is not there may be proposed where a retry is."""
    kinds = {kind_of(policy): policy for policy in policies}
    retry, hedge = kinds.get("retry"), kinds.get("hedge")
    if retry is not None:
        slowest = None if timeout is None else max([timeout.seconds, *timeout.per_op.values()])
        yield attempts_for(calls, retry.attempts, confidence, slowest, None if deadline is None else deadline.seconds)
    if (hedge is not None or retry is not None) and reads:  # what must not happen twice is never hedged
        yield hedge_for(reads, "" if hedge is None else _delay(hedge.delay), confidence)


def _delay(delay: float | str) -> str:
    return delay if isinstance(delay, str) else f"{delay * 1000:g}ms"


# -- into the file --------------------------------------------------------------------------------------------


def _applied(proposal: Proposal, file: str, text: str, use: Used) -> tuple[Proposal, str]:
    """The proposal and the changed text; or the proposal withdrawn, and the text as it was."""
    if proposal.value is None:
        return proposal, text
    try:
        changed = _changed(proposal, file, text, use)
    except NotEditable as error:
        return proposal.withdrawn(f"this file cannot be changed there ({error})."), text
    before = linted(text, file)
    said = complaint(before, changed, file, use.name)
    if said:
        return proposal.withdrawn(f"the checks refuse it: {said}"), text
    also = others(before, changed, file, use.name)
    return (proposal.noted(f"It changes {', '.join(also)} as well.") if also else proposal), changed


def _changed(proposal: Proposal, file: str, text: str, use: Used) -> str:
    """The text with the proposal where the file says it now. Raises `NotEditable`."""
    root = Document.parse(text, file)
    own = single(spelled(proposal.policy)) or ""
    value = proposal.value or ""
    route = _route(root, use, proposal)
    if route is not None:
        return put(text, file, route, value, single=own)
    pipelines = root.get("pipelines")
    name = use.name if use.facts is None else use.facts.pipeline
    stack = None if pipelines is None else pipelines.get(name)
    if stack is None:
        raise NotEditable("the pipeline stands in another file")
    place: tuple[str | int, ...] = ("pipelines", name)
    if stack.kind == "mapping":  # what it says otherwise than the pipeline that it extends
        place = (*place, proposal.policy)
    elif proposal.new:
        entry = f"{proposal.policy}: {{{proposal.path[0]}: {value}}}"
        return insert_after(text, file, (*place, _position(stack, "retry")), entry)
    else:
        place = (*place, _position(stack, proposal.policy), proposal.policy)
    return put(text, file, (*place, *proposal.path), value, single=own)


def _route(root: Node, use: Used, proposal: Proposal) -> tuple[str, ...] | None:
    """Where an exchange says that setting of one of its operations; None where the pipeline itself does."""
    if use.facts is None:
        return None
    exchange = use.full.removesuffix(f".{use.facts.pipeline}")
    base, _, operation = use.facts.pipeline.rpartition("/")  # of one that an operation has for itself
    place = ("exchanges", exchange, "operations", proposal.op if _at(root, ("pipelines", base)) is None else operation)
    if proposal.path == ("per_op", place[-1]) and _at(root, (*place, proposal.policy)) is not None:
        return (*place, proposal.policy, "seconds")
    return (*place, proposal.policy, *proposal.path) if place[-1] == operation and _at(root, place) else None


def _at(root: Node, place: Sequence[str]) -> Node | None:
    node: Node | None = root
    for key in place:
        node = None if node is None else node.get(key)
    return node


def _position(stack: Node, policy: str) -> int:
    """Where in the list of policies this one stands, as the file writes it. Raises `NotEditable`."""
    for position, entry in enumerate(stack):
        if entry.kind == "mapping" and policy in entry:
            return position
        if entry.kind == "scalar" and entry.text == policy:
            raise NotEditable(f"- {policy} stands there alone")
    raise NotEditable("the pipeline does not list that policy itself")
