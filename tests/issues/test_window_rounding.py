"""A breaker's window forgets nothing because the sum of a bucket's beginning and its width was rounded up."""

from __future__ import annotations

import itertools
import math

from resilience.circuit.window import Window


def test_two_results_at_one_time_at_the_edge_of_a_bucket_both_count() -> None:
    """An ulp before the tenth part of the window is over, the clock stands still for two results."""
    lost = []
    for hundredths, buckets in itertools.product(range(1000), range(2, 9)):
        window = Window(3.0)
        began = hundredths / 100
        window.catch_up(began)
        window.calls += 1
        at = math.nextafter(began + buckets * 0.3, 0.0)
        for _ in range(2):
            window.catch_up(at)
            window.calls += 1
        if window.calls != 3:
            lost.append((began, at))
    assert lost == []
