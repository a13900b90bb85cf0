"""The names of the images in a folder: which belong together, and which frame each one is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from os.path import commonprefix

from dmcl_tf.errors import InputError

_SHARE = 0.1  # of a folder's images that are named alike, from which on they are a series


def natural_order(name: str, fractions: bool = False) -> tuple[tuple, ...]:
    """A sorting key by which frame 9 comes before frame 10 and, where numbers have fractions, 1.05 before 1.5."""
    parts = re.split(r"([0-9]+(?:\.[0-9]+)?)" if fractions else r"([0-9]+)", name)
    return tuple((1, Decimal(part), part) if position % 2 else (0, part) for position, part in enumerate(parts))


def choose_series(names: Sequence[str], modality: str = "") -> list[str]:
    """The images of one modality in temporal order.

    Where a folder holds several series, `rgb_000.png` beside `depth_000.png`, it is the one that names the modality.

    Args:
        names: of the images in a folder.
        modality: whose images are wanted; "" where that is not known.

    Raises:
        InputError: it cannot be told which images are meant, or two have one number. The message names no folder.
    """
    # of one name alone, `ir_1.png` of the modality ir_1, the number is that of the frame
    own = modality if modality and sum(bool(re.search(_word(modality), name.lower())) for name in names) > 1 else ""
    if _are_hexadecimal(names):
        return sorted(names, key=str.lower)
    groups: dict[str, list[str]] = {}
    for name in sorted(names, key=natural_order):
        groups.setdefault(_pattern(name, own), []).append(name)
    series = {pattern: members for pattern, members in groups.items() if len(members) >= max(2, _SHARE * len(names))}
    if len(series) > 1:
        chosen = _of_modality(series, modality)
        if not chosen:
            kinds = ", ".join(f"{len(members)} × {members[0]}" for members in series.values())
            raise InputError(
                f"images of several kinds ({kinds}): put each kind into a folder of its own, or begin their names with "
                f"that of the modality, such as {modality or 'rgb'}_000.png"
            )
        return _in_order([name for pattern in chosen for name in groups[pattern]])
    if len(series) == 1 and len(groups) > 1:
        ((pattern, members),) = series.items()
        if len(members) >= (1 - _SHARE) * len(names):
            other = next(name for name in names if _pattern(name, own) != pattern)
            raise InputError(f"{other} is not named like the other images, such as {members[0]}: move it elsewhere")
    return _in_order(list(names))


def _of_modality(series: Mapping[str, object], modality: str) -> list[str]:
    """The patterns that name the modality; of equal stems with other endings, such as .jpg and .png, all."""
    stems = {pattern: pattern.rpartition(".")[0] for pattern in series}
    if len(set(stems.values())) == 1:
        return list(series)
    if not modality:
        return []
    for word in (_word(modality), rf"(?<![a-z]){re.escape(modality.lower())}"):  # first the name alone, then its start
        chosen = [pattern for pattern, stem in stems.items() if re.search(word, stem)]
        if chosen:
            return chosen if len({stems[pattern] for pattern in chosen}) == 1 else []
    return []


def _word(modality: str) -> str:
    """A regular expression of a modality's name as a word of its own; digits may follow one that ends in a letter."""
    name = re.escape(modality.lower())
    return rf"(?<![a-z]){name}(?![a-z])" if name[-1].isalpha() else rf"(?<![a-z]){name}(?![a-z0-9])"


def _are_hexadecimal(names: Sequence[str]) -> bool:
    """Whether the names are consecutive hexadecimal numbers of equal length, some with letters among their digits."""
    stems = [name.rpartition(".")[0].lower() for name in names]
    begin = len(re.sub(r"[0-9a-f]*$", "", commonprefix(stems)))
    digits = [stem[begin:] for stem in stems]
    if len({*map(len, digits)}) != 1 or not all(re.fullmatch(r"[0-9a-f]+", text) for text in digits):
        return False
    numbers = {int(text, 16) for text in digits}
    return not "".join(digits).isdecimal() and max(numbers) - min(numbers) + 1 == len(numbers) == len(names)


def _have_fractions(names: Sequence[str]) -> bool:
    """Whether digits behind a point are a fraction, as in time stamps, and no counter of their own.

    A fraction without its last zeros is shorter than others. A counter does not begin with a zero, and leaves few out.
    """
    matches = [re.search(r"[0-9]\.([0-9]+)", name.rpartition(".")[0]) for name in names]
    parts = [match[1] for match in matches if match]
    lengths = {*map(len, parts)}
    if len(parts) < len(names) or len(lengths) == 1:
        return 0 < len(parts) < len(names)
    if any(len(part) > 1 and part[0] == "0" for part in parts):
        return True
    counts = {int(part) for part in parts}
    return max(lengths) > 4 and max(counts) - min(counts) > 100 * len(names)


def _in_order(names: Sequence[str]) -> list[str]:
    """The names in temporal order; raises `InputError` where two of them have one number."""
    seen: dict[tuple[str, tuple[Decimal, ...]], str] = {}
    fractions = _have_fractions(names)
    for name in names:
        key = (_pattern(name).rpartition(".")[0], _numbers(name, fractions))
        if key[1] and key in seen:
            raise InputError(
                f"{seen[key]} and {name} are both frame {key[1][-1]}: keep one of them, or put each kind into a folder "
                "of its own"
            )
        seen[key] = name
    return sorted(names, key=partial(natural_order, fractions=fractions))


def _pattern(name: str, modality: str = "") -> str:
    """A name without its numbers, but for those in the name of the modality, and with one ending for each format."""
    parts = re.split(f"({_word(modality)})", name.lower()) if modality else [name.lower()]
    parts[::2] = [re.sub(r"[0-9]+(\.[0-9]+)?", "#", part) for part in parts[::2]]
    stem, _, ending = "".join(parts).rpartition(".")
    return f"{stem}.{ {'jpeg': 'jpg', 'tiff': 'tif'}.get(ending, ending) }"


def _numbers(name: str, fractions: bool = False) -> tuple[Decimal, ...]:
    number = r"[0-9]+(?:\.[0-9]+)?" if fractions else r"[0-9]+"
    return tuple(Decimal(text) for text in re.findall(number, name.rpartition(".")[0]))


def frame_numbers(names: Sequence[str]) -> list[int] | None:
    """The frame number in each name: the first number that no two names share. None where there is none."""
    rows = [_numbers(name) for name in names]
    if len({len(row) for row in rows}) != 1 or _have_fractions(names) or _are_hexadecimal(names):
        return None
    for column in zip(*rows):
        if len(set(column)) == len(column):
            return [int(number) for number in column]
    return None


def pair_numbers(numbers: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Pairs the frames of modalities by number, where their numbers can be compared.

    They can where at least half of the shortest are numbers of all the others. Equally many without gaps that begin at
    0 here and at 1 there are frames of the same moments in the order that they have. What one modality has beyond the
    end of another stays, since the comparison of their lengths judges that.

    Args:
        numbers: of the frames of each modality, in their order.

    Returns:
        The positions of the frames to keep, by modality; empty where nothing has to be left out.
    """
    sets = [set(values) for values in numbers.values()]
    common = set.intersection(*sets)
    if len(sets) < 2 or all(found == common for found in sets) or 2 * len(common) < min(map(len, sets)):
        return {}
    starts = [min(found) for found in sets]
    if (
        all(max(found) - min(found) + 1 == len(found) == len(sets[0]) for found in sets)
        and max(starts) - min(starts) == 1
    ):
        return {}
    last = max(common)
    kept = {
        modality: [at for at, number in enumerate(values) if number in common or number > last]
        for modality, values in numbers.items()
    }
    return kept if any(len(kept[modality]) < len(values) for modality, values in numbers.items()) else {}
