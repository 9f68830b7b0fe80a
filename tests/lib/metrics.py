"""The pages of lanyard-dnsd for operators: fetched, and the metrics as numbers."""

import http.client
import re
import urllib.error
import urllib.request

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def fetch(port, path, method="GET"):
    """(status, text)"""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as r:
            return r.status, r.read().decode("utf-8")
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode("utf-8")
    except (OSError, http.client.HTTPException) as e:
        return 0, str(e)


class Metrics:
    """One reading of /metrics; every line must have the form that Prometheus wants."""

    def __init__(self, port):
        status, self.text = fetch(port, "/metrics")
        assert status == 200, self.text
        self.samples, typed = [], {}
        for line in self.text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in typed, f"{name} twice"
                typed[name] = kind
            elif not line.startswith("# HELP "):
                found = SAMPLE.fullmatch(line)
                assert found, f"not a sample: {line}"
                name = found.group(1)
                base = re.sub(r"_(bucket|sum|count)$", "", name)
                assert name in typed or typed.get(base) == "histogram", f"no TYPE before {line}"
                labels = dict(LABEL.findall(found.group(2) or ""))
                self.samples.append((name, labels, float(found.group(3))))

    def sum(self, name, **labels):
        """Of all samples with these labels; 0 when there is none."""
        return sum(v for n, have, v in self.samples
                   if n == name and labels.items() <= have.items())
