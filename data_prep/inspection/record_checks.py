"""What is wrong with a record: its bytes, its frames, and what the table of videos says of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.inspection.contact_sheets import strip
from data_prep.video.frames import BLANK, decode_image, is_blank
from dmcl_tf.data.records import decode_video, read_record, record_path
from dmcl_tf.data.table import Description, Video, checksum
from dmcl_tf.errors import InputError

_MOVING = 3  # so many different frames, and the other modalities cannot all be the same: of two, flow has one


@dataclass(frozen=True)
class CheckedRecord:
    """What became of a check.

    Attributes:
        video_id: of the record.
        problems: what is wrong, a line each.
        known: what is peculiar, but known to the table of videos.
        strip: pictures, see `contact_sheets.strip`; empty where none are wanted.
    """

    video_id: str
    problems: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    strip: bytes = b""


def check_record(
    video: Video, *, directory: Path, description: Description, pictured: Collection[str] = ()
) -> CheckedRecord:
    """Reads a record to its last byte, decodes every frame, and compares it with what is said of it.

    Args:
        video: its line in the table.
        directory: of the records.
        description: of all of them.
        pictured: the videos of which pictures are wanted.
    """
    problems: list[str] = []
    try:
        serialized = read_record(record_path(directory, video.video_id))
        if checksum(serialized) != video.checksum:
            problems.append(f"{video.video_id}: it is another record than videos.csv says: delete it and make it again")
        about, contents = decode_video(serialized)
    except (InputError, ValueError, IndexError) as error:
        return CheckedRecord(video.video_id, [f"{video.video_id}: {error}"])

    def report(problem: str) -> None:
        problems.append(f"{video.video_id}: {problem}")

    for name in ("video_id", "frames", "length", "fingerprint"):
        here, there = getattr(about, name), getattr(video, name)
        if here != there:
            report(f"its {name} is {here!r}, but videos.csv says {there!r}")
    size = description.frame_size
    if (about.height, about.width) != (size, size):
        report(f"it is said to be {about.width}×{about.height} pixels, but dataset.json says {size}²")
    if set(contents) != set(description.modalities):
        report(
            f"it has the modalities {', '.join(sorted(contents))}, expected {', '.join(sorted(description.modalities))}"
        )
    contents = {modality: contents[modality] for modality in description.modalities if modality in contents}
    for modality, frames in contents.items():
        if len(frames) != about.length:
            report(f"{modality} has {len(frames)} frames, but its length is {about.length}")
    blank = {modality: _check_frames(modality, frames, size, report) for modality, frames in contents.items()}
    known: list[str] = []
    for modality, reason in _shows_nothing(contents, blank).items():
        is_known = any(warning.startswith(f"{modality} is blank") for warning in video.warnings.split(" | "))
        (known if is_known else problems).append(f"{video.video_id}: {reason}")
    pictures = strip(contents) if video.video_id in pictured else b""
    return CheckedRecord(video.video_id, problems, known, pictures)


def _check_frames(modality: str, contents: Sequence[bytes], size: int, report: Callable[[str], None]) -> bool:
    """Decodes every frame; returns whether all that can be decoded are of one colour."""
    blank = True
    for index, content in enumerate(contents):
        try:
            image = decode_image(content)
            if not content.startswith(b"\xff\xd8"):
                raise InputError("not a JPEG image")
        except InputError as error:
            report(f"{modality}, frame {index}: {error}")
            continue
        if image.shape[:2] != (size, size):
            report(f"{modality}, frame {index}: {image.shape[1]}×{image.shape[0]} pixels, not {size}²")
        blank = blank and is_blank(image)
    return blank


def _shows_nothing(contents: Mapping[str, Sequence[bytes]], blank: Mapping[str, bool]) -> dict[str, str]:
    """Why modalities are blank, or stand still while another moves; a video of one frame has no flow to show."""
    different = {modality: len(set(frames)) for modality, frames in contents.items()}
    reasons = {}
    for modality in contents:
        others = max((count for other, count in different.items() if other not in (modality, "flow")), default=0)
        if blank[modality] and not (modality == "flow" and others == 1):
            reasons[modality] = f"{modality} is {BLANK}"
        elif different[modality] == 1 and others >= _MOVING:
            reasons[modality] = f"{modality} is constant: every frame is the same"
    return reasons
