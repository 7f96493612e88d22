"""`resilience top`: the dashboard in a terminal. It asks a running dashboard, as a browser does, and counts nothing itself.

`client` asks, `rows` and `waterfall` make text of the answers, `plain` prints them once, and `app` (the only module that
needs Textual) shows them live. Nothing here is trusted: a span's text may hold the codes that move a terminal's cursor.
"""

from __future__ import annotations

__all__: list[str] = []
