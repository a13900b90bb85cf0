"""Chromium without a window, driven by chromedriver's own protocol (W3C WebDriver), which needs no package."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

DRIVER, CHROMIUM = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how the protocol names what stands for an element


class Browser:
    """A browser with a webcam that shows a test picture."""

    def __init__(self, folder: Path):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._driver = subprocess.Popen(
            [DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._url = f"http://127.0.0.1:{port}"
        flags = ["headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", f"user-data-dir={folder}"]
        flags += ["use-fake-device-for-media-stream=fps=10", "use-fake-ui-for-media-stream"]
        options = {"binary": CHROMIUM, "args": [f"--{flag}" for flag in flags]}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        self._wait(lambda: self._call("GET", "/status")["ready"])
        self._url += f"/session/{self._call('POST', '/session', wanted)['sessionId']}"

    def _call(self, method, path, content=None):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]

    @staticmethod
    def _wait(condition, seconds=60.0):
        end = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except OSError:  # not there yet
                pass
            assert time.monotonic() < end, "it did not happen in the browser"
            time.sleep(0.1)

    def open(self, url, width=1100, height=1500, dark=False):
        """Loads a page in a window of a size."""
        command = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", command)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._devtools("Emulation.setEmulatedMedia", {"features": features})
        self._call("POST", "/url", {"url": url})

    def _devtools(self, command, parameters):
        self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def run(self, script):
        """The value of an expression in the page."""
        return self._call("POST", "/execute/sync", {"script": f"return {script}", "args": []})

    def wait(self, script):
        """Waits until an expression is true."""
        self._wait(lambda: self.run(script))

    def _element(self, selector):
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return f"/element/{found[_ELEMENT]}"

    def type(self, selector, text):
        """Types into an element; into a field for files, the path of one."""
        self._call("POST", f"{self._element(selector)}/value", {"text": str(text)})

    def click(self, selector):
        """Clicks on an element."""
        self._call("POST", f"{self._element(selector)}/click", {})

    def picture(self, path):
        """Keeps a picture of the window."""
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self):
        """Ends the browser."""
        self._call("DELETE", "")
        self._driver.terminate()
        self._driver.wait(30)
