"""The pages in a real browser: what they show, how they are worked, and that what a span says can do nothing there."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from traces import START, attempt, call, hedged, ids, retried, span

from resilience import Breaker, Bulkhead, Chaos, CircuitOpen, Op, Pipeline, Pool, RateLimit, Retry, RetryBudget
from resilience.dashboard import Dashboard, Store
from resilience.dashboard.rows import Span
from resilience.testing import Script

pytestmark = pytest.mark.browser

DATA = Path(__file__).parents[2] / "data" / "pages"
ARTEFACTS = Path(__file__).parents[3] / "artefacts"
PAGES = ("/", "/traces", f"/traces/{ids(1)}", "/latency", "/errors", "/compare", f"/compare?a={ids(1)}&b={ids(2)}")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGS += ["--disable-component-update", "--disable-sync"]
CANARY = "<img src=x onerror=window.struck=1>"
LINK = "javascript:window.struck=1"


def chromium() -> str:
    """Debian's browser, or whatever carries a name of it."""
    for name in ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    return ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="NO PLAYWRIGHT: pages not tested (make setup)")
    if not (path := chromium()):
        pytest.skip("NO BROWSER: the pages are not tested (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=ARGS)
        yield opened
        opened.close()


class Served:
    """A dashboard on a loop in a thread of its own, and its store."""

    def __init__(self, *spans: Span, pipelines: tuple[Pipeline, ...] = (), **options: Any) -> None:
        self.store = Store()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._dashboard = Dashboard(*pipelines, port=0, store=self.store, **options)
        asyncio.run_coroutine_threadsafe(self._dashboard.start(), self._loop).result(20)
        self.address = self._dashboard.address
        self.put(*spans)

    def put(self, *spans: Span) -> None:
        """As if they had just ended: an overview shows the last minute."""
        now = time.time_ns() - START - 2_000_000_000
        moved = [replace(one, start_ns=one.start_ns + now, end_ns=one.end_ns + now) for one in spans]
        self.store.add(moved)
        self._loop.call_soon_threadsafe(self._dashboard.live.heard, moved)

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        """On the dashboard's loop, to its end."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(20)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._dashboard.aclose(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()
        self.store.close()


def prepared() -> list[Span]:
    """A retried, a hedged and a failed call, and 30 clean ones."""
    failed = [
        attempt(3, 2, ends=40, error__type="timeout", op="orderbook"),
        call(3, ends=41, op="orderbook", outcome="failed", error__type="timeout", status="error", name="orderbook"),
    ]
    clean = [
        one
        for number in range(10, 40)
        for one in (attempt(number, 2, ends=number), call(number, ends=number, sampling__reason="sampled"))
    ]
    return [*retried(1), *hedged(2), *failed, *retried(4, "disconnected"), *clean]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    found = Served(*prepared())
    yield found
    found.close()


@pytest.fixture
def page(browser: Any, served: Served, request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from opened(browser, served, request.node.name)


def opened(browser: Any, served: Served, name: str, **options: Any) -> Iterator[Any]:
    """A page of a fresh profile that fails its test for anything the browser complains of; its last look is kept."""
    options = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark", **options}
    context = browser.new_context(base_url=served.address, **options)
    one = context.new_page()
    one.set_default_timeout(8_000)
    complaints: list[str] = []
    one.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    one.on("pageerror", lambda error: complaints.append(str(error)))
    one.on("dialog", lambda dialog: (complaints.append("a dialog: " + dialog.message), dialog.dismiss()))
    yield one
    ARTEFACTS.mkdir(exist_ok=True)
    one.screenshot(path=ARTEFACTS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.png")
    context.close()
    assert not complaints


def named(path: str) -> str:
    """A file's name for an address."""
    return re.sub(r"\W+", "-", path.strip("/").split("?")[0]) or "overview"


def visit(page: Any, path: str) -> None:
    page.goto(path)
    page.wait_for_selector("main h1")
    if path == "/":
        page.wait_for_selector(".headline")


def eventually(holds: Callable[[], bool], seconds: float = 8) -> None:
    """Polls from here: a string given to the page to evaluate would be against its Content-Security-Policy."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.03)


# -- what they show --------------------------------------------------------------------------------------------


def test_a_call_that_ends_now_appears_without_a_reload(page: Any, served: Served) -> None:
    """In the list as a row, in the overview as a number; a paused list counts it and waits."""
    visit(page, "/traces?q=op%3Alive")
    page.evaluate("() => { window.kept = 1; }")
    assert page.locator("tbody a").count() == 0
    served.put(*(replace_op(one, "live") for one in retried(100)))
    page.wait_for_selector(f"#row-{ids(100)}")
    page.keyboard.press("p")
    served.put(*(replace_op(one, "live") for one in retried(101)))
    page.get_by_role("button", name="Paused, 1 new").wait_for()
    assert page.locator("tbody a").count() == 1
    page.keyboard.press("p")
    page.wait_for_selector(f"#row-{ids(101)}")
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.get_by_role("link", name="live", exact=True).wait_for()
    assert page.evaluate("() => window.kept") == 1


def replace_op(one: Span, op: str) -> Span:
    return replace(one, attributes={**one.attributes, "resilience.op": op})


def test_the_filter_is_in_the_address_and_the_back_button_takes_it_away(page: Any) -> None:
    """Typed, by a chip, from the address itself; a term that says nothing is explained in one line."""
    visit(page, "/traces")
    every = page.locator("tbody tr").count()
    page.fill("#filter", "outcome:failed")
    page.keyboard.press("Enter")
    page.wait_for_url("**/traces?q=outcome%3Afailed")
    eventually(lambda: page.locator("tbody tr").count() == 1)
    assert page.locator("tbody").inner_text().count("orderbook") == 1
    page.go_back()
    eventually(lambda: page.locator("tbody tr").count() == every)
    assert page.input_value("#filter") == ""
    page.get_by_role("button", name="hedged").click()
    page.wait_for_url("**q=reason%3Ahedged")
    page.wait_for_selector(f"#row-{ids(2)}")
    assert page.get_by_role("button", name="hedged").get_attribute("aria-pressed") == "true"
    page.reload()
    page.wait_for_selector(f"#row-{ids(2)}")
    assert page.locator("tbody tr").count() == 1


def test_a_filter_that_cannot_be_read_is_explained(browser: Any, served: Served) -> None:
    """The server's own line, and no rows."""
    context = browser.new_context(base_url=served.address)
    page = context.new_page()
    visit(page, "/traces?q=duration%3Emany")
    page.wait_for_selector(".notice:not([hidden])")
    assert "duration" in page.locator(".notice").inner_text()
    context.close()


def test_a_retried_call_is_read_at_a_glance(page: Any) -> None:
    """Its sentence, the shares of its time, each attempt in its place on the axis, and the wait between them."""
    visit(page, f"/traces/{ids(1)}")
    assert page.locator("#why").inner_text() == "1 reset, second attempt won."
    assert "backoff 50 %" in page.locator(".share-bar + .legend").inner_text()
    falls = page.locator(".fall")
    assert falls.count() == 3
    first, second = (falls.nth(i).locator("rect.span") for i in (1, 2))
    assert [first.get_attribute(name) for name in ("x", "width", "data-tone")] == ["0%", "25%", "bad"]
    assert [second.get_attribute(name) for name in ("x", "width")] == ["75%", "25%"]
    wait = falls.nth(2).locator("line.wait")
    assert [wait.get_attribute(name) for name in ("x1", "x2", "data-why")] == ["25%", "75%", "backoff"]
    assert falls.nth(2).locator("[data-seg=first_byte]").count() == 1
    label = falls.nth(2).get_attribute("aria-label")
    assert label == "GET /tickers, its answer won, after 300 ms, 100 ms, after 200 ms of backoff"
    tree = page.locator(".tree").inner_text()
    assert re.search(r"attempt 1\s+reset.*attempt 2\s+retry\s+won.*after 200 ms of backoff", tree, re.DOTALL)
    page.get_by_text("The same as a table").click()
    assert "after 200 ms of backoff" in page.locator("details table").inner_text()


def test_a_hedged_call_shows_who_won_and_that_the_loser_is_no_error(page: Any) -> None:
    """The loser is marked as lost, in grey; the hedge by its own word."""
    visit(page, f"/traces/{ids(2)}")
    lost, won = page.locator(".fall").nth(1), page.locator(".fall").nth(2)
    assert lost.locator("rect.span").get_attribute("data-tone") == "lost"
    assert "another attempt answered first" in lost.get_attribute("aria-label")
    assert won.locator(".badge").inner_text() == "hedge"
    assert page.locator(".tree [data-tone=bad]").count() == page.locator("rect.fell").count() == 0


def test_a_permalink_leads_back_to_the_same_span(page: Any) -> None:
    """The chosen span is in the address."""
    visit(page, f"/traces/{ids(1)}")
    page.locator(".fall").nth(2).click()
    link = page.url
    assert link.endswith(f"/traces/{ids(1)}?span={3:016x}")
    visit(page, link)
    assert page.locator(".fall[aria-pressed=true]").evaluate_all("all => all.length") == 1
    assert page.locator(".fall").nth(2).get_attribute("aria-pressed") == "true"
    assert "attempt 2" in page.locator(".with-side > :last-child").inner_text()


def test_who_goes_on_before_a_page_is_there_sees_the_later_page(page: Any) -> None:
    """The answer for the earlier one comes last, and changes neither the page nor the address."""
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route(f"**/api/traces/{ids(1)}", hold)
    visit(page, "/traces?q=reason%3Aretried")
    page.locator(f"#row-{ids(1)}").click()
    eventually(lambda: page.wait_for_timeout(20) is None and bool(held))
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.get_by_role("heading", name="Errors").wait_for()
    held[0].continue_()
    page.wait_for_timeout(300)
    assert page.locator("h1").inner_text() == "Errors"
    assert page.url.endswith("/errors")


def test_causes_and_latencies_lead_to_their_calls(page: Any) -> None:
    """From an error's group and from an exemplar in the heat map to a trace."""
    visit(page, "/errors")
    assert "timeout" in page.locator("tbody").inner_text()
    page.get_by_role("link", name="open").first.click()
    page.wait_for_selector(".waterfall")
    visit(page, "/latency")
    page.locator(".heat a").first.dispatch_event("click")
    page.wait_for_selector(".waterfall")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/", "/api/snapshot"),
        ("/pipelines", "/api/snapshot"),
        ("/traces", "/api/traces"),
        ("/traces?q=%22a~b%20*%C3%A9%27(x)!%22&since=0&until=&q=second", "/api/traces"),
        (f"/traces/{ids(1)}?span={2:016x}", f"/api/traces/{ids(1)}"),
        ("/latency", "/api/heatmap"),
        ("/latency?op=order+book~*&span=900000", "/api/heatmap"),
        ("/errors", "/api/errors"),
        ("/compare", "/api/traces"),
        (f"/compare?a={ids(1)}", "/api/traces"),
        (f"/compare?a={ids(1)}&b={ids(2)}", "/api/compare"),
    ],
)
def test_a_page_asks_its_question_once_and_at_once(page: Any, path: str, asked: str) -> None:
    """The server says with the page what it will ask, in the very words."""
    said: list[str] = []
    page.on("request", lambda request: said.append(request.url))
    visit(page, path)
    said = [re.sub(r"^https?://[^/]*", "", url) for url in said if "/api/" in url and not url.endswith("/api/stream")]
    assert [url.partition("?")[0] for url in said] == [asked]
    assert f"<{said[0]}>; rel=preload" in page.request.get(path).headers["link"]


def test_a_second_look_loads_no_file_again(page: Any) -> None:
    """And the files of the other pages came when the first was there: to go there needs none."""
    loaded = """() => performance.getEntriesByType("resource").filter((one) => one.name.includes("/static/"))
      .map((one) => [one.name.split("/").pop(), one.transferSize > 0])"""
    visit(page, "/errors")
    modules = {"overview.js", "traces.js", "trace.js", "latency.js", "errors.js", "compare.js"}
    eventually(lambda: modules <= {name for name, _ in page.evaluate(loaded)})
    assert len([name for name, _ in page.evaluate(loaded) if name.endswith(".js")]) == 11
    visit(page, "/latency")
    eventually(lambda: modules <= {name for name, _ in page.evaluate(loaded)})
    assert [name for name, sent in page.evaluate(loaded) if sent] == []


def test_a_click_is_not_lost_when_numbers_arrive_meanwhile(page: Any, served: Served) -> None:
    """Pressed before an update, released after it."""
    visit(page, "/")
    link = page.get_by_role("link", name="orderbook")
    link.hover()
    page.mouse.down()
    for number in range(200, 204):
        served.put(*retried(number))
        time.sleep(0.3)
    page.mouse.up()
    page.wait_for_url("**/traces?q=op%3Aorderbook")


# -- controls --------------------------------------------------------------------------------------------------

READ = Op("read", idempotent=True)


async def fails(market: Pipeline) -> None:
    with pytest.raises(ConnectionRefusedError):
        await market.run(Script(ConnectionRefusedError()), op=READ)


def test_a_circuit_is_isolated_and_closed_from_the_page(browser: Any) -> None:
    """Calls are refused from then on, its history says who did it, and nothing was reloaded."""
    market = Pipeline(Breaker(min_calls=50), name="market")
    served = Served(pipelines=(market,), controls=True)
    try:
        served.run(market.run(Script("ok"), op=READ))
        for page in opened(browser, served, "isolated"):
            visit(page, "/")
            tile = page.locator(".tile")
            assert tile.locator("header").inner_text().split() == ["default", "closed"]
            assert tile.locator(".history").count() == 0
            tile.get_by_role("button", name="Isolate").click()
            tile.get_by_text("forced open").first.wait_for()
            assert "from the dashboard" in tile.locator(".history").inner_text()
            assert tile.get_attribute("data-tone") == "bad"
            with pytest.raises(CircuitOpen):
                served.run(market.run(Script("ok"), op=READ))
            tile.get_by_role("button", name="Close").click()
            tile.locator("header .badge", has_text="closed").wait_for()
            assert served.run(market.run(Script("ok"), op=READ)) == "ok"
    finally:
        served.close()


def test_chaos_is_switched_from_the_page(browser: Any) -> None:
    """On and off; the button says what it will do."""
    market = Pipeline(Chaos(rate=1, fault=ConnectionRefusedError), name="market")
    served = Served(pipelines=(market,), controls=True)
    try:
        served.run(market.run(Script("ok"), op=READ))
        for page in opened(browser, served, "chaos"):
            visit(page, "/")
            page.get_by_role("button", name="Switch on").click()
            page.get_by_role("button", name="Switch off").wait_for()
            served.run(fails(market))
            page.get_by_role("button", name="Switch off").click()
            page.get_by_role("button", name="Switch on").wait_for()
            assert served.run(market.run(Script("ok"), op=READ)) == "ok"
    finally:
        served.close()


def test_a_circuits_history_is_told_with_its_causes(browser: Any) -> None:
    """The newest first, in words and as a ribbon; without controls there is no button."""
    market = Pipeline(Breaker(min_calls=2, open_for=60), Chaos(rate=0, latency=1), name="market")
    served = Served(pipelines=(market,))
    try:
        for page in opened(browser, served, "history"):
            visit(page, "/")
            for _ in range(2):
                served.run(fails(market))
            page.locator(".history li", has_text="2 of 2 calls").wait_for()
            served.run(halve(market))
            page.locator(".history li").nth(1).wait_for()
            said = page.locator(".history li").all_inner_texts()
            assert [line.split()[0] for line in said] == ["half-open", "open"]
            assert page.locator(".tile svg").count() == 1
            assert "opened\nonce" in page.locator(".tile dl").inner_text()
            assert page.locator("main button:not([id^=sort])").count() == 0
    finally:
        served.close()


async def halve(market: Pipeline) -> None:
    market.states["breaker"]["default"].half_open("by hand")


# -- how they are worked ---------------------------------------------------------------------------------------


def test_everything_can_be_reached_by_keys(page: Any) -> None:
    """From the overview to a span and back, and the help, with no pointer."""
    visit(page, "/")
    keys = page.keyboard
    keys.press("g")
    keys.press("t")
    page.wait_for_selector(".trace-list")
    keys.press("/")
    keys.type("op:ticker reason:retried")
    keys.press("Enter")
    page.wait_for_url("**q=op%3Aticker*")
    page.wait_for_selector("tbody a")
    keys.press("Escape")

    def chosen() -> str:
        keys.press("j")
        return str(page.evaluate("() => document.activeElement.id"))

    eventually(lambda: chosen().startswith("row-"))  # the list is there a moment before its keys are
    first = page.evaluate("() => document.activeElement.id")
    keys.press("j")
    second = page.evaluate("() => document.activeElement.id")
    keys.press("k")
    assert first.startswith("row-")
    assert second.startswith("row-")
    assert first != second
    assert page.evaluate("() => document.activeElement.id") == first
    keys.press("Enter")
    page.wait_for_selector(".waterfall")

    def picked() -> str:
        keys.press("j")
        return str(page.locator(".with-side > :last-child").inner_text())

    eventually(lambda: "attempt 1" in picked())
    keys.press("k")
    assert page.locator(".fall").first.get_attribute("aria-pressed") == "true"
    keys.press("?")
    page.wait_for_selector("dialog[open]")
    keys.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    keys.press("Escape")
    page.wait_for_selector(".trace-list")
    keys.press("d")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    keys.press("Tab")
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_focus_stays_where_it_is_when_rows_arrive(page: Any, served: Served) -> None:
    """The list is followed live, and the row in focus is still the same one."""
    visit(page, "/traces?q=reason%3Ahedged")
    page.wait_for_selector(f"#row-{ids(2)}")
    page.keyboard.press("j")
    served.put(*hedged(300))
    page.wait_for_selector(f"#row-{ids(300)}")
    assert page.evaluate("() => document.activeElement.id") == f"row-{ids(2)}"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_stands_out_in_both_themes(browser: Any, served: Served, theme: str) -> None:
    """Every text has a contrast of at least 4.5 with what is painted behind it, by the system's wish and by ours."""
    for page in opened(browser, served, f"contrast-{theme}", color_scheme=theme):
        grounds = set()
        for path in PAGES:
            visit(page, path)
            assert page.evaluate((DATA / "contrast.js").read_text()) == [], path
            grounds.add(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
            if theme == "light":  # the other tests leave the dark ones
                page.screenshot(path=ARTEFACTS / f"{theme}-{named(path)}.png")
        assert grounds == {{"dark": "rgb(13, 17, 23)", "light": "rgb(245, 247, 250)"}[theme]}
        page.keyboard.press("d")  # dark, whatever the system wishes
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
        page.reload()
        page.wait_for_selector("main h1")
        assert page.locator("html").get_attribute("data-theme") == "dark"


def test_everything_has_a_name_and_a_place(page: Any) -> None:
    """Names, one first heading, no jump in headings, texts for pictures, heads of tables, unique ids, a language."""
    for path in PAGES:
        visit(page, path)
        assert page.evaluate((DATA / "well_formed.js").read_text()) == [], path
        assert page.title().endswith("resilience")


async def busy(market: Pipeline) -> None:
    """Calls that succeed, fail, are refused, and open the circuit of one of two hosts."""

    async def fetch(resource: object, host: str) -> str:
        if host == "sick":
            raise ConnectionRefusedError(host)
        return "ok"

    for number in range(40):
        with contextlib.suppress(Exception):
            await market.run(fetch, "sick" if number % 3 else "well", op=Op(f"op {number % 4}", idempotent=True))


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_what_pipelines_show_stands_out_and_has_names_too(browser: Any, theme: str) -> None:
    """Circuits open and closed, limits, pools, budgets, buttons of controls, the help: every page, in both themes."""
    market = Pipeline(
        Retry(attempts=2, wait=0, budget=RetryBudget()),
        Breaker(failure_rate=0.5, min_calls=4, key=lambda call: str(call.args[0])),
        RateLimit("600/5s"), Bulkhead(5), Pool(object, name="rest"), Chaos(rate=0.01, latency=0.001), name="market",
    )  # fmt: skip
    checks = [(DATA / name).read_text() for name in ("contrast.js", "well_formed.js")]
    served = Served(*prepared(), pipelines=(market,), controls=True)
    try:
        served.run(busy(market))
        for page in opened(browser, served, f"states-{theme}", color_scheme=theme):
            visit(page, "/")
            page.get_by_role("button", name="Isolate").first.wait_for()
            assert {"closed", "open"} <= set(page.locator(".tile header .badge").all_inner_texts())
            for path in (*PAGES, "/pipelines"):
                visit(page, path)
                page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
                assert [page.evaluate(check) for check in checks] == [[], []], path
                page.screenshot(path=ARTEFACTS / f"states-{theme}-{named(path)}.png")
            page.keyboard.press("?")
            page.wait_for_selector("dialog[open]")
            assert page.evaluate(checks[0]) == []
    finally:
        served.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_token_opens_the_pages_in_a_browser(browser: Any, theme: str) -> None:
    """Typed into a form that has names and stands out; a wrong one is said to be that, and the right one lets in."""
    checks = [(DATA / name).read_text() for name in ("contrast.js", "well_formed.js")]
    shut = Served(*prepared(), token="t" * 32)
    context = browser.new_context(base_url=shut.address, color_scheme=theme)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    try:
        page.goto("/")
        page.wait_for_selector("#token")
        assert [page.evaluate(check) for check in checks] == [[], []]
        page.screenshot(path=ARTEFACTS / f"login-{theme}.png")
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        assert [page.evaluate(check) for check in checks] == [[], []]
        assert len(complaints) == 1
        assert "401" in complaints[0]
        page.fill("#token", "t" * 32)
        page.keyboard.press("Enter")
        page.wait_for_selector(".headline")
        assert len(complaints) == 1
    finally:
        context.close()
        shut.close()


@pytest.mark.parametrize("width", [390, 1280, 2560])
def test_no_page_is_wider_than_the_window(browser: Any, served: Served, width: int) -> None:
    """On a phone only tables move sideways, inside their own frame; from 1280 pixels on nothing is cut off."""
    for page in opened(browser, served, f"width-{width}", viewport={"width": width, "height": 900}):
        for path in PAGES:
            visit(page, path)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width, path
            if width >= 1280:
                cut = "all => all.filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1).length"
                assert page.locator(".scroll").evaluate_all(cut) == 0, path
            page.screenshot(
                path=ARTEFACTS / f"{width}-{path.strip('/').split('?')[0].replace('/', '-') or 'overview'}.png"
            )


def test_who_wants_no_motion_gets_none(browser: Any, served: Served) -> None:
    """No transition lasts, no row fades in."""
    for page in opened(browser, served, "motion", reduced_motion="reduce"):
        visit(page, "/traces?q=op%3Acalm")
        served.put(*(replace_op(one, "calm") for one in retried(400)))
        page.wait_for_selector(f"#row-{ids(400)}")
        moving = "() => document.getAnimations().length"
        assert page.evaluate(moving) == 0
        assert page.locator(".row-new").evaluate("e => getComputedStyle(e).animationName") == "none"
        assert page.locator(".tabs a").first.evaluate("e => parseFloat(getComputedStyle(e).transitionDuration)") == 0


# -- what they withstand ---------------------------------------------------------------------------------------


def hostile(number: int, text: str) -> list[Span]:
    """A retried call whose every field is `text`, with a link and an attribute of that key."""
    said: dict[str, Any] = {"op": text, "why": text, "pipeline": text, "outcome": text, "stopped": text, "retry": text}
    more = {"service": text, "name": text}
    first = attempt(number, 2, ends=40, error__type=text, op=text, attempt__kind=text, attempt__outcome=text, **more)
    second = attempt(number, 3, begins=50, ends=90, at=2, hedge=text, breaker__state=text, **more)
    second.attributes.update({text: text, "list": [text, text], "url.full": text, "resilience.breaker.key": text})
    second.attributes.update({"resilience.limiter.name": text, "resilience.retry": text})
    whole = call(number, ends=100, error__type=text, sampling__reason=text, instance=text, **said, **more)
    other = span(number, 4, 1, ends=5, links=((text, text),), instance=text, kind=text, status=text, **more)
    return [first, second, whole, other]


def test_what_a_span_says_is_text_and_nothing_else(browser: Any) -> None:
    """Canaries in every field: on every page they are read, on none they run, and no link leads out of the server."""
    served = Served(*hostile(1, CANARY), *hostile(2, LINK), *hostile(3, "\"'><script>window.struck=1</script>"))
    try:
        for page in opened(browser, served, "canaries"):
            for path in (
                *PAGES,
                f"/traces/{ids(2)}",
                f"/traces/{ids(3)}",
                f"/latency?op={CANARY}",
                f'/traces?q="{CANARY}"',
            ):
                visit(page, path)
                for fall in page.locator(".fall").all():
                    fall.click()
                page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
                page.wait_for_timeout(60)
                assert page.evaluate("() => window.struck") is None, path
                assert page.locator("main img, main script, main iframe").count() == 0
                leads = page.locator("main a").evaluate_all("all => all.map((one) => one.href.baseVal ?? one.href)")
                assert all(one.startswith((served.address, "/")) for one in leads), path
            for path, text in (("/", CANARY), ("/errors", LINK)):  # the filter such a link leads to is understood
                visit(page, path)
                page.get_by_role("link", name=text).first.click()
                page.wait_for_selector(f"#row-{ids(1 if text == CANARY else 2)}")
            visit(page, f"/traces/{ids(1)}")
            page.locator(".fall").last.click()
            assert page.locator("main").inner_text().count(CANARY) >= 5
    finally:
        served.close()


def test_the_policy_of_the_page_forbids_what_it_does_not_need(browser: Any, served: Served) -> None:
    """A script in the page, and a request elsewhere, are stopped by the browser: the second fence behind the first."""
    context = browser.new_context(base_url=served.address)
    page = context.new_page()
    page.goto("/traces")
    page.wait_for_selector("main h1")
    outcome = page.evaluate("""async () => {
      const script = document.createElement("script");
      script.textContent = "window.struck = 1";
      document.body.append(script);
      const gone = await fetch("http://example.com/").then(() => "out", () => "stopped");
      return [window.struck ?? null, gone];
    }""")
    assert outcome == [None, "stopped"]
    context.close()


def test_a_page_under_a_foreign_name_gets_nothing(browser: Any, served: Served) -> None:
    """DNS rebinding: the browser believes that evil.example lies here; the server does not."""
    port = served.address.rsplit(":", 1)[1]
    other = browser.browser_type.launch(
        executable_path=chromium(), args=[*ARGS, "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    )
    page = other.new_page()
    reply = page.goto(f"http://evil.example:{port}/")
    assert reply.status == 421
    assert page.goto(f"http://evil.example:{port}/api/snapshot").status == 421
    assert "Host" in page.content()
    other.close()


def test_what_the_browser_leaves_stays_out_of_git() -> None:
    """Its folder is ignored."""
    assert "/artefacts/" in (ARTEFACTS.parent / ".gitignore").read_text().split()
