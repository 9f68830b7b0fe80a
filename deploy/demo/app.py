#!/usr/bin/env -S /usr/bin/python3 -I
"""The demonstration application: what a media server or a NAS is to Lanyard. It speaks plain HTTP on a
local port and knows nothing of names, keys or certificates.

usage: app.py PORT [ADDRESS]
"""

import html
import http.server
import signal
import sys

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Lanyard demo device</title>
<style>body {{ font: 1.1em/1.5 system-ui, sans-serif; max-width: 36em; margin: 3em auto; padding: 0 1em }}</style>
</head>
<body>
<h1>Hello from the demo device</h1>
<p>You reached a plain HTTP application at <b>{host}</b>.</p>
<p>The name, the certificate and the TLS in front of it are Lanyard's work.</p>
</body>
</html>
"""


TEXT = "Hello from the demo device: you reached a plain HTTP application at {host}.\n"


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "demo"
    sys_version = ""
    timeout = 30  # seconds for one request

    def do_GET(self):
        if self.path != "/":
            self.send_error(404)
            return
        host = self.headers.get("Host", "?")
        if "text/html" in self.headers.get("Accept", ""):
            kind, body = "text/html", PAGE.format(host=html.escape(host)).encode()
        else:  # curl and the like: one line to read in a terminal
            kind, body = "text/plain", TEXT.format(host=host).encode()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET


def main():
    if len(sys.argv) not in (2, 3) or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    address = (sys.argv[2] if len(sys.argv) == 3 else "127.0.0.1", int(sys.argv[1]))
    try:
        server = http.server.ThreadingHTTPServer(address, Page)
    except OSError as e:
        sys.exit(f"cannot listen on {address[0]} port {address[1]}: {e.strerror}")
    server.daemon_threads = True
    print(f"listening on http://{address[0]}:{address[1]}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
