"""What may be set, which addresses may be spoken to, and what of aiohttp's inside is relied upon."""

from __future__ import annotations

import inspect
from typing import Any

import aiohttp
import pytest

from exchanges.errors import TransportError
from exchanges.transport.journey import tls_context
from exchanges.transport.rest import Rest, RestSettings, check_base_url
from resilience.call import Attempt
from resilience.errors import ConfigError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", 0),
        ("limit", 1.5),
        ("limit_per_host", -1),
        ("dns_ttl", -1),
        ("keepalive", 0),
        ("connect_timeout", float("inf")),
        ("connect_timeout", True),
        ("max_body", 10),
        ("max_ratio", 0.5),
        ("ca_file", "/no/such/file.pem"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(field: str, value: Any) -> None:
    """The error names the field."""
    with pytest.raises(ConfigError, match=f"RestSettings: {field}"):
        RestSettings(**{field: value})


def test_the_defaults_are_the_promised_numbers() -> None:
    """100 connections, 30 to one host, addresses believed for 300 s, idle connections kept for 30 s."""
    settings = RestSettings()
    assert (settings.limit, settings.limit_per_host, settings.dns_ttl, settings.keepalive) == (100, 30, 300.0, 30.0)
    assert (settings.connect_timeout, settings.max_body) == (10.0, 8 * 1024 * 1024)


def test_a_file_without_certificates_is_refused(run: Any, tmp_path: Any) -> None:
    """A wrong ca_file is found when the session opens, in one line."""
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with pytest.raises(ConfigError, match="holds no certificates"):
        run(Rest.open(RestSettings(ca_file=str(path))))


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://api.bybit.com", "https://api.bybit.com"),
        ("https://api.bybit.com/", "https://api.bybit.com"),
        ("https://gateway.example:8443/bybit/", "https://gateway.example:8443/bybit"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9:1", "http://127.9.9.9:1"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("http://localhost:1", "http://localhost:1"),
    ],
)
def test_https_anywhere_and_http_on_loopback(url: str, clean: str) -> None:
    """A good address comes back without its trailing slash."""
    assert check_base_url(url) == clean


@pytest.mark.parametrize(
    "url",
    [
        "http://api.bybit.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://2130706433",
        "http://0.0.0.0",
        "http://[::]",
        "http://169.254.169.254",
        "https://user:c4n4ry@host",
        "https://c4n4ry@host",
        "https://host?key=c4n4ry",
        "https://host/#part",
        "https://host:0",
        "https://host:99999",
        "https://ho st",
        "https://host\\@evil",
        "https://host\r\n",
        "https://",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "api.bybit.com",
        "",
    ],
)
def test_every_other_address_is_refused_in_one_line(url: str) -> None:
    """Plain HTTP beyond this machine, credentials, queries, other schemes and nonsense; no credential is repeated."""
    with pytest.raises(ConfigError) as caught:
        check_base_url(url)
    assert "base_url" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "c4n4ry" not in str(caught.value)


def test_tls_verifies_and_the_environment_has_no_say(monkeypatch: Any, tmp_path: Any) -> None:
    """Host name and chain are checked, nothing older than TLS 1.2 is spoken, keys are written to no file."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = tls_context(None)
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert context.minimum_version.name == "TLSv1_2"
    assert context.keylog_filename is None


def test_proxies_of_the_environment_and_netrc_are_not_asked(
    run: Any, serve: Any, answer: Any, monkeypatch: Any, tmp_path: Any
) -> None:
    """HTTP_PROXY and .netrc change nothing about where a request goes and what is in it."""

    async def main() -> None:
        async with serve(answer) as proxy, serve(answer) as server:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            netrc = tmp_path / "netrc"
            netrc.write_text("machine 127.0.0.1 login a password b\n")
            monkeypatch.setenv("NETRC", str(netrc))
            rest = await Rest.open()
            await rest.request(Attempt(), "GET", server.url)
            assert proxy.accepted == 0
            assert "authorization" not in server.requests[0].headers
            await rest.aclose()

    run(main())


def test_the_private_names_of_aiohttp_are_still_there(run: Any) -> None:
    """A new aiohttp without one of them is refused when a session opens, instead of sending twice in silence."""

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            assert session._retry_connection is True  # the switch, and it is on unless we turn it
            assert isinstance(session.connector, aiohttp.TCPConnector)
            assert callable(session.connector._factory)
            assert inspect.iscoroutinefunction(session.connector._get)
        rest = await Rest.open()
        assert rest._session._retry_connection is False
        await rest.aclose()

    run(main())


@pytest.mark.parametrize("lost", ["_retry_connection", "_get"])
def test_an_aiohttp_that_lost_a_private_name_is_refused_in_one_line(run: Any, monkeypatch: Any, lost: str) -> None:
    """The error names what is missing and which version has it."""
    if lost == "_get":
        monkeypatch.delattr(aiohttp.BaseConnector, "_get")
    else:
        monkeypatch.setattr(aiohttp.ClientSession, "ATTRS", aiohttp.ClientSession.ATTRS - {lost})
    with pytest.raises(ConfigError, match=f"{lost}; install aiohttp 3.14"):
        run(Rest.open())


def test_stock_aiohttp_does_send_a_get_twice(run: Any, serve: Any) -> None:
    """What the private switch is for: if this fails, aiohttp has changed, and the switch may go (aiohttp#10790)."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            if await peer.request() and len(peer.server.requests) != 2:
                await peer.reply()
                if await peer.request() and len(peer.server.requests) != 2:
                    await peer.reply()

        async with serve(handler) as server:
            async with aiohttp.ClientSession() as session:
                for _ in range(2):
                    async with session.get(server.url) as response:
                        assert response.status == 200
            assert len(server.requests) == 3  # two calls, and one that nobody counted

            rest = await Rest.open()
            server.requests.clear()
            await rest.request(Attempt(), "GET", server.url)
            with pytest.raises(TransportError):
                await rest.request(Attempt(), "GET", server.url)
            assert len(server.requests) == 2
            await rest.aclose()

    run(main())
