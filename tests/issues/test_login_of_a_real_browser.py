"""The page that asks for the token said `no-referrer`, so browsers sent its form with the Origin "null", and got a 403.

tests/resilience/dashboard/test_pages.py logs in with a real browser; this one says what that needs.
"""

from __future__ import annotations

from served import ask, on_sockets, served

TOKEN = "t" * 32


@on_sockets
async def test_the_form_is_sent_with_an_origin() -> None:
    """The page's policy lets the browser name where the form comes from; what comes from nowhere stays refused."""
    async with served(token=TOKEN) as dashboard:
        assert (await ask(dashboard, "/login")).headers["Referrer-Policy"] == "same-origin"
        for origin, status in ((dashboard.address, 303), ("null", 403), ("http://evil.example", 403)):
            headers = {"Origin": origin}
            assert (await ask(dashboard, "/login", "POST", data={"token": TOKEN}, headers=headers)).status == status
