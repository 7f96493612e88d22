"""A newcomer's first twenty lines with each policy: plain functions, no exchange, no operation.

Each does on the first try what it says, or says at decoration why it cannot.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from resilience import (
    Breaker,
    Bulkhead,
    BulkheadFull,
    CircuitOpen,
    ConfigError,
    Deadline,
    Fallback,
    Hedge,
    Op,
    Pipeline,
    Pool,
    RateLimit,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
)
from resilience.functions import name_of, opens_stream
from resilience.testing import virtual
from resilience.verdict import Kind


class ApiError(Exception):
    """Some library's error, of which we know nothing."""


def clock() -> float:
    return asyncio.get_running_loop().time()


# -- retry ----------------------------------------------------------------------------------------------------


@virtual
async def test_retry_on_a_type() -> None:
    """Three attempts by default, for the errors that were named, whatever the verdict says of them."""
    tries = 0

    @Retry(on=ApiError, wait=0)
    async def fetch(symbol: str) -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ApiError(symbol)
        return symbol.lower()

    assert await fetch("BTC") == "btc"
    assert tries == 3


@virtual
async def test_retry_gives_up_with_the_functions_own_error() -> None:
    """The last one, not a wrapper; others are not repeated at all."""
    tries = 0

    @Retry(attempts=2, on=(ApiError, OSError), wait=0)
    async def fetch(error: Exception) -> str:
        nonlocal tries
        tries += 1
        raise error

    last = ApiError("down")
    with pytest.raises(ApiError) as caught:
        await fetch(last)
    assert caught.value is last
    assert tries == 2
    with pytest.raises(KeyError):
        await fetch(KeyError())
    assert tries == 3


@pytest.mark.parametrize(
    "on", [lambda error: error.args == (429,), "ApiError", ["OSError", "ApiError"], [OSError, ApiError]]
)
@virtual
async def test_retry_on_predicates_and_names(on: Any) -> None:
    """A function of the error; a name, as in a file; lists of either."""
    tries = 0

    @Retry(on=on, wait=0)
    async def fetch() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ApiError(429)
        return tries

    assert await fetch() == 2


@virtual
async def test_retry_on_a_result() -> None:
    """A value that is not there yet is asked for again; when the attempts are spent it is returned as it is."""
    values = iter([None, None, "filled", None, None, None])

    @Retry(attempts=3, result=lambda value: value is None, wait=1, jitter="none")
    async def status(order: str) -> str | None:
        return next(values)

    assert await status("1") == "filled"
    assert clock() == 2
    assert await status("2") is None


@virtual
async def test_retry_on_errors_and_results() -> None:
    """Both rules count the same attempts."""
    steps = iter([ApiError(), None, 7])

    @Retry(attempts=3, on=ApiError, result=lambda value: value is None, wait=0)
    async def fetch() -> int | None:
        step = next(steps)
        if isinstance(step, Exception):
            raise step
        return step

    assert await fetch() == 7


@pytest.mark.parametrize("guard", [Retry(), Retry(attempts=5), Pipeline(Retry()), Timeout(1) + Retry()])
def test_retry_with_neither_is_refused_at_decoration(guard: Any) -> None:
    """With the function's name and the cure, before anything is sent twice."""

    async def buy() -> None: ...

    with pytest.raises(ConfigError) as caught:
        guard(buy)
    assert "buy: Retry() cannot know which errors of this function are safe to repeat" in str(caught.value)
    assert "Retry(on=(OSError, TimeoutError))" in str(caught.value)


@virtual
async def test_retry_where_something_is_known() -> None:
    """An operation, or the pipeline's own reading of errors, speaks for the function."""
    tries = 0

    async def fetch() -> int:
        nonlocal tries
        tries += 1
        if tries % 2:
            raise ConnectionResetError
        return tries

    assert await Pipeline(Retry(wait=0)).guard(Op("fetch", idempotent=True))(fetch)() == 2
    told = Pipeline(Retry(wait=0), classify=lambda error, op: Verdict(Kind.FAILED))
    assert await told(fetch)() == 4
    with pytest.raises(ConnectionResetError):  # it may have been executed, and may not happen twice
        await Pipeline(Retry(wait=0)).guard(Op("buy"))(fetch)()


# -- the others -----------------------------------------------------------------------------------------------


@virtual
async def test_timeout() -> None:
    """A built-in TimeoutError, at the time that was said."""
    cancelled: list[bool] = []

    @Timeout(2.0)
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(TimeoutError) as caught:
        await slow()
    assert isinstance(caught.value, TimedOut)
    assert (clock(), cancelled) == (2.0, [True])


@virtual
async def test_deadline_over_retries() -> None:
    """All attempts and their pauses together; the function's own error, with a note."""

    @Deadline(5)
    @Retry(attempts=10, on=ApiError, wait=2, jitter="none")
    async def fetch() -> None:
        raise ApiError("down")

    with pytest.raises(ApiError) as caught:
        await fetch()
    assert clock() == 4
    assert "deadline_would_exceed" in caught.value.__notes__[-1]


@virtual
async def test_bulkhead() -> None:
    """The third of two is refused."""

    @Bulkhead(2)
    async def work() -> str:
        await asyncio.sleep(1)
        return "done"

    done = await asyncio.gather(work(), work(), work(), return_exceptions=True)
    assert done[:2] == ["done", "done"]
    assert isinstance(done[2], BulkheadFull)
    assert await work() == "done"


@virtual
async def test_rate_limit() -> None:
    """The third of two waits."""
    begun: list[float] = []

    @RateLimit("2/10s")
    async def work() -> None:
        begun.append(clock())

    await asyncio.gather(work(), work(), work())
    assert begun[0] == 0
    assert begun[2] >= 10


@pytest.mark.parametrize(
    ("on", "error", "trips"),
    [
        (ApiError, ApiError(), True),
        ((ApiError, OSError), OSError(), True),
        (lambda error: isinstance(error, ApiError), ApiError(), True),
        (ApiError, OSError(), False),
        (None, OSError(), True),  # nobody can tell what became of it
        (None, TimeoutError(), True),
        (None, ApiError(), False),  # it answered, as far as anybody knows
        (None, ValueError(), False),
    ],
)
@virtual
async def test_breaker(on: Any, error: Exception, trips: bool) -> None:
    """`on` alone decides what is sick; with none, broken connections and timeouts are."""

    @Breaker(consecutive=3, on=on)
    async def fetch() -> None:
        raise error

    for _ in range(3):
        with pytest.raises(type(error)):
            await fetch()
    with pytest.raises(CircuitOpen if trips else type(error)) as caught:
        await fetch()
    if isinstance(caught.value, CircuitOpen):
        assert 5 <= (caught.value.retry_after or 0) <= 6


@virtual
async def test_fallback_on_a_type() -> None:
    """A value, a function of the error, a coroutine function of it."""

    async def fails() -> str:
        raise ApiError("down")

    async def later(error: Exception) -> str:
        return f"later {error}"

    assert await Fallback("cached", on=ApiError)(fails)() == "cached"
    assert await Fallback(call=lambda error: f"seen {error}", on=ApiError)(fails)() == "seen down"
    assert await Fallback(call=later, on=lambda error: True)(fails)() == "later down"
    with pytest.raises(ApiError):
        await Fallback("cached", on=OSError)(fails)()


@virtual
async def test_fallback_with_no_on_answers_where_nothing_can_have_happened() -> None:
    """Our own refusals, and a connection that was never made; not an error that may be the answer."""

    @Fallback("busy")
    @Bulkhead(1)
    async def work() -> str:
        await asyncio.sleep(1)
        return "done"

    assert await asyncio.gather(work(), work()) == ["done", "busy"]

    @Fallback("nobody there")
    async def connect(error: Exception) -> str:
        raise error

    assert await connect(ConnectionRefusedError()) == "nobody there"
    for error in (ApiError(), OSError(), TimeoutError()):
        with pytest.raises(type(error)):
            await connect(error)


@virtual
async def test_hedge_needs_to_know_that_it_may() -> None:
    """Refused at decoration with the cure; with an idempotent operation it asks twice."""
    asked = 0

    async def fetch() -> int:
        nonlocal asked
        asked += 1
        mine = asked
        await asyncio.sleep(10 if mine == 1 else 0)
        return mine

    for guard in (Hedge(0.5), Pipeline(Hedge(0.5)), Timeout(9) + Hedge(0.5)):
        with pytest.raises(ConfigError, match=r"fetch: Hedge\(\) may send .*guard the function with an Op\(..., idemp"):
            guard(fetch)
    assert await Pipeline(Hedge(0.5)).guard(Op("fetch", idempotent=True))(fetch)() == 2
    assert clock() == 0.5


@virtual
async def test_pool() -> None:
    """The first argument comes from the pool, and is no longer the caller's to give."""

    class Session:
        opened = 0

        def __init__(self) -> None:
            Session.opened += 1

    @Pool(Session, name="rest")
    async def fetch(session: Session, symbol: str, *, depth: int = 5) -> tuple[type, str, int]:
        return type(session), symbol, depth

    assert await fetch("BTC") == (Session, "BTC", 5)
    assert await fetch("ETH", depth=1) == (Session, "ETH", 1)
    assert Session.opened == 1
    assert list(inspect.signature(fetch).parameters) == ["symbol", "depth"]
    await fetch.pipeline.aclose()  # type: ignore[attr-defined]


# -- what can be decorated ------------------------------------------------------------------------------------


class Client:
    prefix = "x"

    @Timeout(1)
    async def method(self, symbol: str) -> str:
        """Fetch it."""
        return self.prefix + symbol

    @Retry(on=OSError)
    @Timeout(1)
    @staticmethod
    async def inner_static(symbol: str) -> str:
        return "s" + symbol

    @staticmethod
    @Timeout(1)
    async def outer_static(symbol: str) -> str:
        return "o" + symbol

    @Pipeline(Timeout(1))
    @classmethod
    async def inner_class(cls, symbol: str) -> str:
        return cls.prefix + symbol

    @classmethod
    @Timeout(1)
    async def outer_class(cls, symbol: str) -> str:
        return cls.prefix + symbol

    async def __call__(self, symbol: str) -> str:
        return "c" + symbol


async def two(first: str, second: str) -> str:
    return first + second


@virtual
async def test_methods_of_all_kinds() -> None:
    """With the decorator of the class on either side."""
    client = Client()
    assert await client.method("1") == await Client.method(client, "1") == "x1"
    assert await client.inner_static("1") == await Client.inner_static("1") == "s1"
    assert await client.outer_static("1") == "o1"
    assert await client.inner_class("1") == await Client.inner_class("1") == "x1"
    assert await Client.outer_class("1") == "x1"
    kinds = [type(policy).__name__ for policy in Client.inner_static.pipeline.policies]  # type: ignore[attr-defined]
    assert kinds == ["Retry", "Timeout"]
    bound = Timeout(1)(client.method)
    assert await bound("2") == "x2"


@virtual
async def test_objects_and_partials() -> None:
    """Whatever is a coroutine function by nature; the operation has the name of the function."""
    assert await Timeout(1)(Client())("1") == "c1"
    partly = Timeout(1)(functools.partial(functools.partial(two, "a"), second="b"))
    assert await partly() == "ab"
    names: list[str] = []

    def classify(error: Exception, op: Op) -> Verdict:
        names.append(op.name)
        return Verdict(Kind.REJECTED)

    async def fails(first: int) -> None:
        raise ApiError

    class Object:
        async def __call__(self) -> None:
            raise ApiError

    pipeline = Pipeline(Breaker(), classify=classify)
    for fn in (pipeline(functools.partial(fails, 1)), pipeline(Object())):
        with pytest.raises(ApiError):
            await fn()
    assert [name.rpartition(".")[2] for name in names] == ["fails", "Object"]


@virtual
async def test_functions_that_return_awaitables_are_run_and_not_decorated() -> None:
    """Nobody can tell at decoration that a plain function returns one: the error says what takes it."""

    def later(value: int) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(value)
        return future

    with pytest.raises(
        TypeError, match=r"later is not a coroutine function: declare it with async def\. \(Pipeline.ru"
    ):
        Timeout(1)(later)
    assert await Pipeline(Timeout(1)).run(later, 7) == 7
    assert await Pipeline(Retry(wait=0)).run(lambda: two("a", "b")) == "ab"


def test_what_a_function_is() -> None:
    """A stream, or a call, and nothing in between."""

    async def stream() -> Any:
        yield 1

    assert opens_stream(stream) is True
    assert opens_stream(two) is False
    assert name_of(functools.partial(two, "a")) == "two"
    assert name_of(Client()) == "Client"


def plain() -> int:
    return 1


class Plain:
    def __call__(self) -> int:
        return 1


@pytest.mark.parametrize("wrong", [plain, Plain(), functools.partial(plain), Client, 3, None, staticmethod(plain)])
@pytest.mark.parametrize("guard", [Timeout(1), Pipeline(Timeout(1)), Pipeline().guard(Op("x"))])
def test_what_cannot_be_awaited_is_refused_at_decoration(guard: Callable[[Any], Any], wrong: Any) -> None:
    """A function, an object, a partial, a class whose objects could be."""
    with pytest.raises(TypeError, match="is not a coroutine function: declare it with async def"):
        guard(wrong)


@pytest.mark.parametrize("guard", [Timeout(1), Pipeline(Timeout(1)), Pipeline().guard(Op("x"))])
def test_a_decorated_function_looks_like_the_function(guard: Callable[[Any], Any]) -> None:
    """Name, module, documentation, signature, annotations; unwrap finds it."""

    async def fetch(symbol: str, /, depth: int = 5, *rest: int, raw: bool = False, **more: str) -> dict[str, int]:
        """Fetch it."""
        return {}

    guarded = guard(fetch)
    assert inspect.signature(guarded) == inspect.signature(fetch)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(guarded, name) == getattr(fetch, name)
    assert inspect.iscoroutinefunction(guarded)
    assert inspect.unwrap(guarded) is fetch
    assert inspect.unwrap(guard(guarded)) is fetch


@virtual
async def test_two_functions_share_a_pipeline_and_not_a_policy() -> None:
    """A policy is configuration: what shares a limit is a pipeline."""
    one, shared = Bulkhead(1), Pipeline(Bulkhead(1))

    async def outer(inner: Callable[[], Any]) -> str:
        return str(await inner())

    async def inner() -> str:
        return "inner"

    assert await one(outer)(one(inner)) == "inner"
    with pytest.raises(BulkheadFull):
        await shared(outer)(shared(inner))
