"""Tables and claims as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dmcl_tf.reporting.claims import Claim
from dmcl_tf.reporting.tables import Table
from dmcl_tf.reporting.variants import RunCollection
from dmcl_tf.reporting.verdicts import RULE, Comparison


def markdown(frame: pd.DataFrame) -> str:
    """A table of texts as Markdown."""
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def subject(collection: RunCollection) -> str:
    """What all runs are of: data, protocol, scale and checkpoint, in one line."""
    run = collection.runs[0]
    results = run.results
    protocol = ", ".join(f"{name.replace('_', ' ')} {_words(value)}" for name, value in results["protocol"].items())
    parts = [
        run.run.dataset,
        results.get("origin", ""),
        protocol,
        f"{results['scale']} scale",
        f"{results['videos']} {results['split']} videos × {results['clips_per_video']} clips",
        f"{results['checkpoint']} checkpoint",
        f"{len(collection.runs)} runs",
    ]
    return " · ".join(part for part in parts if part)


def _words(value: object) -> str:
    return " and ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def tables_document(collection: RunCollection, tables: Sequence[Table]) -> str:
    """`tables.md`."""
    parts = ["# Results", subject(collection)]
    for table in tables:
        parts += [f"## {table.title}", table.note, markdown(table.frame)]
    parts += ["## Runs", markdown(runs_table(collection))]
    if collection.unfinished:
        parts += ["## Runs without results", markdown(unfinished_table(collection))]
    return "\n\n".join(parts) + "\n"


def claims_document(collection: RunCollection, claims: Sequence[Claim]) -> str:
    """`claims.md`."""
    parts = ["# Which of the paper's claims hold here", subject(collection), markdown(verdicts_table(claims))]
    parts += ["## When a claim holds", RULE]
    for claim in claims:
        parts += [f"## {claim.number}. {claim.statement}", claim.how]
        for case in claim.cases:
            parts.append(f"**{case.label}: {case.verdict}**" + (f" ({case.note})" if case.note else ""))
            if case.comparisons:
                parts.append(markdown(comparisons_table(case.comparisons, claim.unit)))
    return "\n\n".join(parts) + "\n"


def verdicts_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Every case of every claim and its verdict."""
    rows = [
        {"Claim": f"{claim.number}. {claim.statement}" if first else "", "Of": case.label, "Verdict": case.verdict}
        for claim in claims
        for first, case in zip([True] + [False] * len(claim.cases), claim.cases)
    ]
    return pd.DataFrame(rows)


def comparisons_table(comparisons: Sequence[Comparison], unit: str) -> pd.DataFrame:
    """The numbers of a case."""
    rows = []
    for comparison in comparisons:
        by_seed = ", ".join(f"{value:+.2f}" for value in comparison.differences.values())
        rows.append(
            {
                "Quantity": comparison.quantity,
                f"By seed, {unit}": by_seed or "–",
                "Mean": f"{comparison.mean:+.2f}" if comparison.differences else "–",
                "95 % over seeds (t)": str(comparison.over_seeds or "–"),
                "95 % over videos (bootstrap)": str(comparison.over_videos or "–"),
                "p (t-test)": _p(comparison.p_t),
                "p (sign flips)": _p(comparison.p_sign_flip),
                "Verdict": comparison.verdict,
                "Why": comparison.reason,
            }
        )
    return pd.DataFrame(rows)


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def runs_table(collection: RunCollection) -> pd.DataFrame:
    """Every finished run: its seeds, epochs, and the code that made it."""
    rows = []
    for variant in collection.variants:
        for seed, run in variant.runs.items():
            rows.append(
                {
                    "Method": variant.label,
                    "Seed": str(seed),
                    "Epochs": str(run.config.epochs),
                    "Epoch compared": str(run.results["epoch"] + 1),
                    "Folder": "/".join(run.directory.parts[-2:]),
                }
            )
    return pd.DataFrame(rows)


def unfinished_table(collection: RunCollection) -> pd.DataFrame:
    """Runs without results, and why."""
    rows = [{"Folder": "/".join(path.parts[-2:]), "Reason": reason} for path, reason in collection.unfinished.items()]
    return pd.DataFrame(rows)
