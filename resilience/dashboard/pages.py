"""The page's own files, read into memory once: a fixed list of names, so that no path of a request is ever joined."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

__all__ = ["LOGIN", "Pages"]

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

LOGIN = """<!doctype html>
<html lang="en" data-theme="auto">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="dark light">
  <title>Log in · resilience</title>
  <link rel="icon" href="/static/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/static/tokens.css">
  <link rel="stylesheet" href="/static/layout.css">
  <link rel="stylesheet" href="/static/parts.css">
</head>
<body>
  <main id="main">
    <h1>resilience</h1>
    <form method="post" action="/login">
      <p><label for="token">Token of this dashboard</label></p>
      <p><input id="token" name="token" type="password" autocomplete="current-password" required autofocus></p>
      <p><button>Log in</button></p>
      {note}
    </form>
  </main>
</body>
</html>
"""
"""With one place for a note, which is ours and never the visitor's text."""


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    kind: str
    etag: str


class Pages:
    """The files of a folder: the package's ``static`` by default."""

    def __init__(self, folder: Traversable | None = None) -> None:
        self._found: dict[str, _Page] = {}
        if folder is None:
            folder = files("resilience.dashboard").joinpath("static")
        for file in folder.iterdir() if folder.is_dir() else ():
            kind = next((kind for ending, kind in _TYPES.items() if file.name.endswith(ending)), None)
            if kind is not None:
                body = file.read_bytes()
                self._found[file.name] = _Page(body, kind, f'"{hashlib.sha256(body).hexdigest()[:24]}"')
        # All modules at once, where the browser would find each only in the one that imports it.
        self._ahead = ", ".join(f"</static/{name}>; rel=modulepreload" for name in self.names if name.endswith(".js"))

    @property
    def names(self) -> list[str]:
        return sorted(self._found)

    def reply(self, name: str, request: web.Request) -> web.Response:
        """The file of this name, or 304 where the browser has it. Raises 404."""
        page = self._found.get(name)
        if page is None:
            raise web.HTTPNotFound(text="there is no such file")
        headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
        if name.endswith(".html") and self._ahead:
            headers["Link"] = self._ahead
        if page.etag in (tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")):
            return web.Response(status=304, headers=headers)
        return web.Response(body=page.body, headers={**headers, "Content-Type": page.kind})
