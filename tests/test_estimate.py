"""The projection of costs: means of a sample, and formulas that a reader can follow."""

from __future__ import annotations

import pytest
from preparing import prepare, settings

from data_prep import make_tfrecords
from data_prep.running import estimate
from data_prep.running.estimate import Costs
from dmcl_tf.errors import InputError


def test_the_formulas():
    costs = Costs(videos=7200, sampled=20, frames=80.0, seconds={"decode": 0.5, "flow": 1.5}, bytes=1e6)
    assert costs.core_hours == 4.0
    said = "\n".join(costs.lines(batch_size=8))
    for text in (
        "sample: 20 of 7200 videos, 80 frames each",
        "processor seconds per video: 2.000 (decode 0.500, flow 1.500)",
        "7200 × 2.000 s / 3600 = 4 core-hours",
        "7200 × 1 MB = 7.2 GB",
        "a step of 8 videos reads 8 × 1 MB = 8 MB",
        "100 workers for 1 GB/s and 10 videos/s",
    ):
        assert text in said


def test_a_sample_says_what_all_will_take(tmp_path, write_nwucla_tree, monkeypatch, capsys):
    raw = write_nwucla_tree(tmp_path / "raw", frames=5)
    small = ("--dataset=nwucla", "--frame_size=24", "--flow_algorithm=dis", f"--data_dir={raw}")
    planned = settings(*small, f"--records={tmp_path / 'records'}")
    monkeypatch.setattr(estimate, "SAMPLE", 6)
    make_tfrecords.print_estimate(planned)
    said = capsys.readouterr().out
    assert "sample: 6 of 30 videos, 5 frames each" in said
    assert not (tmp_path / "records").exists()
    found = planned.raw.list_videos(planned.raw.reader())
    costs = estimate.measure(found.videos, planned.raw.videos)
    assert list(costs.seconds) == ["decode", "resize", "jpeg", "flow"]
    assert sum(costs.seconds.values()) > 0
    made = prepare(*small, f"--records={tmp_path / 'records'}")
    assert costs.bytes == pytest.approx(sum(video.bytes for video in made.videos) / 30, rel=0.02)
    for path in (raw / "multiview_action").rglob("*_rgb.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"^no video of the sample can be used; the first: "):
        estimate.measure(found.videos, planned.raw.videos)
