"""The explanation as one page that needs nothing else: no script, no network, light or dark as the reader has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from .gather import Chapter, Row
from .pictures import load_picture, timeline_picture
from .text import named, settings
from .words import course_words, duration, load_words, requests, sentences, twice_words

__all__ = ["as_page"]


def as_page(chapters: Sequence[Chapter], title: str) -> str:
    """A whole HTML document. Everything that came from the file is escaped."""
    body = "\n".join(line for chapter in chapters for line in _chapter(chapter))
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<style>\n{style}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield f"<h2>Pipeline {escape(chapter.name)}</h2>"
    items = [
        f"<li><b>{escape(name)}</b><span>{escape(what)}</span></li>" for name, what in map(settings, chapter.policies)
    ]
    items.insert(chapter.boundary, '<li class="boundary">one attempt</li>')
    yield f'<ol class="policies">{"".join(items)}<li>&rarr; the guarded function</li></ol>'
    yield "<table><tr><th>operation</th><th>typical trouble</th><th>worst</th><th>requests</th></tr>"
    for row in chapter.rows:
        estimate = row.estimate
        cells = (
            named(row, chapter),
            duration(estimate.typical.latency),
            duration(estimate.worst.latency),
            requests(estimate.worst.sends),
        )
        yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
    yield "</table>"
    for row in chapter.rows:
        yield from _row(chapter, row)


def _row(chapter: Chapter, row: Row) -> Iterator[str]:
    yield f"<h3>{escape(named(row, chapter))}</h3>"
    twice = twice_words(row.estimate, chapter.policies, others="*" in row.names)
    said = [*sentences(row.estimate), *twice]
    yield f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in said)}</ul>"
    course = f"{course_words(row.estimate, chapter.policies)}: {row.estimate.timeline[-1].note}."
    yield f"<p>{escape(course)}</p>"
    yield timeline_picture(row.estimate.timeline)
    yield (
        "<p>Requests a call, by the share of requests that fail:</p>"
        '<p class="key"><span class="e">they fail at once</span>'
        '<span class="s">by silence</span><span class="b">within the budget</span></p>'
    )
    yield load_picture(row.estimate.load)
    yield f"<p>{' '.join(escape(sentence) for sentence in load_words(row.estimate.load, chapter.policies))}</p>"
