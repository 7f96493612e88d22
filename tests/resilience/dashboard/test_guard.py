"""Who may ask what. Every line of the security checklist on the dashboard that needs no browser."""

from __future__ import annotations

import http.cookies
import inspect

import pytest
from served import ask, on_sockets, raw, served

from resilience import ConfigError
from resilience.dashboard import guard
from resilience.dashboard.pages import LOGIN
from resilience.dashboard.server import Dashboard

TOKEN = "a-token-of-many-letters-0123456789"  # noqa: S105 (of this test alone)
EVERYWHERE = "0.0.0.0"  # noqa: S104 (what is tested is that it is refused)
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.7", "dashboard.example.com"])
def test_another_host_than_loopback_needs_a_token(host: str) -> None:
    """Refused when it is made, in one line that says what to do."""
    with pytest.raises(ConfigError, match="no token") as caught:
        Dashboard(host=host)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="fewer than 16 characters") as caught:
        Dashboard(host=host, token="fifteen-letters")  # noqa: S106 (refused)
    assert "fifteen" not in str(caught.value)
    Dashboard(host=host, token=TOKEN)
    Dashboard(host="localhost")
    Dashboard(host="127.0.0.2")


@pytest.mark.parametrize(
    "options",
    [
        {"token": ""},
        {"token": " " + TOKEN},
        {"token": "x" * 15},
        {"port": -1},
        {"port": 65536},
        {"port": True},
        {"host": " "},
    ],
)
def test_what_is_no_place_is_refused(options: dict[str, object]) -> None:
    """An empty token would let everybody in, and a short one whoever guesses; on loopback too."""
    with pytest.raises(ConfigError, match="dashboard: "):
        Dashboard(**options)  # type: ignore[arg-type]


@on_sockets
async def test_a_host_that_is_not_ours_is_misdirected() -> None:
    """DNS rebinding: a name that somebody else made point here. So is no Host, two of them, and nonsense."""
    async with served(allowed_hosts=["Board.Example.com"]) as dashboard:
        port = dashboard.address.rsplit(":", 1)[1]
        for host in (
            "127.0.0.1",
            f"localhost:{port}",
            f"[::1]:{port}",
            "LOCALHOST",
            "board.example.com",
            "localhost.:1",
        ):
            assert (await ask(dashboard, "/api/snapshot", headers={"Host": host})).status == 200, host
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1.evil.example",
            "192.0.2.7",
            "a@127.0.0.1",
            "x:y",
            "[",
            "",
        ):
            reply = await ask(dashboard, "/api/snapshot", headers={"Host": host})
            assert (reply.status, list(reply.json)) == (421, ["error"]), host
        twice = await raw(
            dashboard, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        )
        assert b" 421 " in twice.split(b"\r\n")[0] or b" 400 " in twice.split(b"\r\n")[0]
        assert b" 421 " in (await raw(dashboard, b"GET / HTTP/1.0\r\n\r\n")).split(b"\r\n")[0]


@on_sockets
async def test_off_loopback_a_bare_address_will_do() -> None:
    """Nobody can rebind an address; names still need to be allowed."""
    async with served(host=EVERYWHERE, token=TOKEN) as dashboard:
        for host, status in (("192.0.2.7:8787", 200), ("evil.example", 421)):
            headers = {"Host": host, "Authorization": f"Bearer {TOKEN}"}
            assert (await ask(dashboard, "/api/snapshot", headers=headers)).status == status


@on_sockets
async def test_another_sites_page_gets_nothing() -> None:
    """Neither by what a browser says of the origin, nor by what it says of the site."""
    async with served() as dashboard:
        own = dashboard.address
        for path, method in (
            ("/v1/traces", "POST"),
            ("/api/import", "POST"),
            ("/api/controls", "POST"),
            ("/api/stream", "GET"),
        ):
            for headers in (
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {"Origin": own.replace("127.0.0.1", "localhost")},
                {"Origin": own.rsplit(":", 1)[0] + ":1"},
                {"Sec-Fetch-Site": "cross-site"},
                {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
            ):
                assert (await ask(dashboard, path, method, headers=headers)).status == 403, (path, headers)
        assert (
            await ask(dashboard, "/api/snapshot", headers={"Origin": own, "Sec-Fetch-Site": "same-origin"})
        ).status == 200
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert (await ask(dashboard, "/api/snapshot", headers=link)).status == 200
        assert (await ask(dashboard, "/v1/traces", "POST", headers=link)).status == 403


@on_sockets
async def test_every_reply_carries_the_headers() -> None:
    """Answers, errors, refusals of the guard; data is never stored by a browser, and nobody else may read it."""
    async with served() as dashboard:
        for path, headers in (
            ("/api/snapshot", {}),
            ("/nowhere", {}),
            ("/api/traces?q=zz:1", {}),
            ("/", {"Host": "evil.example"}),
        ):
            reply = await ask(dashboard, path, headers=headers)
            assert reply.headers["Content-Security-Policy"] == CSP
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Referrer-Policy"] == "no-referrer"
            assert reply.headers["Cache-Control"] == "no-store"
            assert "aiohttp" not in reply.headers["Server"]
            assert not [name for name in reply.headers if name.lower().startswith("access-control")]
    async with served(token="t" * 32) as dashboard:  # else browsers would send its form with the Origin "null"
        assert (await ask(dashboard, "/login")).headers["Referrer-Policy"] == "same-origin"


@on_sockets
async def test_other_methods_are_not_served() -> None:
    """Nothing is changed but by POST."""
    async with served() as dashboard:
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert (await ask(dashboard, "/api/snapshot", method)).status == 405
        assert (await ask(dashboard, "/api/snapshot", "HEAD")).status == 200


@on_sockets
async def test_without_the_token_nothing_is_told() -> None:
    """But for the page's own files, which are no secret. A browser is led to the login."""
    async with served(token=TOKEN) as dashboard:
        for path in (
            "/api/snapshot",
            "/api/stream",
            "/api/traces",
            "/metrics",
            "/",
            "/traces/x",
            "/login/x",
            "/nowhere",
        ):
            assert (await ask(dashboard, path)).status == 401, path
        for path in ("/v1/traces", "/api/import", "/api/controls"):
            assert (await ask(dashboard, path, "POST")).status == 401, path
        led = await ask(dashboard, "/traces", headers={"Accept": "text/html,*/*"})
        assert (led.status, led.headers["Location"]) == (303, "/login")
        assert (await ask(dashboard, f"/api/snapshot?token={TOKEN}")).status == 401
        assert (await ask(dashboard, "/static/nothing.js")).status == 404
        page = await ask(dashboard, "/login")
        assert (page.status, b"<script" in page.body, b" style=" in page.body) == (200, False, False)


@on_sockets
async def test_the_token_opens_as_a_header_and_as_a_cookie() -> None:
    """The cookie is HttpOnly and SameSite=Strict, and it is not the token."""
    async with served(token=TOKEN) as dashboard:
        assert (await ask(dashboard, "/api/snapshot", headers={"Authorization": f"bearer {TOKEN}"})).status == 200
        for wrong in (f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer "):
            assert (await ask(dashboard, "/api/snapshot", headers={"Authorization": wrong})).status == 401
    async with served(token=TOKEN) as dashboard:
        reply = await ask(dashboard, "/login", "POST", data={"token": TOKEN}, headers={"Origin": dashboard.address})
        assert (reply.status, reply.headers["Location"]) == (303, "/")
        cookie = http.cookies.SimpleCookie(reply.headers["Set-Cookie"])
        ((name, morsel),) = cookie.items()
        assert name.endswith(dashboard.address.rsplit(":", 1)[1])
        assert (morsel["httponly"], morsel["samesite"], TOKEN in morsel.value, len(morsel.value) >= 43) == (
            True,
            "Strict",
            False,
            True,
        )
        given = {"Cookie": f"{name}={morsel.value}"}
        assert (await ask(dashboard, "/api/snapshot", headers=given)).status == 200
        assert (await ask(dashboard, "/api/snapshot", headers={"Cookie": f"{name}={morsel.value}x"})).status == 401
    async with served(token=TOKEN) as dashboard:  # another run
        assert (await ask(dashboard, "/api/snapshot", headers=given)).status == 401


@on_sockets
async def test_guessing_is_slow() -> None:
    """After five wrong tokens not even the right one is looked at for a while; a browser that is in stays in."""
    async with served(token=TOKEN) as dashboard:
        reply = await ask(dashboard, "/login", "POST", data={"token": TOKEN})
        cookie = reply.headers["Set-Cookie"].partition(";")[0]
        for _ in range(5):
            refused = await ask(dashboard, "/login", "POST", data={"token": "guess"})
            assert (refused.status, b"not the token" in refused.body) == (401, True)
        for options in ({"data": {"token": TOKEN}}, {"data": {"token": "guess"}}):
            late = await ask(dashboard, "/login", "POST", **options)
            assert (late.status, 1 <= int(late.headers["Retry-After"]) <= 61) == (429, True)
        assert (await ask(dashboard, "/api/snapshot", headers={"Authorization": f"Bearer {TOKEN}"})).status == 429
        assert (await ask(dashboard, "/api/snapshot", headers={"Cookie": cookie})).status == 200


def test_failures_are_forgiven_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute later the right token is heard again; a thousand addresses are remembered."""
    now = 1000.0
    monkeypatch.setattr(guard.time, "monotonic", lambda: now)
    door = guard.Guard("127.0.0.1", TOKEN)
    for _ in range(5):
        assert not door.accept("a", "x")
    with pytest.raises(guard.web.HTTPTooManyRequests):
        door.accept("a", TOKEN)
    assert door.accept("b", TOKEN)
    now += 60
    assert door.accept("a", TOKEN)
    for number in range(2_000):
        door.accept(f"address {number}", "x")
    assert len(door._failures) == 1_000


@on_sockets
async def test_login_takes_a_small_form_only() -> None:
    """And leads home where no token is needed."""
    async with served(token=TOKEN) as dashboard:
        assert (await ask(dashboard, "/login", "POST", json={"token": TOKEN})).status == 400
        assert (await ask(dashboard, "/login", "POST", data={"token": "x" * 10_000})).status == 413
        strange = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await ask(dashboard, "/login", "POST", data=b"token=\xff", headers=strange)).status == 400
    async with served() as dashboard:
        assert (await ask(dashboard, "/login")).status == 303
        assert (await ask(dashboard, "/login", "POST", data={"token": "x"})).status == 303


def test_secrets_are_compared_in_constant_time() -> None:
    """No == stands between a token and a guess."""
    source = inspect.getsource(guard)
    assert source.count("hmac.compare_digest") == 2
    assert "== self._token" not in source
    assert "<script" not in LOGIN
