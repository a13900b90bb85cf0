"""Kinect skeletons → colour and depth frames in the layout of NW-UCLA.

    python data_prep/render_skeletons.py --skeletons=DIR --output=DIR

makes DIR/multiview_action/view_{V}/aAA_sSS_eEE/frame_{N}_tc_{T}_rgb.jpg and …_depth_vis.jpg from files
aAA_sSS_eEE_vVV.json, whose key `skeletons` holds frames × 20 joints × (x, y, z) in metres in the camera's frame.
Every picture is a function of the clip id, the skeletons and the size. The same command continues an interrupted run.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from data_prep.running.processes import default_workers
from data_prep.synthetic.rendering import describe, render_folder
from dmcl_tf.errors import InputError, run_script


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_string(
        "skeletons", None, "Folder with the skeleton files aAA_sSS_eEE_vVV.json.", flag_values=flag_values
    )
    flags.DEFINE_string(
        "output", None, "Folder to be filled; make_tfrecords takes it as --data_dir.", flag_values=flag_values
    )
    flags.DEFINE_integer(
        "size",
        128,
        "Side of the square pictures in pixels; 80 is enough for --scale=compact. One output folder, one size.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "limit",
        None,
        "Render only the first so many files, by name; for a quick look.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "workers",
        default_workers(),
        "Processes; the default is one for each processor core.",
        lower_bound=1,
        flag_values=flag_values,
    )


def main() -> None:
    """Renders what the flags ask for."""
    for name in ("skeletons", "output"):
        if flags.FLAGS[name].value is None:
            raise InputError(f"--{name} is missing: give a folder, --{name}=DIR")
    output = Path(flags.FLAGS.output)
    summary = render_folder(
        Path(flags.FLAGS.skeletons),
        output,
        size=flags.FLAGS.size,
        workers=flags.FLAGS.workers,
        limit=flags.FLAGS.limit,
    )
    print(describe(summary, output))


if __name__ == "__main__":
    define_flags()
    run_script(main)
