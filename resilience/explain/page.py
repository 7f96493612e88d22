"""The explanation as one page that needs nothing else: no script, no network, light or dark as the reader's screen is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from .gather import Chapter, Row
from .pictures import load_picture, timeline_picture
from .text import named, settings
from .words import duration, load_words, requests, sentences

__all__ = ["as_page"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6472; --ground: #ffffff; --line: #d5dae1; --attempt: #2f6fb2;
  --hedge: #7a5bb5; --pause: #c3ccd8; --budget: #2e8b57; --bad: #b3482f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa4b2; --ground: #14181f; --line: #333b47;
  --attempt: #6aa7e6; --hedge: #b398ea; --pause: #4a5566; --budget: #5dbd88; --bad: #e8836a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 52rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-top: 2rem; }
ol.policies { list-style: none; padding: 0; border-left: 3px solid var(--line); }
ol.policies li { padding: .15rem .75rem; overflow-wrap: anywhere; } ol.policies b { display: inline-block; min-width: 8rem; }
li.boundary { color: var(--soft); border-top: 1px dashed var(--soft); margin-top: .25rem; }
table { border-collapse: collapse; } td, th { padding: .2rem 1rem .2rem 0; text-align: left; border-bottom: 1px solid var(--line); }
svg { display: block; margin: .5rem 0; } svg text { fill: var(--soft); font-size: 11px; } .axis { stroke: var(--line); }
.attempt, .silence { fill: var(--attempt); } .hedge, .errors { fill: var(--hedge); } .pause { fill: var(--pause); }
.budgeted { fill: var(--budget); } .chaos { fill: var(--bad); } .key span::before { content: "\\25A0 "; }
.key .e::before { color: var(--hedge); } .key .s::before { color: var(--attempt); } .key .b::before { color: var(--budget); }
.key span { margin-right: 1.2rem; color: var(--soft); }
"""


def as_page(chapters: Sequence[Chapter], title: str) -> str:
    """A whole HTML document. Everything that came from the file is escaped."""
    body = "\n".join(line for chapter in chapters for line in _chapter(chapter))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield f"<h2>Pipeline {escape(chapter.name)}</h2>"
    items = [f"<li><b>{escape(name)}</b>{escape(what)}</li>" for name, what in map(settings, chapter.policies)]
    items.insert(chapter.boundary, '<li class="boundary">one attempt</li>')
    yield f'<ol class="policies">{"".join(items)}<li>&rarr; the guarded function</li></ol>'
    yield "<table><tr><th>operation</th><th>typical trouble</th><th>worst</th><th>requests</th></tr>"
    for row in chapter.rows:
        estimate = row.estimate
        cells = (
            named(row),
            duration(estimate.typical.latency),
            duration(estimate.worst.latency),
            requests(estimate.worst.sends),
        )
        yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
    yield "</table>"
    for row in chapter.rows:
        yield from _row(chapter, row)


def _row(chapter: Chapter, row: Row) -> Iterator[str]:
    yield f"<h3>{escape(named(row))}</h3>"
    yield f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences(row.estimate))}</ul>"
    yield f"<p>If everything fails, each attempt at the last moment: {escape(row.estimate.timeline[-1].note)}.</p>"
    yield timeline_picture(row.estimate.timeline)
    yield (
        '<p>Requests a call, by the share of requests that fail:</p><p class="key"><span class="e">they fail at once</span>'
        '<span class="s">by silence</span><span class="b">within the budget</span></p>'
    )
    yield load_picture(row.estimate.load)
    yield f"<p>{' '.join(escape(sentence) for sentence in load_words(row.estimate.load, chapter.policies))}</p>"
