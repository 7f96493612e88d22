"""Rules about load: what makes an outage worse, for the other side and so for oneself."""

from __future__ import annotations

from collections.abc import Iterator

from ...analysis import pauses_of
from ..subject import Found, Rule, Subject, counted

__all__ = ["RULES"]


def _amplification(subject: Subject) -> Iterator[Found]:
    worst = max(subject.ops, key=subject.sends, default=None)
    if worst is None:
        return
    sends = subject.sends(worst)
    if sends > subject.settings.most_sends:
        position = next((at for at, _ in subject.each("retry", "hedge")), None)
        yield Found(
            position,
            f"one call can become {sends} requests, more than the {subject.settings.most_sends} that are allowed: "
            "when the "
            "target is in trouble it gets so many times its load; fewer attempts or hedges, and retry at one level "
            "only",
        )


def _hedge_without_budget(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("hedge"):
        if policy.budget is None:
            yield Found(
                position,
                "a hedge without a budget: when everything is slow, every call sends "
                f"{counted(policy.extra, 'more')}, just "
                "when the target can bear it least; leave budget out for the default, a fifth of the calls",
                "budget",
            )


def _retry_without_budget(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("retry"):
        if policy.budget is None and policy.attempts > 1:
            yield Found(
                position,
                f"no budget: in an outage every call sends {policy.attempts} requests, for as long as it lasts",
                "budget",
            )


def _retry_without_pause(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("retry"):
        pauses = pauses_of(policy)
        if policy.attempts > 1 and pauses.count and pauses.latest(pauses.count) == 0.0:
            yield Found(
                position,
                f"{counted(policy.attempts, 'attempt')} with no pause between them: whatever made the first fail is "
                "still "
                "there; wait: {expo: {base: 2, factor: 250ms}}",
                "wait" if policy.max_wait else "max_wait",
            )


def _retry_without_jitter(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("retry"):
        pauses = pauses_of(policy)
        spread = policy.jitter not in (None, "none")
        if policy.attempts > 1 and pauses.count and not spread and pauses.latest(pauses.count) > 0.0:
            yield Found(
                position,
                "no jitter: calls that failed together come back together, and fail together again; jitter: full is "
                "the "
                "default",
                "jitter",
            )


def _retry_waits_run_out(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("retry"):
        pauses = pauses_of(policy)
        if pauses.count < policy.attempts - 1:
            yield Found(
                position,
                f"the waits run out: {counted(pauses.count, 'wait')} for {policy.attempts} attempts, so there are "
                "never "
                f"more than {pauses.count + 1}; name one for each pause, or a single one for all",
                "wait",
            )


def _retry_of_one(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("retry"):
        if policy.attempts == 1:
            yield Found(
                position,
                "one attempt is no retry: `attempts` counts the first one too (other libraries count only what comes "
                "after it); 2 for one retry, or leave Retry out",
                "attempts",
            )


RULES: dict[str, Rule] = {
    "amplification": Rule("warning", _amplification),
    "hedge-without-budget": Rule("warning", _hedge_without_budget),
    "retry-without-budget": Rule("note", _retry_without_budget),
    "retry-without-pause": Rule("warning", _retry_without_pause),
    "retry-without-jitter": Rule("warning", _retry_without_jitter),
    "retry-waits-run-out": Rule("warning", _retry_waits_run_out),
    "retry-of-one": Rule("warning", _retry_of_one),
}
