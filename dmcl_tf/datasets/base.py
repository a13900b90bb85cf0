"""What a data set is to training: its classes, and the protocols that say which videos are trained and tested on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dmcl_tf.data.table import Video
from dmcl_tf.errors import InputError

Protocol = Mapping[str, Any]  # the settings of a protocol by name, JSON values


@dataclass(frozen=True)
class Setting:
    """A setting that some data sets have and others do not; a flag of the same name changes it.

    Attributes:
        default: a text, a number, a truth value, a tuple of numbers, or None for one without default.
        help: what it means, for `--help`.
        choices: the possible texts; empty: any.
        kind: the type of its values, where `default` does not tell it.
    """

    default: object
    help: str
    choices: tuple[str, ...] = ()
    kind: type | None = None


PER_CLASS, APART = "per_class", "apart"
_VALIDATION = {
    "validation": Setting(
        None,
        "How validation videos are drawn from the training videos: per_class, equally many of each class, as the "
        "authors do; or apart, whole subjects, views or setups, whichever the protocol keeps apart. Own data: apart "
        "where the CSV file has subjects.",
        (PER_CLASS, APART),
    ),
    "validation_per_class": Setting(
        None,
        "Validation videos of each class. Default: 26 for NTU RGB+D, else a twentieth of the average class; one at "
        "least.",
        kind=int,
    ),
}


@dataclass(frozen=True)
class Dataset:
    """A data set and its protocols.

    Attributes:
        name: the name under `--dataset`.
        title: its name in prose.
        class_names: by label; empty where the records say them.
        side: `side(video, protocol)` → "train", "validation", "test", or "" for a video that is not used.
        settings: the settings of its protocols, without those of validation, which every data set has.
        check: `check(protocol)` raises `InputError` for an impossible protocol.
        thin: `thin(videos, class_names, protocol)` → the training videos to keep, once validation is drawn.
        apart: `apart(protocol)` → the attribute that no test video may share with the others, such as "subject"; ""
            where nothing is kept apart.
        group: the attribute of test videos by which accuracies are reported and averaged; "" for none.
        folder: of its raw data and records below the folder of all data; data sets of one family share it.
        modalities: to train on unless flags say otherwise; empty: those of the records.
        expected: published numbers of videos, by "videos" for all, or by class name, or "view 1" and the like.
        defaults: settings of `Config` that suit it, under those that the user gives.
        licence: of its videos, in prose; empty where it is not known.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    side: Callable[[Video, Protocol], str]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    check: Callable[[Protocol], None] = lambda protocol: None
    thin: Callable[[Sequence[Video], Sequence[str], Protocol], list[Video]] | None = None
    apart: Callable[[Protocol], str] = lambda protocol: ""
    group: str = ""
    folder: str = ""
    modalities: tuple[str, ...] = ("rgb", "depth", "flow")
    expected: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)
    licence: str = ""

    def __post_init__(self):
        object.__setattr__(self, "folder", self.folder or self.name)

    @property
    def all_settings(self) -> dict[str, Setting]:
        """The settings of its protocols, with those of validation."""
        return {**_VALIDATION, **self.settings}

    def protocol(self, changes: Protocol | None = None) -> dict[str, object]:
        """The default protocol with some settings changed, as JSON values.

        Raises:
            InputError: a setting that it does not have, or an impossible value.
        """
        settings, changes = self.all_settings, dict(changes or {})
        for name, value in changes.items():
            if name not in settings:
                raise InputError(f"--{name}: {self.name} has no such setting, only {', '.join(settings)}")
            if settings[name].choices and value is not None and value not in settings[name].choices:
                raise InputError(f"--{name}={value}: {self.name} has only {', '.join(settings[name].choices)}")
        chosen = {name: changes.get(name, setting.default) for name, setting in settings.items()}
        protocol = {name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items()}
        self.check(protocol)
        return protocol


def by_view(protocol: Protocol) -> str:
    """The attribute that cross-view protocols keep apart."""
    return "view"


def describe(protocol: Protocol) -> str:
    """A protocol for people: its settings that have a value."""
    return ", ".join(f"{name} {in_words(value)}" for name, value in protocol.items() if value is not None)


def in_words(value: object) -> str:
    """A setting's value for people: lists as on the command line, and nothing as `none`."""
    if isinstance(value, Mapping):
        return describe(value) or "none"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)
