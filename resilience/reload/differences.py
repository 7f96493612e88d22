"""What a configuration changes in another: policy by policy, field by field, and what becomes of what they keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..descriptor import _plain, describe
from ..policy import Bindable, changed_fields

__all__ = ["Change", "Field", "differences", "differing", "worded"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field that changes: its values before and after as plain data, and the effect in words."""

    name: str
    before: Any
    after: Any
    effect: str

    def __str__(self) -> str:
        if self.before == self.after:  # functions are told by their names
            return self.name
        before, after = differing(self.before, self.after)
        return f"{self.name} {_short(before)} -> {_short(after)}"


@dataclass(frozen=True, slots=True)
class Change:
    """One policy of a pipeline that is ``"added"``, ``"removed"``, ``"changed"`` or ``"moved"``.

    `position` counts from 0, outermost first, in the new pipeline (in the old one, if it is removed). `kept` says what
    survives, `lost` what does not and why; both empty where the policy keeps nothing.
    """

    pipeline: str
    policy: str
    position: int
    what: str
    fields: tuple[Field, ...] = ()
    kept: str = ""
    lost: str = ""

    def __str__(self) -> str:
        text = f"{self.pipeline}: {self.what} {self.policy}"
        changed = ", ".join(map(str, self.fields))
        return f"{text} ({changed})" if changed else text


def differences(name: str, old: Sequence[Bindable], new: Sequence[Bindable]) -> list[Change]:
    """The changes of one pipeline, in the order of the new one; what is removed comes last."""
    matches = _matched(old, new)
    changes = []
    stays = _in_order([matches[at] for at in sorted(matches)])
    for position, policy in enumerate(new):
        at = matches.get(position)
        if at is None:
            changes.append(Change(name, _kind(policy), position, "added"))
            continue
        before = old[at]
        names = changed_fields(before, policy)
        if names:
            changes.append(_changed(name, position, before, policy, names))
        elif at not in stays:
            changes.append(Change(name, _kind(policy), position, "moved", kept=getattr(policy, "keeps", "")))
    gone = [at for at in range(len(old)) if at not in matches.values()]
    return changes + [
        Change(name, _kind(old[at]), at, "removed", lost=_because(old[at], "the policy is gone")) for at in gone
    ]


def _changed(name: str, position: int, before: Bindable, after: Any, names: Sequence[str]) -> Change:
    anew: Mapping[str, str] | None = getattr(after, "anew", None)
    partly: Mapping[str, str] = getattr(after, "partly", {})
    keeps = getattr(after, "keeps", "")
    effects = {field: _effect(field, anew, partly) for field in names}
    fields = tuple(Field(field, _value(before, field), _value(after, field), effects[field]) for field in names)
    ends = [effects[field] for field in names if anew is None or field in anew]
    parts = [effects[field] for field in names if field in partly]
    if not keeps:
        return Change(name, _kind(after), position, "changed", fields)
    if ends:
        return Change(
            name, _kind(after), position, "changed", fields, lost=f"{keeps}: {'; '.join(dict.fromkeys(ends))}"
        )
    return Change(name, _kind(after), position, "changed", fields, keeps, "; ".join(dict.fromkeys(parts)))


def _effect(field: str, anew: Mapping[str, str] | None, partly: Mapping[str, str]) -> str:
    if anew is None:
        return "begins anew"
    return anew.get(field) or partly.get(field) or "from the next call on"


def _matched(old: Sequence[Bindable], new: Sequence[Bindable]) -> dict[int, int]:
    """Positions in the new pipeline, with those of the old one they go on from: as in `fitting.pairs`."""
    found: dict[int, int] = {}
    left = list(range(len(old) - 1, -1, -1))  # from the inside out, as states are matched
    for alike in (_equal, _same_kind):
        for position in range(len(new) - 1, -1, -1):
            at = next((at for at in left if alike(old[at], new[position])), None) if position not in found else None
            if at is not None:
                found[position] = at
                left.remove(at)
    return found


def _equal(one: object, other: object) -> bool:
    return not changed_fields(one, other)


def _same_kind(one: object, other: object) -> bool:
    return type(one) is type(other)


def _in_order(positions: Sequence[int]) -> set[int]:
    """The most of them that stand in their old order still (a longest increasing run); the others have moved."""
    runs: list[list[int]] = []
    for at in positions:
        before = [run for run in runs if run[-1] < at]
        runs.append([*(_longest(before) if before else []), at])
    return set(_longest(runs)) if runs else set()


def _longest(runs: Sequence[list[int]]) -> list[int]:
    return max((len(run), run) for run in runs)[1]


def _because(policy: Any, why: str) -> str:
    keeps = getattr(policy, "keeps", "")
    return f"{keeps}: {why}" if keeps else ""


def _kind(policy: Bindable) -> str:
    return str(describe(policy)["policy"])


def _value(policy: object, field: str) -> Any:
    return _plain(getattr(policy, field, None))


def differing(before: Any, after: Any) -> tuple[Any, Any]:
    """Two values; of two tables, the entries that are not the same."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return before, after
    same = {key for key in before if key in after and before[key] == after[key]}
    first, second = ({key: value for key, value in table.items() if key not in same} for table in (before, after))
    return first, second


def worded(value: Any) -> str:
    """As YAML has it: ``{expo: {base: 2, factor: 1}}``."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {worded(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(worded, value))}]"
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    text = worded(value)
    return text if len(text) <= 60 else text[:57] + "..."
