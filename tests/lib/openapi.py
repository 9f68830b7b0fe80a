"""The document of the HTTP API (provisiond/api/openapi.yaml) as a judge of answers."""

import functools
import json
from pathlib import Path

import jsonschema
import yaml

PATH = Path(__file__).resolve().parents[2] / "provisiond/api/openapi.yaml"


@functools.lru_cache(maxsize=None)
def document():
    return yaml.safe_load(PATH.read_text(encoding="utf-8"))


def resolve(node):
    while isinstance(node, dict) and "$ref" in node:
        at = document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            at = at[step]
        node = at
    return node


def find_path(path):
    """The path of the document that `path` is of, or None."""
    parts = path.split("?")[0].split("/")
    for candidate in document()["paths"]:
        names = candidate.split("/")
        if len(names) == len(parts) and all(n == p or n.startswith("{") for n, p in zip(names, parts)):
            return candidate
    return None


def complain(method, path, status, headers, body):
    """What is wrong with this answer by the document, or None. An unknown path and a method that a path
    does not have must be refused with a problem document."""
    found = find_path(path)
    operation = document()["paths"][found].get(method.lower().replace("head", "get")) if found else None
    if operation is None:
        expected = 405 if found else 404
        responses = {str(expected): {"$ref": "#/components/responses/Problem"}}
        # what stands before the route: the limits by network, a store that is away
        responses["429"] = responses["503"] = responses[str(expected)]
    else:
        responses = operation["responses"]
    response = resolve(responses.get(str(status), responses.get("default") if status >= 400 else None))
    if response is None:
        return f"{method} {path}: status {status} is not documented"
    for name, header in response.get("headers", {}).items():
        if header.get("required") and name.lower() not in headers:
            return f"{method} {path}: {status} without {name}"
    content = response.get("content", {})
    kind = headers.get("content-type", "").split(";")[0]
    if not content or method == "HEAD":
        return None if not body else f"{method} {path}: {status} with a body"
    if kind not in content:
        return f"{method} {path}: {status} as {kind!r}, not {list(content)}"
    value = json.loads(body) if kind.endswith("json") else body.decode()
    schema = {**resolve(content[kind].get("schema", {})), "components": document()["components"]}
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(value))
    return None if error is None else f"{method} {path}: {status}: {error.json_path}: {error.message}"
