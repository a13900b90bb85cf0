"""All of a report on one page that opens from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd

from dmcl_tf.reporting.claims import Claim
from dmcl_tf.reporting.documents import comparisons_table, runs_table, subject, unfinished_table, verdicts_table
from dmcl_tf.reporting.tables import Table
from dmcl_tf.reporting.variants import RunCollection
from dmcl_tf.reporting.verdicts import DOES_NOT_HOLD, HOLDS, RULE, UNDECIDED

_SIGNS = {HOLDS: ("✓", "yes"), DOES_NOT_HOLD: ("✗", "no"), UNDECIDED: ("?", "open")}

_STYLE = """
:root { color-scheme: light dark; --text: #222; --faint: #666; --page: #fff; --line: #d8d8d4; --row: #f5f5f2;
        --yes: #006b4e; --no: #a33a00; --open: #5d5d5d; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e6e3; --faint: #a0a09b; --page: #17181a; --line: #3a3b3e; --row: #1f2023;
          --yes: #4fc79e; --no: #ff9a63; --open: #b8b8b4; } }
body { margin: 0 auto; max-width: 74rem; padding: 1.5rem; background: var(--page); color: var(--text);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p, ul { margin: .3rem 0 .7rem; max-width: 60rem; } .note { color: var(--faint); font-size: .92rem; }
nav a { margin-right: 1rem; } a { color: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .7rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { border-bottom: 2px solid var(--line); } tbody tr:nth-child(even) { background: var(--row); }
td:last-child, .wrap td { white-space: normal; min-width: 9rem; }
.yes { color: var(--yes); font-weight: 600; } .no { color: var(--no); font-weight: 600; }
.open { color: var(--open); font-weight: 600; }
figure { margin: 1rem 0 1.6rem; } img { max-width: 100%; height: auto; border-radius: 6px; }
figcaption { color: var(--faint); font-size: .92rem; max-width: 60rem; }
@media print { body { max-width: none; } figure, table { break-inside: avoid; } }
"""


def page(
    collection: RunCollection, tables: Sequence[Table], claims: Sequence[Claim], figures: Mapping[str, str]
) -> str:
    """`index.html`.

    Args:
        collection: the runs.
        tables: to show.
        claims: to show.
        figures: captions by the path of the picture, relative to the page.
    """
    title = f"{collection.runs[0].run.dataset}: results"
    sections = {
        "Claims": _claims(claims),
        "Tables": "".join(f"<h3>{escape(t.title)}</h3>{_note(t.note)}{_table(t.frame)}" for t in tables),
        "Figures": "".join(_figure(path, caption) for path, caption in figures.items()),
        "Tests behind the verdicts": _tests(claims),
        "Runs": _table(runs_table(collection)) + _unfinished(collection),
    }
    anchors = {name: name.split()[0].lower() for name in sections}
    links = "".join(f'<a href="#{anchors[name]}">{name}</a>' for name in sections)
    body = "".join(f'<h2 id="{anchors[name]}">{name}</h2>\n{content}\n' for name, content in sections.items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>{_note(subject(collection))}<nav>{links}</nav>\n{body}</body></html>\n"
    )


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _table(frame: pd.DataFrame, kind: str = "") -> str:
    """A table of texts; verdicts are marked."""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in frame.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_cell(str(cell))}</td>" for cell in row) + "</tr>" for row in frame.to_numpy()
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _cell(text: str) -> str:
    return _verdict(text) if text in _SIGNS else escape(text)


def _verdict(text: str) -> str:
    sign, kind = _SIGNS[text]
    return f'<span class="{kind}">{sign} {text}</span>'


def _figure(path: str, caption: str) -> str:
    words = escape(caption)
    return f'<figure><img src="{escape(path)}" alt="{words}" loading="lazy"><figcaption>{words}</figcaption></figure>'


def _claims(claims: Sequence[Claim]) -> str:
    return _table(verdicts_table(claims), "wrap")


def _tests(claims: Sequence[Claim]) -> str:
    parts = [_block(block) for block in RULE.split("\n\n")]
    for claim in claims:
        parts.append(f"<h3>{claim.number}. {escape(claim.statement)}</h3>{_note(claim.how)}")
        for case in claim.cases:
            note = f" ({escape(case.note)})" if case.note else ""
            parts.append(f"<p>{escape(case.label)}: {_verdict(case.verdict)}{note}</p>")
            if case.comparisons:
                parts.append(_table(comparisons_table(case.comparisons, claim.unit)))
    return "".join(parts)


def _block(text: str) -> str:
    """A paragraph or a list of Markdown."""
    if not text.startswith("- "):
        return f"<p>{_emphasis(text)}</p>"
    items = text.removeprefix("- ").split("\n- ")
    return f"<ul>{''.join(f'<li>{_emphasis(item)}</li>' for item in items)}</ul>"


def _emphasis(text: str) -> str:
    pieces = escape(text).split("*")
    return "".join(f"<em>{piece}</em>" if index % 2 else piece for index, piece in enumerate(pieces))


def _unfinished(collection: RunCollection) -> str:
    if not collection.unfinished:
        return ""
    return f"<h3>Runs without results</h3>{_table(unfinished_table(collection))}"
