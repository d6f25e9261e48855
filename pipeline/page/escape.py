"""Text that stays text: in plotly's charts, and as JSON inside the page.

plotly reads a little HTML in names and hovers, so a model called `<a href=...>` must be escaped for
it; and no text may end the `<script>` that it stands in.
"""

import html


def plain(text: object) -> str:
    """`text` as plotly shows it letter by letter."""
    return html.escape(str(text), quote=False)


def in_script(json: str) -> str:
    """JSON that means the same and cannot end the `<script>` it stands in."""
    return json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
