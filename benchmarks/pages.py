"""How soon is a page of the dashboard there, in a real browser, with 10,000 traces stored?

Milliseconds from the navigation to the moment when the page's own content stands in the document, in headless Chromium
over loopback, the server in a process of its own. Cold: a fresh profile; warm: the same page once more. The best of the
rounds is what the page costs; others use this machine too. ``--quick`` takes a tenth of the traces.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from typing import Any

from resilience.dashboard import Dashboard, Store
from resilience.dashboard.rows import Span

WANTED = 300.0  # ms
A_TRACE = 10
PAGES = {
    "/": ".headline",
    "/traces": "tbody a",
    "/traces/{id}": ".waterfall",
    "/latency": ".heat",
    "/errors": "tbody tr",
    "/compare": "tbody a",
    "/traces?q=error%3Areset": "tbody a",
}
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WATCH = """(() => {
  const wanted = %r;
  const look = () => {
    if (window.there !== undefined || !document.querySelector("main " + wanted)) return;
    window.there = performance.now();
    requestAnimationFrame(() => requestAnimationFrame(() => { window.painted = performance.now(); }));
  };
  const watch = () => new MutationObserver(look).observe(document, { childList: true, subtree: true });
  watch();
})();"""


def trace(number: int, dice: random.Random, now: int) -> list[Span]:
    """A call of nine attempts that ended within the last ten minutes."""
    trace_id, call_id = f"{dice.getrandbits(128) | 1:032x}", f"{dice.getrandbits(64) | 1:016x}"
    at, op = now - dice.randrange(600_000_000_000), f"op-{number % 20}"
    failed = number % 7 == 0
    spans = []
    for attempt in range(1, A_TRACE):
        last = attempt == A_TRACE - 1
        attributes: dict[str, Any] = {
            "resilience.op": op, "resilience.attempt.number": attempt, "resilience.attempt.sent": True,
            "resilience.attempt.kind": "original" if attempt == 1 else "retry",
            "resilience.attempt.outcome": "ok" if last and not failed else "failed",
            "resilience.wait.backoff": 0.02, "resilience.phase.first_byte": dice.random() / 100,
            "http.request.method": "GET", "url.template": "/v5/market/tickers", "server.address": "api.bybit.com",
        }  # fmt: skip
        if not last or failed:
            attributes["error.type"] = dice.choice(("reset", "timeout", "http_502"))
        begins = at + attempt * 50_000_000
        status, ends = ("error" if "error.type" in attributes else "unset"), begins + dice.randrange(30_000_000)
        spans.append(Span(
            trace_id, f"{dice.getrandbits(64) | 1:016x}", call_id, "GET /v5/market/tickers", "client", begins, ends,
            status, attributes, (), "bot", "1",
        ))  # fmt: skip
    call = {
        "resilience.op": op, "resilience.pipeline": "market", "resilience.attempts": A_TRACE - 1,
        "resilience.outcome": "failed" if failed else "ok", "resilience.sampling.reason": "retried",
        "resilience.sampling.probability": 1.0, "resilience.why": "8 resets, waited 10 ms and 7 more",
    }  # fmt: skip
    if failed:
        call["error.type"] = "timeout"
    ends = at + dice.randrange(450_000_000, 900_000_000)
    spans.append(Span(trace_id, call_id, "", op, "internal", at, ends, "unset", call, (), "bot", "1"))
    return spans


def serve(traces: int) -> None:
    """In a process of its own: says its address and the id of a trace, and stays until its input ends."""
    store, dice = Store(), random.Random(4)
    first = ""

    async def main() -> None:
        nonlocal first
        async with Dashboard(port=0, store=store) as dashboard:
            for number in range(traces):
                spans = trace(number, dice, time.time_ns())
                first = spans[0].trace_id
                store.add(spans)
                dashboard.live.heard(spans)
            assert store.status()["traces"] == traces
            print(dashboard.address, first, flush=True)
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            threading.Thread(
                target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True
            ).start()
            await ended.wait()

    asyncio.run(main())


def browser() -> str:
    names = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), "")


def visit(page: Any, path: str, selector: str) -> tuple[float, float]:
    """When the content was there, and when it had been painted."""
    page.goto(path)
    page.wait_for_selector("main " + selector)
    page.wait_for_function("() => window.painted !== undefined")
    return page.evaluate("() => window.there"), page.evaluate("() => window.painted")


def measure(address: str, trace_id: str, rounds: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    from playwright.sync_api import sync_playwright

    found: dict[str, dict[str, list[tuple[float, float]]]] = {path: {"cold": [], "warm": []} for path in PAGES}
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=browser(), args=ARGS)
        for _ in range(rounds):
            for path, selector in PAGES.items():
                context = chromium.new_context(base_url=address, bypass_csp=True)
                page = context.new_page()
                page.add_init_script(WATCH % selector)
                for kind in ("cold", "warm"):
                    found[path][kind].append(visit(page, path.replace("{id}", trace_id), selector))
                context.close()
        chromium.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 traces, one round")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    if importlib.util.find_spec("playwright") is None or not browser():
        print("SKIPPED: no playwright or no Chromium here; how soon a page is there was not measured")
        return
    traces, rounds = (1_000, 1) if options.quick else (10_000, 12)
    command = [sys.executable, __file__, "--serve", str(traces)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 (ourselves)
    try:
        assert server.stdout is not None
        address, trace_id = server.stdout.readline().split()
        found = measure(address, trace_id, rounds)
    finally:
        server.kill()
        server.communicate()
    print(f"ms until a page is there and painted, {traces:,} traces stored, {rounds} rounds; wanted: < {WANTED:g}")
    print(f"{'':28}{'cold: best':>12}{'median':>9}{'painted':>9}{'warm: best':>13}{'median':>9}{'painted':>9}")
    for path, kinds in found.items():
        row = f"{path:28}"
        for kind, width in (("cold", 12), ("warm", 13)):
            there, painted = zip(*kinds[kind], strict=True)
            row += f"{min(there):{width}.0f}{statistics.median(there):9.0f}{min(painted):9.0f}"
        print(row)


if __name__ == "__main__":
    main()
