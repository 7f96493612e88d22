"""How many calls a second does `resilience whatif` simulate?

One process, calls through real pipelines in virtual time, against a modelled server with faults; per second of CPU, for
pipelines of one policy, of six, and for a hedge (which makes tasks). Wanted: thousands. `--quick` takes a third.
"""

from __future__ import annotations

import argparse
import time

from resilience import Breaker, Bulkhead, Deadline, Hedge, RateLimit, Retry, Timeout
from resilience.whatif import Candidate, Modelled
from resilience.whatif.dice import Dice
from resilience.whatif.faults import Fault
from resilience.whatif.latency import Latency
from resilience.whatif.model import Model, Operation, Server
from resilience.whatif.play import play

WANTED = 2_000
CANDIDATES = [
    Candidate("timeout alone", [Timeout(1)]),
    Candidate(
        "six policies",
        [Deadline(10), Retry(attempts=4), Breaker(), RateLimit("6000/5s"), Bulkhead(500, queue=100), Timeout(1)],
    ),
    Candidate("with a hedge", [Deadline(10), Retry(attempts=3), Hedge("p95"), Breaker(), Timeout(1)]),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the calls")
    seconds = 40.0 if parser.parse_args().quick else 120.0
    model = Model(
        version=1,
        operations={"ticker": Operation("100/s", Latency(median=0.05, sigma=0.6))},
        faults=(Fault("reset", 0.02), Fault("hang", 0.01), Fault("server_error", 0.02)),
        server=Server(capacity="150/s"),
    )
    world = Modelled(model, seconds=seconds)
    print(f"{'candidate':20}{'calls':>8}{'requests':>10}{'CPU s':>8}{'calls/s':>9}{'virtual : real':>16}")
    for candidate in CANDIDATES:
        begun = time.process_time()
        run = play(candidate, world, Dice(1))
        took = time.process_time() - begun
        rate = len(run.begun) / took
        missed = "" if rate >= WANTED else "   MISSED"
        columns = f"{len(run.begun):8}{len(run.sent):10}{took:8.2f}{rate:9.0f}{seconds / took:15.0f}x"
        print(f"{candidate.name:20}{columns}{missed}")
    print(f"wanted: {WANTED} calls a second of CPU")


if __name__ == "__main__":
    main()
