"""The documents of a report as Markdown, and its tables in other people's Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dmcl_tf.errors import InputError
from dmcl_tf.reporting.claims import Claim
from dmcl_tf.reporting.collection import RunCollection
from dmcl_tf.reporting.tables import Table
from dmcl_tf.reporting.verdicts import NOT_TESTED, RULE, Comparison


@dataclass(frozen=True)
class Part:
    """What is reported of one data set.

    Attributes:
        collection: its runs.
        tables: of their accuracies.
        claims: with their verdicts.
        captions: of its figures, by the path of the picture, relative to its own report.
    """

    collection: RunCollection
    tables: Sequence[Table]
    claims: Sequence[Claim]
    captions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the data set, for folders and flags."""
        return self.collection.runs[0].run.dataset

    @property
    def title(self) -> str:
        """Of the data set, for people."""
        return self.collection.dataset.title


_QUOTED = re.compile(r"(<!-- begin: (?P<name>[^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def subject(collection: RunCollection) -> str:
    """What all runs are of: data, protocol, scale and checkpoint, in one line."""
    of = collection.runs[0].results.evaluated
    protocol = ", ".join(f"{n.replace('_', ' ')} {_words(v)}" for n, v in of.protocol.items() if v is not None)
    parts = [
        collection.dataset.title,
        of.origin,
        protocol,
        f"{of.config.scale} scale",
        f"{of.videos} {of.split} videos × {of.clips_per_video} clips",
        f"{of.checkpoint} checkpoint",
        f"{len(collection.runs)} runs",
    ]
    return " · ".join(dict.fromkeys(part for part in parts if part))


def _words(value: object) -> str:
    return " and ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def tables_document(part: Part) -> str:
    """`tables.md`."""
    start = ["# Results", subject(part.collection), *_tables(part.tables, "##")]
    return _join([*start, "## Runs", *_runs(part.collection, "##")])


def claims_document(part: Part) -> str:
    """`claims.md`."""
    start = ["# Which of the paper's claims hold here", subject(part.collection), markdown(verdicts_table(part.claims))]
    return _join([*start, "## When a claim holds", RULE, *_tests(part.claims, "##")])


def page_document(part: Part) -> str:
    """What `index.html` shows."""
    claims = ["## Claims", markdown(verdicts_table(part.claims)), RULE]
    return _join([f"# {part.title}: results", subject(part.collection), *claims, *_behind(part, "##")])


def joint_document(parts: Sequence[Part]) -> str:
    """What the `index.html` of several data sets shows: their verdicts side by side, and what is behind them."""
    joint = ["# Results", " · ".join(part.title for part in parts)]
    joint += ["## Claims", markdown(joint_verdicts(parts)), RULE]
    for part in parts:
        joint += [f"## {part.title}", subject(part.collection), *_behind(part, "###", f"{part.name}/")]
    return _join(joint)


def _behind(part: Part, level: str, folder: str = "") -> list[str]:
    """What the verdicts on a data set come from, below headings of a level; its pictures are in `folder`."""
    parts = [f"{level} Tables", *_tables(part.tables, f"{level}#")]
    parts += [f"{level} Figures", *_figures(part.captions, folder)]
    parts += [f"{level} Tests behind the verdicts", *_tests(part.claims, f"{level}#")]
    return [*parts, f"{level} Runs", *_runs(part.collection, level)]


def joint_verdicts(parts: Sequence[Part]) -> pd.DataFrame:
    """Every case of every claim that is tested anywhere, with the verdicts of the data sets beside each other."""
    rows = []
    for claims in zip(*(part.claims for part in parts)):  # each report has all of them, in the same order
        labels = dict.fromkeys(case.label for claim in claims for case in claim.cases)
        verdicts = [{case.label: case.verdict for case in claim.cases} for claim in claims]
        found = [(label, *(of_one.get(label, NOT_TESTED) for of_one in verdicts)) for label in labels]
        tested = [row for row in found if {*row[1:]} != {NOT_TESTED}] or found[:1]
        names = [f"{claims[0].number}. {claims[0].statement}", *[""] * len(tested)]
        rows += [(name, *row) for name, row in zip(names, tested)]
    return pd.DataFrame(rows, columns=["Claim", "Tested on", *(part.title for part in parts)])


def quotable(parts: Sequence[Part]) -> dict[str, pd.DataFrame]:
    """What other documents can quote: `Claims`, and tables by the start of their title, such as `Table 1`.

    Of several data sets, `Claims` are those of all, and each has its own as `utd_mhad: Claims`, `utd_mhad: Table 1`.
    """
    frames = {} if len(parts) == 1 else {"Claims": joint_verdicts(parts)}
    for part in parts:
        prefix = "" if len(parts) == 1 else f"{part.name}: "
        frames[f"{prefix}Claims"] = verdicts_table(part.claims)
        frames |= {prefix + table.title.split(":")[0]: table.frame for table in part.tables}
    return frames


def quote(text: str, tables: Mapping[str, pd.DataFrame], where: object) -> str:
    """Writes tables between the lines `<!-- begin: name -->` and `<!-- end -->` of a document, replacing what is there.

    Args:
        text: the document.
        tables: by name.
        where: the document's name, for messages.

    Raises:
        InputError: a name that no table has.
    """

    def quoted(match: re.Match) -> str:
        if match["name"] not in tables:
            raise InputError(f"{where}: there is no table {match['name']!r}; expected one of {', '.join(tables)}")
        return f"{match[1]}\n{markdown(tables[match['name']])}\n\n{match[3]}"

    return _QUOTED.sub(quoted, text)


def markdown(frame: pd.DataFrame) -> str:
    """A table of texts as Markdown, without its index."""
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _join(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"


def _figures(captions: Mapping[str, str], folder: str = "") -> list[str]:
    return [f"![{caption}]({folder}{path})" for path, caption in captions.items()]


def _tables(tables: Sequence[Table], level: str) -> list[str]:
    return [part for table in tables for part in (f"{level} {table.title}", table.note, markdown(table.frame))]


def _tests(claims: Sequence[Claim], level: str) -> list[str]:
    parts = []
    for claim in claims:
        parts += [f"{level} {claim.number}. {claim.statement}", claim.how]
        for case in claim.cases:
            parts.append(f"**{case.label}: {case.verdict}**" + (f" ({case.note})" if case.note else ""))
            if case.comparisons:
                parts.append(markdown(comparisons_table(case.comparisons, claim.unit)))
    return parts


def verdicts_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Every case of every claim and its verdict."""
    rows = [
        (f"{claim.number}. {claim.statement}" if case is claim.cases[0] else "", case.label, case.verdict)
        for claim in claims
        for case in claim.cases
    ]
    return pd.DataFrame(rows, columns=["Claim", "Tested on", "Verdict"])


def comparisons_table(comparisons: Sequence[Comparison], unit: str) -> pd.DataFrame:
    """The numbers of a case."""
    rows = [
        {
            "Quantity": comparison.difference.quantity,
            f"By seed, {unit}": ", ".join(f"{value:+.2f}" for value in comparison.difference.values) or "–",
            "Mean": f"{comparison.difference.values.mean():+.2f}" if len(comparison.difference.values) else "–",
            "95 % over seeds (t)": str(comparison.over_seeds or "–"),
            "95 % over videos (bootstrap)": str(comparison.over_videos or "–"),
            "p (t-test)": _p(comparison.p_t),
            "p (sign flips)": _p(comparison.p_sign_flip),
            "Verdict": comparison.verdict,
            "Why": comparison.reason,
        }
        for comparison in comparisons
    ]
    return pd.DataFrame(rows)


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _runs(collection: RunCollection, level: str) -> list[str]:
    """Every finished run, and below a heading those without results."""
    finished = [
        (
            group.label,
            seed,
            run.config.epochs,
            run.results.evaluated.weights.epoch + 1,
            _folder(run.directory),
        )
        for group in collection.groups
        for seed, run in group.runs.items()
    ]
    columns = ["Method", "Seed", "Epochs", "Epoch compared", "Folder"]
    parts = [markdown(pd.DataFrame(finished, columns=columns))]
    if collection.unfinished:
        rows = [(_folder(path), reason) for path, reason in collection.unfinished.items()]
        parts += [f"{level} Runs without results", markdown(pd.DataFrame(rows, columns=["Folder", "Reason"]))]
    return parts


def _folder(path: Path) -> str:
    return "/".join(path.parts[-2:])
