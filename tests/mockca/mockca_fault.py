"""The fault script of the mock CA: what goes wrong, where, and how often."""

import json
from dataclasses import dataclass, field
from typing import Callable, Optional

ALWAYS = 1 << 60


@dataclass
class Reply:
    status: int
    body: object = ""  # text, bytes, or what json.dumps() takes
    headers: dict = field(default_factory=dict)  # None takes one away
    close: str = ""  # "before": no answer at all; "within": in the middle of the body
    seconds: float = 0  # between two bytes of the body: a slow sender

    def raw(self):
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


def problem(status, kind, detail="no", *, subproblems=None, instance=None, **headers):
    body = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail}
    if subproblems:
        body["subproblems"] = subproblems
    if instance:
        body["instance"] = instance
    return Reply(status, body, {"Content-Type": "application/problem+json",
                                **{k.replace("_", "-"): v for k, v in headers.items()}})


@dataclass
class Fault:
    """At `step` (of mockca.STEPS), after `skip` requests, for `times` requests of those that `when`
    (a function of the request's payload text) is true of. Either `reply` is sent; with `process` the
    CA does its work first, so that only the answer is lost. Or `change` gets the CA's own Reply and
    returns another."""

    step: str
    reply: Optional[Reply] = None
    change: Optional[Callable] = None
    process: bool = False
    times: int = 1
    skip: int = 0
    when: Optional[Callable] = None
    n_hits: int = 0

    def hits(self, step, text):
        if step != self.step or (self.when and not self.when(text)):
            return False
        self.n_hits += 1
        return self.skip < self.n_hits <= self.skip + self.times


def faults_from_json(text):
    """A script as JSON: a list of objects with step, times, skip, process, contains, and either
    problem (status, type, detail) or status, body; and headers, close, seconds."""
    script = []
    for row in json.loads(text):
        headers = row.get("headers", {})
        if "problem" in row:
            reply = problem(row["status"], row["problem"], row.get("detail", "no"))
            reply.headers.update(headers)
        else:
            reply = Reply(row.get("status", 200), row.get("body", ""), headers)
        reply.close, reply.seconds = row.get("close", ""), row.get("seconds", 0)
        wanted = row.get("contains")
        script.append(Fault(row["step"], reply, process=row.get("process", False),
                            times=row.get("times", 1), skip=row.get("skip", 0),
                            when=(lambda t, w=wanted: w in t) if wanted else None))
    return script
