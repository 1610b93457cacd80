"""Small pieces of HTML; whatever text goes in is escaped here and nowhere else."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Raw:
    """HTML that is already HTML."""

    html: str


Cell = str | Raw


def text(value: Cell) -> str:
    return value.html if isinstance(value, Raw) else html.escape(value)


def with_range(value: str, interval: str) -> Raw:
    """A number with its interval, smaller, behind it."""
    return Raw(f"{html.escape(value)} <small>({html.escape(interval)})</small>")


def table(
    head: Sequence[Cell], rows: Iterable[Sequence[Cell]], caption: str, strong: Sequence[int] = ()
) -> str:
    """A table that scrolls sideways inside its own box on a narrow screen. strong: rows in bold."""
    body = []
    for at, (first, *rest) in enumerate(rows):
        css = ' class="strong"' if at in strong else ""
        cells = "".join(f"<td>{text(cell)}</td>" for cell in rest)
        body.append(f'<tr{css}><th scope="row">{text(first)}</th>{cells}</tr>')
    columns = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    label = html.escape(caption, quote=True)
    return (
        f'<p class="caption">{text(caption)}</p><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{label}"><table><thead><tr>{columns}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def figure(svg: str, caption: str, css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return f"<figure{kind}>{svg}<figcaption>{text(caption)}</figcaption></figure>"


def paragraph(content: Cell, css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return f"<p{kind}>{text(content)}</p>"


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{text(title)}</h2>{''.join(parts)}</section>"


def facts(rows: Iterable[tuple[str, Cell]], css: str = "facts") -> str:
    inner = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in rows)
    return f'<dl class="{css}">{inner}</dl>'
