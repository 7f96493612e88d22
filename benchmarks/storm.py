"""Do retries turn ten seconds of trouble into minutes? The storm of the tests, drawn.

A server in virtual time loses nine tenths of its capacity for ten seconds. Prints, second by second, what is asked of
each client, what the server receives and what succeeds: for one attempt, for four naive ones, and for the default
pipeline; then the figures that are wanted. `--quick` changes nothing: it takes a few seconds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests/support"))

from retry_storm import Client, Curve, Send, Storm, naive  # noqa: E402

from resilience import Breaker, Bulkhead, Deadline, Op, Pipeline, Retry, Timeout  # noqa: E402

STORMS = {
    "a tenth of the capacity for ten seconds": Storm(),
    "a hang of ten seconds": Storm(left=0.001),
    "four times as many calls for ten seconds": Storm(left=1.0, surge=4.0),
}


def default_pipeline() -> Client:
    pipeline = Pipeline(Deadline(10), Retry(attempts=4), Breaker(), Bulkhead(2000), Timeout(1), seed=1)
    op = Op("stormy", idempotent=True)

    async def client(send: Send) -> None:
        await pipeline.run(send, op=op)

    return client


def bar(value: float, most: float, width: int = 24) -> str:
    return ("#" * round(value / most * width)).ljust(width)


def draw(curves: dict[str, Curve]) -> None:
    """One row every two seconds: requests received, and calls that succeeded, of each client."""
    most = max(max(curve.received) for curve in curves.values())
    print("second" + "".join(f"  {name:30}" for name in curves) + "   (# received, digits: % of calls that succeed)")
    for second in range(16, 70, 2):
        cells = []
        for curve in curves.values():
            cells.append(f"  {bar(curve.received[second], most)}{min(1, curve.goodput(second)):5.0%} ")
        trouble = " <- trouble" if curve.begins <= second < curve.ends else ""
        print(f"{second:6}" + "".join(cells) + trouble)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="accepted for the sake of `make bench-quick`")
    parser.parse_args()
    for title, storm in STORMS.items():
        curves = {
            "one attempt": storm.play(naive(attempts=1)),
            "four naive attempts": storm.play(naive()),
            "the default pipeline": storm.play(default_pipeline()),
        }
        print(f"\n{title}; {storm.load:g} calls a second, capacity {storm.capacity:g}")
        if title == next(iter(STORMS)):
            draw(curves)
        for name, curve in curves.items():
            back = "never" if curve.recovery == float("inf") else f"after {curve.recovery:.0f} s"
            print(f"  {name:22}{curve.load:5.2f} requests per call during the trouble; 95 % of calls succeed {back}")
        ours, other = curves["the default pipeline"], curves["four naive attempts"]
        good = ours.load <= 1.25 and ours.recovery <= 30 and other.recovery == float("inf")
        print("  wanted of the pipeline: at most 1.25, within 30 s; of the naive client: never", end="")
        print("" if good else "   MISSED")


if __name__ == "__main__":
    main()
