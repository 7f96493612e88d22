"""The presets: what they promise by their names holds by their numbers, and on a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import resilience
from resilience import ConfigError, Deadline, Hedge, Kind, Op, Pipeline, Pool, Retry, TimedOut, Timeout, Verdict, preset
from resilience.config import check_file
from resilience.config.shipped import PRESETS
from resilience.testing import Script, never, virtual

FOLDER = Path(resilience.__file__).parent / "config" / "presets"
READ = Op("ticker", idempotent=True)
ORDER = Op("create_order")
WITH_DEADLINE = [name for name in PRESETS if name != "virtuoso"]


def policy(pipeline: Pipeline, kind: type) -> Any:
    return next((each for each in pipeline.policies if isinstance(each, kind)), None)


def waits(retry: Retry) -> float:
    """The longest that all pauses between attempts can last; the jitter never adds to them."""
    assert retry.jitter == "full"
    ((name, fields),) = retry.wait.items()  # type: ignore[union-attr]
    pauses = range(retry.attempts - 1)
    if name == "expo":
        return sum(min(fields["factor"] * fields["base"] ** n, retry.max_wait) for n in pauses)
    assert name == "constant"
    return sum(min(fields["interval"], retry.max_wait) for _ in pauses)


def attempt(pipeline: Pipeline) -> float:
    """The longest that one attempt can last: its turn in our own queue, a second branch, and the timeout."""
    timeout, hedge, bulkhead = (policy(pipeline, kind) for kind in (Timeout, Hedge, resilience.Bulkhead))
    queued = bulkhead.max_wait if bulkhead.queue else 0.0
    seconds: float = queued + timeout.seconds
    if hedge is not None:  # its measured delay never exceeds what an attempt may last
        seconds += hedge.extra * max(hedge.initial, hedge.least, timeout.seconds)
    return seconds


@pytest.mark.parametrize("name", WITH_DEADLINE)
def test_the_deadline_fits_its_own_worst_case(name: str) -> None:
    """Attempts x (queue + timeout) + waits; and no more than a fifth of it is slack."""
    pipeline = preset(name)
    retry = policy(pipeline, Retry)
    worst = retry.attempts * attempt(pipeline) + waits(retry)
    deadline = policy(pipeline, Deadline).seconds
    assert worst <= deadline <= 1.2 * worst
    assert retry.max_retry_after < deadline


@virtual
async def _lasts(pipeline: Pipeline, op: Op) -> tuple[float, int]:
    """Seconds until a call gives up whose attempts all hang, and how many there were."""
    from asyncio import get_running_loop

    script = Script(*[never] * 12)
    start = get_running_loop().time()
    with pytest.raises(TimedOut):
        await pipeline.run(script, op=op)
    return get_running_loop().time() - start, len(script.calls)


@pytest.mark.parametrize("name", WITH_DEADLINE)
def test_a_call_in_which_everything_hangs_makes_all_its_attempts_within_the_deadline(name: str) -> None:
    """On the virtual clock: nothing of what the preset promises is cut off."""
    pipeline = preset(name)
    lasted, calls = _lasts(pipeline, READ)
    hedge = policy(pipeline, Hedge)
    assert calls == policy(pipeline, Retry).attempts * (1 + (hedge.extra if hedge else 0))
    assert lasted <= policy(pipeline, Deadline).seconds


def test_an_order_of_which_nothing_is_known_is_never_repeated() -> None:
    """It timed out, and may have been executed."""
    for name in ("orders", "market-data", "low-latency", "bulk-download", "virtuoso"):
        _, calls = _lasts(preset(name), ORDER)
        assert calls == 1, name


@virtual
async def _calls(kind: Kind) -> int:
    script = Script(*[OSError("no")] * 9)
    with pytest.raises(OSError, match="no"):
        await preset("orders", classify=lambda exc, op: Verdict(kind)).run(script, op=ORDER)
    return len(script.calls)


def test_an_order_is_repeated_as_the_verdict_table_permits() -> None:
    """What was certainly not executed, once; nothing in the preset overrides the verdict."""
    assert [_calls(kind) for kind in (Kind.FAILED, Kind.THROTTLED, Kind.UNKNOWN, Kind.REJECTED)] == [2, 2, 1, 1]
    pipeline = preset("orders")
    retry = policy(pipeline, Retry)
    assert (retry.on, retry.result) == (None, None)
    assert not {type(each).__name__ for each in pipeline.policies} & {"Hedge", "Fallback", "Cache", "Coalesce"}


@pytest.mark.parametrize("name", WITH_DEADLINE)
def test_a_circuit_is_never_open_for_longer_than_a_market_is_unwatched(name: str) -> None:
    """Half a minute."""
    assert policy(preset(name), resilience.Breaker).max_open_for == 30


def test_virtuoso_is_the_users_own_numbers() -> None:
    """Three retries, 2^n s and a random part of a second up to 10 s, his timeouts; no deadline and no budget."""
    retry, timeout = preset("virtuoso").policies
    expo = {"expo": {"base": 2.0, "factor": 1.0}}
    assert retry == Retry(attempts=4, wait=expo, jitter="additive", max_wait=10, budget=None)
    per_op = {
        "ticker": 10.0, "orderbook": 15.0, "trades": 15.0, "ohlcv": 30.0, "markets": 20.0, "risk_limits": 20.0,
        "long_short_ratio": 15.0, "funding_rate": 10.0,
    }  # fmt: skip
    assert timeout == Timeout(15, per_op=per_op)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_file_like_any_other(name: str) -> None:
    """`resilience check` finds nothing in it, and it holds one pipeline, named as the file is."""
    path = FOLDER / f"{name}.yaml"
    assert check_file(path) == []
    assert list(resilience.load(path, resources={"rest": list})) == [name]


def test_every_file_of_the_folder_is_a_preset() -> None:
    """And none is missing."""
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lends_only_where_something_is_lent(name: str) -> None:
    """`pool: rest` is the last policy if there is such a resource, and else left out."""
    assert policy(preset(name), Pool) is None
    assert preset(name, resources={"other": list}).policies == preset(name).policies
    pool = preset(name, resources={"rest": list}).policies[-1]
    assert pool == Pool(list, name="rest")


def test_each_preset_is_a_new_pipeline() -> None:
    """With states of its own, a name, and observers."""
    seen: list[object] = []
    one, other = preset("orders", observers=[seen.append]), preset("orders")
    assert one is not other
    assert one.name == "orders"
    assert one.observers == (seen.append,)


def test_an_unknown_preset_is_an_error_that_names_the_nearest() -> None:
    """And all that there are."""
    with pytest.raises(
        ConfigError, match=r"no preset is named 'market_data'; did you mean market-data\? \(there are: m"
    ):
        preset("market_data")
