"""The page's own files, read into memory once: a fixed list of names, so that no path of a request is ever joined."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

from .ahead import Modules, question

__all__ = ["LOGIN", "Pages"]

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_LASTING = "max-age=31536000, immutable"

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
    """The files of a folder: the package's ``static`` by default.

    Pages name the other files by an address that has all their contents' digest in it, so a browser keeps those for
    good and asks for nothing twice; in another version they lie elsewhere.
    """

    def __init__(self, folder: Traversable | None = None) -> None:
        if folder is None:
            folder = files("resilience.dashboard").joinpath("static")
        found = {
            file.name: file.read_bytes()
            for file in (folder.iterdir() if folder.is_dir() else ())
            if any(file.name.endswith(ending) for ending in _TYPES)
        }
        self.digest = _digest(b"".join(found[name] for name in sorted(found)))
        self._found = {name: self._page(name, body) for name, body in found.items()}
        self._modules = Modules(found)

    def _page(self, name: str, body: bytes) -> _Page:
        if name.endswith(".html"):
            body = self.dressed(body.decode()).encode()
        kind = next(kind for ending, kind in _TYPES.items() if name.endswith(ending))
        return _Page(body, kind, f'"{_digest(body)}"')

    @property
    def names(self) -> list[str]:
        return sorted(self._found)

    def dressed(self, html: str) -> str:
        """A page with the lasting addresses of the files that it names."""
        return html.replace('"/static/', f'"/static/{self.digest}/')

    def index(self, request: web.Request) -> web.Response:
        """The page at this address; its headers say what it will need besides."""
        reply = self.reply("index.html", request)
        links = [f"</static/{self.digest}/{name}>; rel=modulepreload" for name in self._modules.of(request.path)]
        if asked := question(request.path, request.query):
            links.append(f"<{asked}>; rel=preload; as=fetch; crossorigin")
        reply.headers["Link"] = ", ".join(links)
        return reply

    def reply(self, name: str, request: web.Request, digest: str = "") -> web.Response:
        """The file of this name, or 304 where the browser has it. Raises 404, also for a file of another version."""
        page = self._found.get(name)
        if page is None or digest not in ("", self.digest):
            raise web.HTTPNotFound(text="there is no such file")
        headers = {"ETag": page.etag, "Cache-Control": _LASTING if digest else "no-cache"}
        if page.etag in (tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")):
            return web.Response(status=304, headers=headers)
        return web.Response(body=page.body, headers={**headers, "Content-Type": page.kind})


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:24]
