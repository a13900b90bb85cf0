"""A report as one page of HTML that opens from disk."""

from __future__ import annotations

import re
from html import escape

from dmcl_tf.reporting.verdicts import DOES_NOT_HOLD, HOLDS, NOT_TESTED, UNDECIDED

_SIGNS = {HOLDS: ("✓", "yes"), DOES_NOT_HOLD: ("✗", "no"), UNDECIDED: ("?", "open"), NOT_TESTED: ("–", "open")}

_STYLE = """
:root { color-scheme: light dark; --text: #222; --faint: #666; --page: #fff; --line: #d8d8d4; --row: #f5f5f2;
        --yes: #006b4e; --no: #a33a00; --open: #5d5d5d; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e6e3; --faint: #a0a09b; --page: #17181a; --line: #3a3b3e; --row: #1f2023;
          --yes: #4fc79e; --no: #ff9a63; --open: #b8b8b4; } }
body { margin: 0 auto; max-width: 74rem; padding: 1.5rem; background: var(--page); color: var(--text);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; } h4 { font-size: .92rem; margin: 1.2rem 0 .3rem; }
p, ul { margin: .3rem 0 .7rem; max-width: 60rem; } h1 + p, h3 + p, h4 + p { color: var(--faint); font-size: .92rem; }
nav a { margin-right: 1rem; } a { color: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .7rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { border-bottom: 2px solid var(--line); } tbody tr:nth-child(even) { background: var(--row); }
td:first-child, td:last-child { white-space: normal; min-width: 9rem; }
.yes { color: var(--yes); font-weight: 600; } .no { color: var(--no); font-weight: 600; }
.open { color: var(--open); font-weight: 600; }
figure { margin: 1rem 0 1.6rem; } img { max-width: 100%; height: auto; border-radius: 6px; }
figcaption { color: var(--faint); font-size: .92rem; max-width: 60rem; }
@media print { body { max-width: none; } figure, table { break-inside: avoid; } }
"""


def to_html(document: str) -> str:
    """A report in Markdown as a page; its headings of the second level become a menu."""
    parts = document.strip().split("\n\n")
    title, menu = escape(parts[0].removeprefix("# ")), []
    body = [_part(part) for part in parts[:2]]
    for part in parts[2:]:
        if part.startswith("## "):
            menu.append(f'<a href="#{_anchor(part)}">{escape(part[3:])}</a>')
        body.append(_part(part))
    body.insert(2, f"<nav>{''.join(menu)}</nav>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _part(part: str) -> str:
    """A heading, a picture, a table or a paragraph, which may end in a list."""
    if part.startswith("#"):
        signs, text = part.split(" ", 1)
        anchor = f' id="{_anchor(part)}"' if signs == "##" else ""
        return f"<h{len(signs)}{anchor}>{escape(text)}</h{len(signs)}>"
    picture = re.fullmatch(r"!\[(.*)\]\((.*)\)", part)
    if picture:
        words, path = map(escape, picture.groups())
        return f'<figure><img src="{path}" alt="{words}" loading="lazy"><figcaption>{words}</figcaption></figure>'
    if part.startswith("| "):
        head, _, *rows = (_cells(line) for line in part.splitlines())
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        head = head.replace("td>", "th>")
        return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    if part.startswith("- "):
        return "".join(["<ul>", *(f"<li>{_text(item)}</li>" for item in part[2:].split("\n- ")), "</ul>"])
    return f"<p>{_text(part)}</p>"


def _anchor(heading: str) -> str:
    return re.sub(r"\W+", "-", heading.lstrip("# ").lower()).strip("-")


def _cells(line: str) -> str:
    """The cells of a line of a table; verdicts are marked."""
    cells = [cell.replace("\\|", "|") for cell in line.removeprefix("| ").removesuffix(" |").split(" | ")]
    return "".join(
        f'<td><span class="{_SIGNS[cell][1]}">{_SIGNS[cell][0]} {cell}</span></td>'
        if cell in _SIGNS
        else f"<td>{escape(cell)}</td>"
        for cell in cells
    )


def _text(text: str) -> str:
    """Text whose `**strong**` and `*emphasised*` words are marked."""
    text = escape(text)
    for sign, tag in (("**", "strong"), ("*", "em")):
        pieces = text.split(sign)
        text = "".join(f"<{tag}>{piece}</{tag}>" if index % 2 else piece for index, piece in enumerate(pieces))
    return text
