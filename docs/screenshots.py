"""Makes docs/dashboard.png and docs/trace.png from a real run of the demonstration. Needs Chromium and Playwright.

.venv/bin/python docs/screenshots.py
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
MOST_BYTES = 300_000  # of a picture
SECONDS = 45  # of calls before the first picture: most of the overview's minute
ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def main() -> None:
    command = [sys.executable, "-u", "-m", "exchanges.cli", "demo", "--dashboard", "--seconds", "90", "--seed", "7"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)  # noqa: S603
    try:
        address = found(demo)
        time.sleep(SECONDS)
        look(address)
    finally:
        demo.terminate()
        demo.wait(20)


def found(demo: subprocess.Popen[str]) -> str:
    """Where the demonstration says that its dashboard is."""
    for line in demo.stdout or ():
        if where := re.search(r"dashboard on (http://\S+)", line):
            return where[1]
    raise SystemExit("screenshots: the demonstration named no dashboard")


def told(address: str) -> str:
    """The id of a call that shows much: three or four attempts, won in the end, its time spent in several places."""
    q = urllib.parse.quote("reason:retried outcome:ok attempts>2 attempts<5 duration>150 duration<2500")
    with urllib.request.urlopen(f"{address}/api/traces?q={q}&limit=60") as reply:  # noqa: S310
        calls = json.load(reply)["traces"]
    if not calls:
        raise SystemExit("screenshots: no call was retried twice")

    def variety(call: dict[str, Any]) -> float:
        with urllib.request.urlopen(f"{address}/api/traces/{call['trace_id']}") as reply:  # noqa: S310
            shares = json.load(reply)["shares"].values()
        return sum(share > 0.08 for share in shares) - max(shares)

    best: str = max(calls, key=variety)["trace_id"]
    return best


def look(address: str) -> None:
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGS)
        page = browser.new_page(color_scheme="dark")
        for path, ready, height, name in (
            ("/", ".headline", 1150, "dashboard.png"),
            (f"/traces/{told(address)}", ".waterfall", 930, "trace.png"),
        ):
            page.set_viewport_size({"width": 1280, "height": height})
            page.goto(address + path)
            page.wait_for_selector(ready)
            page.wait_for_timeout(600)
            picture = page.screenshot(path=HERE / name)
            if len(picture) > MOST_BYTES:
                raise SystemExit(f"screenshots: {name} has {len(picture)} bytes, at most {MOST_BYTES} are wanted")
            print(f"{name}: {len(picture)} bytes")
        browser.close()


if __name__ == "__main__":
    main()
