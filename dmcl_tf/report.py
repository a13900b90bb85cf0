"""Reports on finished runs: `python -m dmcl_tf.report --runs=checkpoints/nwucla --output=results/nwucla`.

Reads config.json, results.json, history.csv, predictions.csv and confusion.csv of every run below --runs, which must be
of one data set, protocol and scale, and writes

  tables.md, tables.csv   the paper's tables, with its numbers beside ours
  claims.md               which of the paper's claims hold here, by which tests
  plots/                  figures
  index.html              all of it on one page, which opens from disk
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from absl import flags

from dmcl_tf.errors import InputError, run_script
from dmcl_tf.reporting import documents, pictures, plots, style
from dmcl_tf.reporting.claims import all_claims
from dmcl_tf.reporting.page import page
from dmcl_tf.reporting.runs import load_runs
from dmcl_tf.reporting.tables import all_tables, long_form
from dmcl_tf.reporting.variants import RunCollection
from dmcl_tf.runs.folder import write_text

_RANDOM_FEATURES = ("modality", "k", "seed", "batch_norm", "accuracy", "dataset", "width", "crop_size")


def report(runs: Path, output: Path, random_features: Path | None = None) -> RunCollection:
    """Writes the report; returns the runs it is about.

    Args:
        runs: folder of the runs.
        output: folder of the report.
        random_features: what `dmcl_tf.random_features` wrote; None: `random_features.csv` in `output`, if it is there.

    Raises:
        InputError: as `load_runs`, or for a file of random features that is none.
    """
    collection = load_runs(runs)
    features = None
    if random_features or (output / "random_features.csv").exists():
        features = read_random_features(random_features or output / "random_features.csv", collection)
    tables, claims = all_tables(collection, features), all_claims(collection, features)
    figures = write_figures(collection, output)
    write_text(output / "tables.md", documents.tables_document(collection, tables))
    write_text(output / "tables.csv", long_form(collection).to_csv(index=False))
    write_text(output / "claims.md", documents.claims_document(collection, claims))
    write_text(output / "index.html", page(collection, tables, claims, figures))
    print(documents.subject(collection))
    print(next(table.frame for table in tables if table.title == "All methods").to_string(index=False))
    for claim in claims:
        print(f"\n{claim.number}. {claim.statement}")
        for case in claim.cases:
            print(f"   {case.verdict:13}  {case.label}" + (f" ({case.note})" if case.note else ""))
    for path, reason in collection.unfinished.items():
        print(f"without results: {path}: {reason}")
    return collection


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
    expected = {"dataset": run.run.dataset, "width": run.config.width, "crop_size": run.config.crop_size}
    for name, value in expected.items():
        there = table[name].unique().tolist()
        if there != [value]:
            raise InputError(
                f"{path} and {run.directory} are of different {name} ({', '.join(map(str, there))}, {value}): make the "
                "former anew with python -m dmcl_tf.random_features"
            )
    return table


def write_figures(collection: RunCollection, output: Path) -> dict[str, str]:
    """Writes the figures that there is something for; returns captions by path relative to `output`."""
    band, deviation = "Mean over seeds; band from the lowest to the highest.", "Mean and standard deviation over seeds."
    makers = {
        "training_loss": (
            plots.training_loss,
            f"Training cross-entropy of each modality (Fig. 3 of the paper). {band}",
        ),
        "wins": (plots.wins, f"Share of the training samples at which each modality has the lowest loss. {band}"),
        "validation_accuracy": (plots.validation_accuracy, f"Accuracy on the validation videos. {band}"),
        "train_fractions": (
            plots.fraction_curves,
            f"Accuracy on the test videos against the share of the training videos. {deviation}",
        ),
        "per_class": (
            pictures.per_class,
            f"Accuracy of RGB in every class, independent training against DMCL. {deviation}",
        ),
    }
    for variant in (*collection.find("independent"), *collection.find("dmcl")):
        caption = f"Confusion matrices of {variant.label}, in percent of each true class, all seeds together."
        name = "confusion_" + re.sub(r"[^a-z0-9.]+", "_", variant.label.lower().replace("'", ""))
        makers[name] = (lambda _, variant=variant: pictures.confusion(variant), caption)
    written = {}
    with style.figure_style():
        for name, (make, caption) in makers.items():
            figure = make(collection)
            if figure:
                path = Path("plots") / f"{name}.png"
                style.save(figure, output / path)
                written[path.as_posix()] = caption
    return written


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the script's flags."""
    flags.DEFINE_string("runs", None, "folder of the runs, such as checkpoints/nwucla", flag_values=flag_values)
    flags.DEFINE_string("output", None, "folder of the report, such as results/nwucla", flag_values=flag_values)
    flags.DEFINE_string(
        "random_features",
        None,
        "CSV that dmcl_tf.random_features wrote; default: random_features.csv in --output, if it is there",
        flag_values=flag_values,
    )


def main() -> None:
    """Reports on the runs that the flags name."""
    for name in ("runs", "output"):
        if not flags.FLAGS[name].value:
            raise InputError(f"--{name} is missing: expected a folder, see --help")
    given = flags.FLAGS.random_features
    report(Path(flags.FLAGS.runs), Path(flags.FLAGS.output), Path(given) if given else None)
    print(f"report: {Path(flags.FLAGS.output) / 'index.html'}")


if __name__ == "__main__":
    define_flags()
    run_script(main)
