"""Own videos: their table says the classes, and its column `split` which videos are for what."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from dmcl_tf.config import subset_names
from dmcl_tf.data.table import Video
from dmcl_tf.datasets.base import Dataset, Protocol
from dmcl_tf.errors import InputError
from dmcl_tf.registry import HALLUCINATION

SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_MOST_MODALITIES = 10  # an exported model has a signature for each subset
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# what results, histories and exported models call something else, and the flags beside those of modalities
_TAKEN = {
    *("sum", "sum_probabilities", "oracle", "loss", "accuracy", "validation", "epoch", "subsets", "serving_default"),
    HALLUCINATION,
    "skeleton",  # drawn from files of joints, and mirrored accordingly; see dmcl_tf.data.augmentation
    *("model", "clips", "json", "videos", "window", "stride", "annotate", "with", "output", "fps"),
    *("length_tolerance", "max_pixels", "max_frames"),
    *("help", "helpfull", "helpshort", "helpxml", "flagfile", "undefok", "v", "verbosity", "logger_levels", "log_dir"),
    *("logtostderr", "alsologtostderr", "stderrthreshold", "showprefixforinfo", "run_with_pdb", "pdb", "profile_file"),
    *("pdb_post_mortem", "run_with_profiling", "use_cprofile_for_profiling", "only_check_args", "test_srcdir"),
}


def split_of(word: str) -> str:
    """Which split a word means, in capitals or not: train, validation, test.

    Raises:
        InputError: none of them.
    """
    for split, words in SPLIT_WORDS.items():
        if word.strip().lower() in words:
            return split
    raise InputError(f"the split is {word!r}; expected train, validation or test")


def check_modalities(names: Sequence[str]) -> None:
    """Checks that modalities of these names can be prepared, trained, exported and predicted from.

    Raises:
        InputError: one cannot, or two subsets of them would be one name of an exported model's signature.
    """
    if len(names) > _MOST_MODALITIES:
        raise InputError(f"{len(names)} modalities; expected at most {_MOST_MODALITIES}, which --modalities chooses")
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(f"the column {name!r} cannot name a modality; expected letters, digits and _")
        if name in _TAKEN or name.removeprefix("no") in _TAKEN or keyword.iskeyword(name):
            raise InputError(
                f"the column {name!r} cannot name a modality, as something else is called so; rename it, for example "
                f"{name}_frames, or leave it out with --modalities"
            )
    seen: dict[str, tuple[str, ...]] = {}
    for subset in subset_names(tuple(names)).values():
        other = seen.setdefault("_".join(subset), subset)
        if other != subset:
            raise InputError(
                f"the columns {', '.join(other)} and {', '.join(subset)} cannot be told apart in an exported "
                f"model, which joins them to {'_'.join(subset)!r}; rename one of them"
            )


def side(video: Video, protocol: Protocol) -> str:
    """What the CSV file says.

    Raises:
        InputError: the table of videos does not hold it, or another word.
    """
    try:
        return split_of(video.attributes.get("split", ""))
    except InputError as error:
        raise InputError(f"{video.video_id}: {error}; make the records with data_prep/make_tfrecords.py") from None


DATASET = Dataset(name="custom", title="own videos", class_names=(), side=side, modalities=())
