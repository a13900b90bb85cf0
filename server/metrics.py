"""What the server tells of itself: figures for Prometheus, and a line of JSON for each event."""

from __future__ import annotations

import json
import logging
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_PLAIN = set(vars(logging.makeLogRecord({})))


class Metrics:
    """The figures of one server.

    Attributes:
        registry: that holds them.
        requests: answered, by route, method and status.
        seconds: that answers took, by route.
        running: requests that are being answered.
        decoders_lost: processes that were killed, or died of a video.
        version: that is served.
    """

    def __init__(self):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ["route", "method", "status"]
        self.requests = Counter("dmcl_requests", "Requests answered.", labels, registry=self.registry)
        self.seconds = Histogram("dmcl_request_seconds", "Time to the answer.", ["route"], registry=self.registry)
        self.running = Gauge("dmcl_requests_running", "Requests being answered.", registry=self.registry)
        self.decoders_lost = Counter("dmcl_decoders_lost", "Decoders killed or dead.", registry=self.registry)
        self.version = Gauge("dmcl_model_version", "Version that is served.", registry=self.registry)


class JsonLines(logging.Formatter):
    """One JSON object for each record, with what its `extra` holds."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {"time": f"{stamp}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        line["event"] = record.getMessage()
        extra = {name: value for name, value in vars(record).items() if name not in _PLAIN and name != "message"}
        extra.pop("color_message", None)
        if record.exc_info:
            extra["traceback"] = self.formatException(record.exc_info)
        return json.dumps({**line, **extra}, default=str, ensure_ascii=False)


def log_in_json() -> None:
    """Sends the records of the server and of uvicorn to standard error, as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name in ("server", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
