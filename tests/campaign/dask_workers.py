"""A preparation as a Beam pipeline on Dask: workers that are processes on network ports, one killed in the middle.

`python -m tests.campaign.dask_workers` needs `pip install '.[beam,dask]'`; it prints what happened, and ends with
status 1 where the files are not those of a preparation without Beam.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 3
VIDEOS = 40
RUNNER = "apache_beam.runners.dask.dask_runner.DaskRunner"  # its short name is not known to Beam
sys.path.insert(0, str(ROOT / "tests"))

import raw  # noqa: E402
from preparing import command, contents  # noqa: E402


def write_own(folder: Path) -> Path:
    """A CSV file of own videos, and what it lists."""
    folder.mkdir()
    lines = ["video_id,label,split,rgb"]
    for index in range(VIDEOS):
        raw.write_video(folder / f"{index}.avi", 20, seed=index)
        lines.append(f"v{index},{('wave', 'sit')[index % 2]},{('train', 'test')[index // 2 % 2]},{index}.avi")
    (folder / "videos.csv").write_text("\n".join(lines) + "\n")
    return folder / "videos.csv"


def start(arguments: list[str], log: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("w") as said:
        return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=said, stderr=said)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def main(arguments: list[str]) -> None:
    root, processes = Path(tempfile.mkdtemp(prefix="dask-")), []
    own = ["--dataset=custom", f"--videos={write_own(root / 'own')}", f"--data_dir={root}", "--flow_from=rgb"]
    own += ["--frame_size=64", "--flow_preset=precise"]
    subprocess.run(command(*own, f"--records={root / 'local'}"), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    address = f"tcp://127.0.0.1:{free_port()}"
    try:
        port = address.rpartition(":")[2]
        quiet = ["--no-dashboard"]
        scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", f"--port={port}", *quiet]
        processes.append(start(scheduler, root / "scheduler.log"))
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads=1", "--no-nanny", *quiet]
        workers = [start(worker, root / f"worker{k}.log") for k in range(WORKERS)]
        processes += workers
        options = f"--runner={RUNNER} --dask_client_address={address} --dask_npartitions=20"
        beam = command(*own, f"--records={root / 'beam'}", "--runner=beam", f"--beam_options={options}")
        preparation = start(beam, root / "preparation.log")
        processes.append(preparation)
        while len(list((root / "beam").glob("videos/*/*.tfrecord"))) < 14 and preparation.poll() is None:
            time.sleep(0.02)
        made = len(list((root / "beam").glob("videos/*/*.tfrecord")))
        workers[0].send_signal(signal.SIGKILL)
        status = preparation.wait(timeout=300)
        print(f"{WORKERS} workers; one was killed after {made} records; the preparation ended with {status}")
        same = status == 0 and contents(root / "beam") == contents(root / "local")
        print(f"the same bytes as without Beam: {same}")
        for log in [] if same else sorted(root.glob("*.log")):
            print(f"== {log.name}\n{log.read_text()[-2500:]}")
        sys.exit(0 if same else 1)
    finally:
        for process in processes:
            process.kill()


if __name__ == "__main__":
    app.run(main)
