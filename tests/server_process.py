"""A server of this project as a process, and requests to it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Server:
    """A server process; its temporary files are in a folder of its own."""

    def __init__(self, folder, *arguments):
        self.temporary = Path(folder)
        environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "workflow", "serve", "--port=0", *arguments]
        self.log = self.temporary.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, cwd=ROOT)
        line = self.process.stdout.readline().decode()
        assert line, self.log.read_text()
        self.port = int(re.search(r"127\.0\.0\.1:(\d+)/", line)[1])

    def request(self, method, path, body=None, **headers):
        """Status and content of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        kind = response.headers["content-type"] or ""
        return response.status, json.loads(content) if "json" in kind else content.decode()

    def post(self, path, content):
        return self.request("POST", path, json.dumps(content))

    def upload(self, fields=None, **files):
        """Sends files, a path or bytes each, and fields."""
        parts = []
        for name, value in (fields or {}).items():
            parts.append(f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
        for name, value in files.items():
            filename, data = (value.name, value.read_bytes()) if isinstance(value, Path) else ("../../x.mp4", value)
            head = f'--edge\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
            parts.append(head.encode() + data + b"\r\n")
        kind = {"Content-Type": "multipart/form-data; boundary=edge"}
        return self.request("POST", "/v1/videos", b"".join([*parts, b"--edge--\r\n"]), **kind)

    def left_over(self):
        """Files of requests that are still there."""
        return list(self.temporary.glob("dmcl_tf_*"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.close()
        return self.process.wait(30)
