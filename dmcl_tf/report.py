"""Reports on finished runs: `python -m dmcl_tf.report --runs=checkpoints/nwucla --output=reports/nwucla`.

Reads config.json, results.json, history.csv, predictions.csv and confusion.csv of every run below a folder of --runs,
which must be of one data set, protocol and scale, and writes

  tables.md, tables.csv   the paper's tables, with its numbers beside ours
  claims.md               which of the paper's claims hold here, by which tests
  plots/                  figures, drawn anew where the runs have changed
  index.html              all of it on one page, which opens from disk

Several folders, --runs=results/nwucla/runs,results/utd_mhad/runs --output=results, are of one data set each: each gets
its own report in a folder of its name below --output, and index.html shows all of them, with the verdicts side by side.

With --docs=docs/results.md it also writes its tables into that document, where lines such as `<!-- begin: Table 1 -->`
and `<!-- end -->` ask for them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from absl import flags

from dmcl_tf.errors import InputError, run_script
from dmcl_tf.files import write_text
from dmcl_tf.reporting import document
from dmcl_tf.reporting.claims import all_claims
from dmcl_tf.reporting.collection import RunCollection
from dmcl_tf.reporting.document import Part
from dmcl_tf.reporting.figures import write_figures
from dmcl_tf.reporting.loading import load_runs
from dmcl_tf.reporting.page import to_html
from dmcl_tf.reporting.tables import all_tables, long_form

_RANDOM_FEATURES = ("modality", "k", "seed", "batch_norm", "accuracy", "dataset", "variant", "width", "crop_size")


@dataclass(frozen=True)
class ReportSettings:
    """What is reported on, and where.

    Attributes:
        runs: folder of the runs, one for each data set.
        output: folder of the report.
        random_features: what `dmcl_tf.random_features` wrote; None: `random_features.csv` beside the report of its data
            set, if it is there.
        docs: documents that quote tables of the report.
    """

    runs: tuple[Path, ...]
    output: Path
    random_features: Path | None = None
    docs: tuple[Path, ...] = ()


def report(settings: ReportSettings) -> list[Part]:
    """Writes the report and prints what it says; returns what it says of each data set.

    Raises:
        InputError: as `load_runs`, for two folders of one data set, for a file of random features that is none, or for
            a document that does not exist or asks for a table that there is not.
    """
    parts = find(settings)
    tables = document.quotable(list(parts.values()))
    for path in settings.docs:
        write_text(path, document.quote(_read(path), tables, path))
    for folder, part in parts.items():
        parts[folder] = part = replace(part, captions=write_figures(part.collection, folder))
        write_text(folder / "tables.md", document.tables_document(part))
        write_text(folder / "tables.csv", long_form(part.collection).to_csv(index=False))
        write_text(folder / "claims.md", document.claims_document(part))
        write_text(folder / "index.html", to_html(document.page_document(part)))
        _print(part)
    if len(parts) > 1:
        write_text(settings.output / "index.html", to_html(document.joint_document(list(parts.values()))))
    print(f"report: {settings.output / 'index.html'}")
    return list(parts.values())


def _print(part: Part) -> None:
    print(document.subject(part.collection))
    of_all = document.quotable([part]).get("All methods")
    if of_all is not None:
        print(of_all.to_string(index=False))
    for claim in part.claims:
        print(f"\n{claim.number}. {claim.statement}")
        for case in claim.cases:
            print(f"   {case.verdict:13}  {case.label}" + (f" ({case.note})" if case.note else ""))
    for path, reason in part.collection.unfinished.items():
        print(f"without results: {path}: {reason}")


def find(settings: ReportSettings) -> dict[Path, Part]:
    """What is to be reported of each data set, by the folder of its report; errors as of `report`."""
    parts: dict[Path, Part] = {}
    if settings.random_features and len(settings.runs) > 1:
        raise InputError("--random_features is of one data set: give the folder of its runs alone as --runs")
    for runs in settings.runs:
        collection, output = load_runs(runs), settings.output
        if len(settings.runs) > 1:
            output /= collection.runs[0].run.dataset
        if output in parts:
            raise InputError(f"--runs: {runs} and one before it are both of {output.name}: give one for a data set")
        path = settings.random_features
        if path is None and (output / "random_features.csv").exists():
            path = output / "random_features.csv"
        features = read_random_features(path, collection) if path else None
        parts[output] = Part(collection, all_tables(collection, features), all_claims(collection, features))
    return parts


def read_random_features(path: Path, collection: RunCollection) -> pd.DataFrame:
    """The accuracies of random features that stand beside the runs.

    Raises:
        InputError: where the file is missing, lacks a column, or is of another data set or of networks of another size.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: make it with python -m dmcl_tf.random_features --output={path}")
    table = pd.read_csv(path)
    missing = [name for name in _RANDOM_FEATURES if name not in table]
    if missing:
        raise InputError(f"{path}: it has no column {missing[0]!r}; expected a file of dmcl_tf.random_features")
    run = collection.runs[0]
    networks = Counter(each.config.network(modality) for each in collection.runs for modality in each.config.modalities)
    ((variant, width), _), *_ = networks.most_common(1)  # single networks of some runs may be others
    expected = {"dataset": run.run.dataset, "variant": variant, "width": width, "crop_size": run.config.crop_size}
    for name, value in expected.items():
        there = table[name].unique().tolist()
        if there != [value]:
            raise InputError(
                f"{path} and {run.directory} are of different {name} ({', '.join(map(str, there))}, {value}): make the "
                "former anew with python -m dmcl_tf.random_features"
            )
    return table


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"--docs={path}: {error.strerror}; expected a document in Markdown") from None


def report_flags(values: flags.FlagValues) -> None:
    """What is reported on, and where."""
    text = "folder of the runs, such as checkpoints/nwucla; several, comma-separated, of one data set each"
    flags.DEFINE_list("runs", [], text, flag_values=values)
    flags.DEFINE_string("output", None, "folder of the report, such as reports/nwucla", flag_values=values)
    text = "CSV that dmcl_tf.random_features wrote; default: random_features.csv in --output, if it is there"
    flags.DEFINE_string("random_features", None, text, flag_values=values)
    text = "documents in Markdown that quote tables of the report, comma-separated"
    flags.DEFINE_list("docs", [], text, flag_values=values)


FLAG_GROUPS = (report_flags,)


def settings_from_flags(values: flags.FlagValues) -> ReportSettings:
    """The settings of a report.

    Raises:
        InputError: a folder is not given.
    """
    for name in ("runs", "output"):
        if not values[name].value:
            raise InputError(f"--{name} is missing: expected a folder, see --help")
    features = values["random_features"].value
    return ReportSettings(
        tuple(map(Path, values["runs"].value)),
        Path(values["output"].value),
        Path(features) if features else None,
        tuple(map(Path, values["docs"].value)),
    )


def main(values: flags.FlagValues = flags.FLAGS) -> None:
    """Reports on the runs that the flags name."""
    report(settings_from_flags(values))


if __name__ == "__main__":
    for group in FLAG_GROUPS:
        group(flags.FLAGS)
    run_script(main)
