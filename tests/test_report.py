"""The report as a whole: its files, its figures, and a page that opens from disk."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import pandas as pd
import pytest
from absl import flags
from synthetic_runs import right_in, write_run
from test_report_claims import random_features

from dmcl_tf import report
from dmcl_tf.datasets import DATASETS
from dmcl_tf.errors import InputError
from dmcl_tf.files import read_json
from dmcl_tf.flag_groups import define
from dmcl_tf.report import ReportSettings
from dmcl_tf.reporting import curves, document, figures, style
from dmcl_tf.reporting.document import markdown
from dmcl_tf.reporting.loading import load_runs
from dmcl_tf.reporting.page import to_html
from dmcl_tf.reporting.tables import long_form

PLOTS = {
    "training_loss",
    "wins",
    "validation_accuracy",
    "train_fractions",
    "per_class",
    "confusion_independent_authors_recipe",
    "confusion_dmcl_authors_recipe",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report on two methods, three seeds and two shares of the videos, and one run that is not finished."""
    root = tmp_path_factory.mktemp("report")
    for seed in range(3):
        for method, rgb in (("independent", 30), ("dmcl", 47)):
            rights = {"rgb": right_in((0, rgb + seed)), "depth": right_in((0, 40)), "flow": right_in((10, 50))}
            write_run(root / f"runs/{method}/{seed}", rights, method=method, seed=seed)
            write_run(root / f"runs/{method}/half-{seed}", rights, method=method, seed=seed, train_fraction=0.5)
    write_run(root / "runs/mutual/0", rights, method="mutual", results=False)
    features = random_features({"inference": 24, "batch statistics": 11})
    (root / "results").mkdir()
    features.to_csv(root / "results/random_features.csv", index=False)
    with (root / "printed.txt").open("w", encoding="utf-8") as printed, contextlib.redirect_stdout(printed):
        report.report(ReportSettings((root / "runs",), root / "results"))
    return root


class Page(HTMLParser):
    """The tags that are open, and what the page refers to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.anchors, self.words = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.references += [attributes[name] for name in ("src", "href") if name in attributes]
        self.anchors += [attributes["id"]] if "id" in attributes else []
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def test_the_page_is_whole_and_refers_only_to_files_that_are_there(written):
    text = (written / "results/index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    pictures = [reference for reference in page.references if not reference.startswith("#")]
    assert sorted(pictures) == sorted(f"plots/{name}.png" for name in PLOTS)
    for reference in page.references:
        if reference.startswith("#"):
            assert reference[1:] in page.anchors
        else:
            assert (written / "results" / reference).is_file()
    assert "http" not in text
    assert "prefers-color-scheme: dark" in text
    for words in ("✓ holds", "✗ does not hold", "– not tested", "no results.json", "80.00 ± 1.67", "93.64"):
        assert words in page.words


def test_no_figure_is_blank(written):
    paths = list((written / "results/plots").glob("*.png"))
    assert {path.stem for path in paths} == PLOTS
    for path in paths:
        image = cv2.imread(str(path))
        assert min(image.shape[:2]) > 300
        assert image.std() > 8
        assert len(pd.unique(image.reshape(-1, 3).astype(int) @ [1, 256, 65536])) > 50


def test_the_documents(written):
    tables = (written / "results/tables.md").read_text(encoding="utf-8")
    assert "| DMCL, authors' recipe | 3 | 80.00 ± 1.67 | 93.64 |" in tables
    assert "| mutual/0 | no results.json; 8 of 8 epochs are trained |" in tables
    claims = (written / "results/claims.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^## \d\. ", claims, re.MULTILINE)) == 8
    assert "**DMCL, authors' recipe − Independent, authors' recipe: holds**" in claims
    assert "- It *does not hold* where no seed shows it" in claims
    long = pd.read_csv(written / "results/tables.csv")
    assert len(long) == 4 * 10  # variants × reported accuracies
    assert not list(written.rglob("*.partial"))


def test_the_same_runs_give_the_same_report(written, tmp_path):
    shutil.copytree(written / "results/plots", tmp_path / "plots")
    report.report(ReportSettings((written / "runs",), tmp_path, written / "results/random_features.csv"))
    for path in tmp_path.rglob("*.*"):
        assert path.read_bytes() == (written / "results" / path.relative_to(tmp_path)).read_bytes(), path.name
    with style.figure_style():
        figure = curves.train_fractions(load_runs(written / "runs"))
        figure.savefig(tmp_path / "again.png", format="png", metadata={"Software": None})
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "plots/train_fractions.png").read_bytes()


def test_figures_are_drawn_again_only_where_runs_or_figures_changed(written, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "_draw", lambda collection, output: {"plots/wins.png": "drawn again"})
    shutil.copytree(written / "results", tmp_path, dirs_exist_ok=True)
    captions = figures.write_figures(load_runs(written / "runs"), tmp_path)
    assert {Path(path).stem for path in captions} == PLOTS
    (tmp_path / "plots/per_class.png").unlink()
    assert figures.write_figures(load_runs(written / "runs"), tmp_path) == {"plots/wins.png": "drawn again"}
    shutil.copytree(written / "runs", tmp_path / "runs")
    path = next((tmp_path / "runs/dmcl").glob("*/history.csv"))
    path.write_text(path.read_text().replace("0.5", "0.6"))
    shutil.copytree(written / "results/plots", tmp_path / "plots", dirs_exist_ok=True)
    assert figures.write_figures(load_runs(tmp_path / "runs"), tmp_path) == {"plots/wins.png": "drawn again"}


def test_documents_quote_tables(written, tmp_path):
    path = tmp_path / "results.md"
    path.write_text(
        "# Mine\n<!-- begin: Table 1 -->\nstale\n<!-- end -->\nwords\n<!-- begin: Claims -->\n<!-- end -->\n"
    )
    shutil.copytree(written / "results", tmp_path / "results")
    settings = ReportSettings((written / "runs",), tmp_path / "results", docs=(path,))
    report.report(settings)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Mine\n<!-- begin: Table 1 -->\n\n| Method |")
    assert "|\n\n<!-- end -->\nwords\n<!-- begin: Claims -->\n\n| Claim |" in text
    assert "| DMCL, authors' recipe | 3 | 80.00 ± 1.67 | 93.64 |" in text
    assert "stale" not in text
    report.report(settings)
    assert path.read_text(encoding="utf-8") == text
    path.write_text("<!-- begin: Table 9 -->\n<!-- end -->\n")
    with pytest.raises(InputError, match=r"results.md: there is no table 'Table 9'; expected one of Claims, Table 1"):
        report.report(settings)
    with pytest.raises(InputError, match=r"--docs=none.md: No such file"):
        report.report(replace(settings, docs=(Path("none.md"),)))


RESULTS = Path("results")
COMMITTED = ReportSettings((RESULTS / "nwucla/runs", RESULTS / "utd_mhad/runs"), RESULTS)
EARLIER = ReportSettings((RESULTS / "nwucla_0.1/runs",), RESULTS / "nwucla_0.1")


@pytest.mark.parametrize("settings", [COMMITTED, EARLIER])
def test_the_committed_reports_are_those_of_the_committed_runs(monkeypatch, settings):
    """The tables in docs/results.md, too; that document says which command writes all of it."""
    monkeypatch.chdir(Path(__file__).parents[1])
    parts = report.find(settings)
    for folder, part in parts.items():
        captions = read_json(folder / "plots/drawn.json", figures.Drawn, "").captions
        parts[folder] = part = replace(part, captions=captions)
        assert document.tables_document(part) == (folder / "tables.md").read_text(encoding="utf-8")
        assert document.claims_document(part) == (folder / "claims.md").read_text(encoding="utf-8")
        assert long_form(part.collection).to_csv(index=False) == (folder / "tables.csv").read_text(encoding="utf-8")
        assert all((folder / path).exists() for path in captions)
        assert to_html(document.page_document(part)) == (folder / "index.html").read_text(encoding="utf-8")
    assert len(parts) == len(settings.runs)
    if len(parts) > 1:
        joint = document.joint_document(list(parts.values()))
        assert to_html(joint) == (settings.output / "index.html").read_text(encoding="utf-8")
        text = Path("docs/results.md").read_text(encoding="utf-8")
        assert document.quote(text, document.quotable(list(parts.values())), "docs/results.md") == text
        assert text.count("<!-- begin: ") >= 5


def test_several_data_sets_are_on_one_page(written, tmp_path):
    """The other one has neither RGB nor runs of a part of the videos."""
    for seed in range(3):
        for method, depth in (("independent", 40), ("dmcl", 50)):
            rights = {"depth": right_in((0, depth)), "flow": right_in((10, 50))}
            write_run(tmp_path / f"utd/{method}/{seed}", rights, method=method, seed=seed, dataset="utd_mhad")
    path = tmp_path / "mine.md"
    path.write_text("<!-- begin: Claims -->\n<!-- end -->\n<!-- begin: utd_mhad: All methods -->\n<!-- end -->\n")
    folders = (written / "runs", tmp_path / "utd")
    parts = report.report(ReportSettings(folders, tmp_path / "both", docs=(path,)))
    verdicts = document.joint_verdicts(parts).set_index(["Claim", "Tested on"])
    assert list(verdicts) == ["NW-UCLA", "UTD-MHAD"]
    pair = "DMCL, authors' recipe − Independent, authors' recipe"
    assert [*verdicts.loc[("1. DMCL's RGB network beats the independently trained one.", pair)]] == [
        "holds",
        "not tested",
    ]
    assert [part.name for part in parts] == ["nwucla", "utd_mhad"]
    quoted = path.read_text(encoding="utf-8")
    assert "| Claim | Tested on | NW-UCLA | UTD-MHAD |" in quoted
    assert "| Method | Runs | Depth | Flow |" in quoted
    page = Page((tmp_path / "both/index.html").read_text(encoding="utf-8"))
    assert not page.open
    pictures = [reference for reference in page.references if not reference.startswith("#")]
    assert {reference.split("/")[0] for reference in pictures} == {"nwucla", "utd_mhad"}
    assert all((tmp_path / "both" / picture).exists() for picture in pictures)
    for name in ("nwucla", "utd_mhad"):
        assert (tmp_path / "both" / name / "index.html").exists()
    with pytest.raises(InputError, match=r"runs and one before it are both of nwucla"):
        report.report(ReportSettings((folders[0], folders[0]), tmp_path / "twice"))
    with pytest.raises(InputError, match="--random_features is of one data set"):
        report.report(ReportSettings(folders, tmp_path / "both", tmp_path / "features.csv"))


def test_reporting_loads_neither_tensorflow_nor_what_only_figures_and_tests_need():
    code = "import sys, dmcl_tf.report; print(*{'tensorflow', 'matplotlib', 'scipy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[1], text=True) == "\n"


def test_settings_from_flags():
    values = flags.FlagValues()
    define(report.FLAG_GROUPS, values)
    values(["report", "--runs=a", "--output=b", "--docs=c.md,d.md"])
    assert report.settings_from_flags(values) == ReportSettings(
        (Path("a"),), Path("b"), None, (Path("c.md"), Path("d.md"))
    )
    values.output = None
    with pytest.raises(InputError, match="--output is missing"):
        report.settings_from_flags(values)


def test_what_is_printed(written):
    output = (written / "printed.txt").read_text(encoding="utf-8")
    assert "NW-UCLA · drawn · train views 1 and 2, test view 3 · compact scale · 60 test videos × 10 clips" in output
    assert "1. DMCL's RGB network beats the independently trained one.\n   holds " in output
    assert f"without results: {written}/runs/mutual/0: no results.json; 8 of 8 epochs are trained" in output


def test_one_run_with_the_least_of_files(tmp_path):
    folder = write_run(tmp_path / "runs/0", {"depth": right_in((0, 30))}, method="independent")
    for name in ("history.csv", "predictions.csv", "confusion.csv"):
        (folder.directory / name).unlink()
    report.report(ReportSettings((tmp_path / "runs",), tmp_path / "results"))
    assert not (tmp_path / "results/plots").exists()
    assert "<img" not in (tmp_path / "results/index.html").read_text(encoding="utf-8")
    assert "holds" not in [cell.strip() for cell in (tmp_path / "results/claims.md").read_text().split("|")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="k"), "it has no column 'k'; expected a file of dmcl_tf.random_features"),
        (lambda table: table.assign(dataset="demo"), r"and .* are of different dataset \(demo, nwucla\)"),
        (lambda table: table.assign(width=64), r"are of different width \(64, 16\)"),
    ],
)
def test_random_features_that_do_not_belong_there(written, tmp_path, change, message):
    path = tmp_path / "features.csv"
    change(random_features({"inference": 24, "batch statistics": 11})).to_csv(path, index=False)
    with pytest.raises(InputError, match=message):
        report.report(ReportSettings((written / "runs",), tmp_path, path))


def test_every_modality_of_utd_mhad_has_its_column(tmp_path):
    rights = {"depth": right_in((0, 30)), "flow": right_in((0, 15)), "skeleton": right_in((0, 45))}
    protocol = DATASETS["utd_mhad"].protocol()
    write_run(tmp_path / "runs/0", rights, dataset="utd_mhad", protocol=protocol, method="dmcl")
    report.report(report.ReportSettings((tmp_path / "runs",), tmp_path / "output"))
    lines = (tmp_path / "output/tables.md").read_text().splitlines()
    rows = lines[lines.index("## All methods") :]
    header, values = (
        next(row.split(" | ") for row in rows if row.startswith(start)) for start in ("| Method", "| DMCL")
    )
    found = dict(zip(header, values))
    assert (found["Depth"], found["Flow"], found["Skeleton"]) == ("50.00", "25.00", "75.00")


def test_runs_on_fewer_videos_alone(tmp_path):
    write_run(tmp_path / "runs/0", {"rgb": right_in((0, 30))}, method="dmcl", train_fraction=0.5)
    report.report(ReportSettings((tmp_path / "runs",), tmp_path / "results"))
    assert "50 % of the videos" in (tmp_path / "results/tables.md").read_text(encoding="utf-8")


def test_random_features_that_are_asked_for_must_be_there(written, tmp_path):
    with pytest.raises(InputError, match=r"none.csv does not exist: make it with python -m dmcl_tf.random_features"):
        report.report(ReportSettings((written / "runs",), tmp_path, tmp_path / "none.csv"))


def test_markdown_escapes_what_would_be_a_column():
    assert markdown(pd.DataFrame({"a": ["x|y"], "b": [1]})) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"
