"""Rules about what must not happen twice, and what must not go to production."""

from __future__ import annotations

from collections.abc import Iterator

from ...config.shape import nearest
from ..subject import Found, Rule, Subject

__all__ = ["RULES"]


def _retry_of_unsafe_operation(subject: Subject) -> Iterator[Found]:
    unsafe = [op for op in subject.ops if not op.idempotent]
    for position, policy in subject.each("retry"):
        if policy.attempts == 1 or not unsafe or (policy.on is None and policy.result is None):
            continue
        op = next((op for op in unsafe if subject.stated(op)), unsafe[0])
        stated = subject.stated(op)
        seems = "must not happen twice" if stated else "looks like one that must not happen twice"
        yield Found(
            position,
            f"{op.name} {seems}, and `on` repeats it although nobody knows whether the first attempt was executed; "
            "leave "
            "`on` out, so that only what was certainly not executed is repeated, or give the request a key by which "
            "the "
            "server tells a repetition (orderLinkId), and say idempotent",
            "on",
            "error" if stated else "warning",
        )


def _hedge_of_unsafe_operation(subject: Subject) -> Iterator[Found]:
    for position, _ in subject.each("hedge"):
        unsafe = [op.name for op in subject.ops if not op.idempotent]
        if unsafe:
            yield Found(
                position,
                f"{', '.join(unsafe[:3])} may not be sent twice, so Hedge lets it pass through and does nothing for "
                "it; route "
                "it to a pipeline without a hedge, so that nobody counts on one",
            )


def _chaos_enabled(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("chaos"):
        if policy.enabled and policy.rate > 0:
            yield Found(
                position,
                f"chaos is on from the start: {policy.rate:.3g} of the calls get {policy.what}; leave enabled out, and "
                "switch it on while you watch",
                "enabled",
            )


def _unknown_operation(subject: Subject) -> Iterator[Found]:
    names = subject.facts.names
    for position, policy in subject.each("timeout", "deadline", "rate_limit"):
        for name in policy.per_op if names else ():
            if name not in names:
                hint = nearest(name, list(names))
                yield Found(
                    position,
                    f"per_op names {name!r}, but {subject.facts.who} has no such operation{hint}: that entry is "
                    "never used",
                    "per_op",
                )


def _empty_pipeline(subject: Subject) -> Iterator[Found]:
    if not subject.policies:
        yield Found(None, "no policies: calls go through as if there were no pipeline")


RULES: dict[str, Rule] = {
    "retry-of-unsafe-operation": Rule("error", _retry_of_unsafe_operation),
    "hedge-of-unsafe-operation": Rule("warning", _hedge_of_unsafe_operation),
    "chaos-enabled": Rule("warning", _chaos_enabled),
    "unknown-operation": Rule("warning", _unknown_operation),
    "empty-pipeline": Rule("warning", _empty_pipeline),
}
