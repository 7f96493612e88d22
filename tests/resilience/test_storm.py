"""A retry storm: ten seconds of trouble must not become minutes, and retries must not be what causes them.

Each client plays the same storm on the virtual loop. The naive one must stay down, or the storm proves nothing.
"""

from __future__ import annotations

import pytest
from retry_storm import Client, Curve, Send, Storm, naive

from resilience import Breaker, Bulkhead, Deadline, Op, Pipeline, Retry, Timeout

STORMS = {
    "the server has a tenth of its capacity": Storm(),
    "the server hangs": Storm(left=0.001),
    "four times as many calls": Storm(left=1.0, surge=4.0),
}
OP = Op("stormy", idempotent=True)


def market() -> Client:
    """The default pipeline."""
    pipeline = Pipeline(Deadline(10), Retry(attempts=4), Breaker(), Bulkhead(2000), Timeout(1), seed=1)

    async def client(send: Send) -> None:
        await pipeline.run(send, op=OP)

    return client


@pytest.fixture(scope="module")
def curves() -> dict[str, tuple[Curve, Curve]]:
    """The default pipeline and the naive client through each storm."""
    return {name: (storm.play(market()), storm.play(naive())) for name, storm in STORMS.items()}


def test_with_one_attempt_the_server_recovers_by_itself() -> None:
    """The load is below the capacity: what stays down stays down because of its retries."""
    curve = Storm().play(naive(attempts=1))
    assert curve.load == 1.0
    assert 5 < curve.recovery < 30


@pytest.mark.parametrize("name", STORMS)
def test_four_naive_attempts_stay_collapsed(name: str, curves: dict[str, tuple[Curve, Curve]]) -> None:
    """A minute after the trouble has ended, not one call in ten succeeds."""
    _, curve = curves[name]
    assert curve.recovery == float("inf")
    assert sum(curve.good[-20:]) < 0.1 * sum(curve.offered[-20:])


@pytest.mark.parametrize("name", STORMS)
def test_the_default_pipeline_recovers(name: str, curves: dict[str, tuple[Curve, Curve]]) -> None:
    """Goodput is back to 95 % within thirty seconds, and stays there."""
    curve, _ = curves[name]
    assert curve.goodput(curve.begins - 1) > 0.95
    assert curve.recovery <= 30


@pytest.mark.parametrize("name", STORMS)
def test_the_default_pipeline_adds_little_load(name: str, curves: dict[str, tuple[Curve, Curve]]) -> None:
    """While the server is in trouble it receives at most a quarter more than what is asked of us."""
    curve, other = curves[name]
    assert curve.load <= 1.25
    assert other.load > 2
