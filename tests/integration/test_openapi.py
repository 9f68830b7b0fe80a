"""The document of the HTTP API against the server: its routes, and what it answers."""

import re
from pathlib import Path

import pytest

import openapi

TREE = Path(__file__).resolve().parents[2] / "provisiond"
ROUTE = re.compile(r'^ +\{ "([A-Z]+)", "(/[^"]*)", RULE_', re.M)
METHODS = {"get", "put", "post", "delete"}


def routes_of_the_server():
    text = "".join((TREE / f).read_text() for f in ("api/api.c", "publicweb.c", "discovery/discovery.c"))
    found = ROUTE.findall(text)
    assert len(found) >= 11, "the tables are where they were"
    return set(found)


def routes_of_the_document():
    return {(m.upper(), p) for p, item in openapi.document()["paths"].items() for m in item if m in METHODS}


def test_every_route_is_documented_and_nothing_else():
    documented = routes_of_the_document()
    assert {r for r in documented if "{zone}" not in r[1]} == routes_of_the_server()
    for method, path in documented:  # a zone in the path is the same route
        assert (method, path.replace("/{zone}", "")) in documented


def test_every_reference_leads_somewhere():
    def walk(node):
        if isinstance(node, dict):
            openapi.resolve(node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)
    walk(openapi.document())
    assert openapi.document()["openapi"].startswith("3.1.")


# (method, path, status, type, body, whether the document allows it)
PROBLEM = b'{"type": "urn:lanyard:problem:x", "title": "t", "status": 404}'
ANSWERS = [
    ("DELETE", "/v1/device", 204, "", b"", True),
    ("DELETE", "/v1/device", 204, "text/plain", b"x", False),
    ("DELETE", "/v1/device", 200, "", b"", False),
    ("GET", "/v1/nothing", 404, "application/problem+json", PROBLEM, True),
    ("GET", "/v1/nothing", 404, "text/html", b"x", False),
    ("PUT", "/v1/device", 405, "application/problem+json", PROBLEM, True),
    ("GET", "/v1/certificate?wait=9", 200, "application/pem-certificate-chain", b"-----BEGIN CERTIFICATE-----", True),
    ("GET", "/v1/certificate", 200, "text/plain", b"-----BEGIN CERTIFICATE-----", False),
    ("GET", "/v1/certificate", 202, "application/json", b'{"state": "queued", "retry_in": 2}', False),  # Retry-After
    ("POST", "/v1/enroll", 201, "application/json", b'{"id": "short"}', False),
    ("POST", "/.well-known/est/direct.example/simpleenroll", 200, "application/pkcs7-mime", b"QUJD\n", True),
    ("POST", "/.well-known/est/direct.example/simpleenroll", 200, "application/pkcs7-mime", b"<html>", False),
]


@pytest.mark.parametrize("method, path, status, kind, body, allowed", ANSWERS)
def test_the_judge(method, path, status, kind, body, allowed):
    headers = {"content-type": kind} if kind else {}
    assert (openapi.complain(method, path, status, headers, body) is None) == allowed
