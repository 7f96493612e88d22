"""`resilience top`: the dashboard in a terminal. It asks a running one, as a browser does.

`client` asks; `rows`, `states` and `waterfall` make text of the answers; `plain` prints them once; `app` and its
`widgets`, the only ones that need Textual, show them live. Nothing here is trusted: a span's text may hold the codes
that move a terminal's cursor.
"""

from __future__ import annotations

__all__: list[str] = []
