"""The REST interface of TensorFlow Serving: status, metadata and prediction in row and column form.

Paths, bodies and errors are those of its documentation, so that a client can move from one to the other.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec
import numpy as np

from dmcl_tf.errors import InputError
from server.limits import Refused, ServerLimits
from server.models import Models, Signature, Version

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d{1,18}))?(?P<metadata>/metadata)?(:(?P<verb>predict|classify|regress))?"
)


def respond(method: str, path: str, body: bytes, models: Models, limits: ServerLimits) -> dict[str, Any]:
    """The answer to a request, as JSON; HEAD is answered as GET is.

    Raises:
        Refused: with the status and the message of TensorFlow Serving where it has one.
    """
    match, method = _PATH.fullmatch(path), "GET" if method == "HEAD" else method
    if not match or (method == "POST") != bool(match["verb"]) or (match["metadata"] and match["verb"]):
        raise Refused(400, f"Malformed request: {method} {path}")
    number = int(match["version"]) if match["version"] else None
    if method == "GET" and not match["metadata"]:
        return _status(match["name"], number, models)
    version = models.current
    if match["name"] != models.name or number not in (None, version.number):
        wanted = "Latest" if number is None else "Specific"
        version_text = "" if number is None else f", {number}"
        raise Refused(404, f"Servable not found for request: {wanted}({match['name']}{version_text})")
    if match["metadata"]:
        return _metadata(models.name, version)
    if match["verb"] != "predict":
        kind = {"classify": "classification", "regress": "regression"}[match["verb"]]
        raise Refused(
            400,
            f"Expected {kind} signature method_name to be tensorflow/serving/{match['verb']}. Was: "
            "tensorflow/serving/predict",
        )
    return predict(body, version, limits)


def _status(name: str, number: int | None, models: Models) -> dict[str, Any]:
    states = models.states() if name == models.name else {}
    if number is not None:
        states = {number: states[number]} if number in states else {}
    if not states:
        wanted = "any versions" if number is None else f"version {number}"
        raise Refused(404, f"Could not find {wanted} of model {name}")
    entries = []
    for version, reason in states.items():
        state = "AVAILABLE" if version == models.current.number else "END"
        status = {"error_code": "FAILED_PRECONDITION" if reason else "OK", "error_message": reason}
        entries.append({"version": str(version), "state": state, "status": status})
    return {"model_version_status": entries}


def _metadata(name: str, version: Version) -> dict[str, Any]:
    definitions = {
        signature_name: {
            "inputs": {key: _tensor_info(key, value) for key, value in signature.inputs.items()},
            "outputs": {key: _tensor_info(key, value) for key, value in signature.outputs.items()},
            "method_name": "tensorflow/serving/predict",
        }
        for signature_name, signature in version.signatures.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version.number)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def _tensor_info(name: str, specification) -> dict[str, Any]:
    shape, dtype = specification.shape, specification.dtype
    sizes = [] if shape.rank is None else [-1 if size is None else size for size in shape.as_list()]
    return {
        "dtype": "DT_" + {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype.name, dtype.name.upper()),
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in sizes],
            "unknown_rank": shape.rank is None,
        },
        "name": f"{name}:0",
    }


def predict(body: bytes, version: Version, limits: ServerLimits) -> dict[str, Any]:
    """The answer to the body of a prediction: `predictions` of `instances` (rows), `outputs` of `inputs` (columns).

    Raises:
        Refused: status 400, or 413 for clips that take too much memory.
    """
    signatures = version.signatures
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise Refused(400, "JSON Value: expected an object with 'inputs' or 'instances'")
    name = request.get("signature_name") or "serving_default"  # "" is the default's name in the metadata
    signature = signatures.get(name) if isinstance(name, str) else None
    if signature is None:
        raise Refused(400, f"Serving signature name: {name!r} not found in signature def; expected {list(signatures)}")
    if ("instances" in request) == ("inputs" in request):
        raise Refused(400, "Missing 'inputs' or 'instances' key, or both are there: expected one of them")
    rows = "instances" in request
    columns = _columns(request["instances"], signature) if rows else _named(request["inputs"], signature, "inputs")
    inputs = {key: _array(value, signature.inputs[key].dtype, key) for key, value in columns.items()}
    for array in inputs.values():
        if array.ndim == 5:  # the graph says what is wrong with other shapes
            limits.check_clips(array.shape, version.exported.config.crop_size)
    try:
        outputs = {key: _json(key, value) for key, value in signature(inputs).items()}
    except InputError as error:
        raise Refused(400, str(error)) from None
    single = next(iter(outputs)) if len(outputs) == 1 else None
    if not rows:
        return {"outputs": outputs[single] if single else outputs}
    if single:
        return {"predictions": outputs[single]}
    return {"predictions": [dict(zip(outputs, row)) for row in zip(*outputs.values())]}


def _columns(instances: Any, signature: Signature) -> dict[str, list]:
    if not isinstance(instances, list) or not instances:
        raise Refused(400, "JSON Value: 'instances' is expected to be a list of one instance or more")
    named = [_named(instance, signature, f"element {at} of 'instances'") for at, instance in enumerate(instances)]
    return {key: [row[key] for row in named] for key in signature.inputs}


def _named(value: Any, signature: Signature, where: str) -> dict[str, Any]:
    """Values by input; the only one of a signature needs no name."""
    if not isinstance(value, dict) or set(value) == {"b64"}:
        if len(signature.inputs) == 1:
            return {next(iter(signature.inputs)): value}
        raise Refused(400, f"Failed to process {where}: expected an object with {', '.join(signature.inputs)}")
    if set(value) != set(signature.inputs):
        missing = [name for name in signature.inputs if name not in value]
        problem = (
            f"does not have named input: {missing[0]}" if missing else f"has inputs beyond {list(signature.inputs)}"
        )
        raise Refused(400, f"Failed to process {where}: JSON object {problem}")
    return value


def _array(value: Any, dtype, name: str) -> np.ndarray:
    """A tensor of nested lists; strings may be `{"b64": …}`."""
    try:
        if dtype.name == "string":
            return np.array(_decode(value), dtype=object)
        array = np.asarray(value)
        if array.dtype.kind not in ("iuf" if dtype.is_floating else "iu") or array.size == 0:
            raise ValueError(f"expected numbers of type {dtype.name}")
        if dtype.is_integer and not (dtype.min <= array.min() and array.max() <= dtype.max):
            raise ValueError(f"expected {dtype.min} … {dtype.max}")
        return array.astype(dtype.as_numpy_dtype)
    except (ValueError, TypeError, OverflowError) as error:
        reason = str(error).split("\n")[0]
        raise Refused(
            400, f"Failed to process input {name}: JSON Value is not of expected type: {dtype.name}; {reason}"
        ) from None


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(part) for part in value]
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"no base64 ({error})") from None
    raise ValueError('expected a string, or {"b64": "…"}')


def _json(name: str, value: np.ndarray) -> Any:
    """Nested lists; strings as text, or as `b64` where the output's name ends in `_bytes`."""
    if value.dtype != object:
        return value.tolist()

    def text(part):
        if isinstance(part, list):
            return [text(one) for one in part]
        return {"b64": base64.b64encode(part).decode()} if name.endswith("_bytes") else part.decode(errors="replace")

    return text(value.tolist())
