"""The smallest useful Python pack: an HTTP server that says who it is, and stops when it is asked to.

A single file is a bundle as it is; `python -m zipapp FOLDER` makes one of a folder with a `__main__.py`.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def main(context):
    """The entry point: called with the context, its return ends the container."""
    answer = {
        "message": f"hello from {context.pack_name} {context.pack_version}",
        "pod": os.environ.get("HOSTNAME"),
        "runtime": f"python {sys.version.split()[0]}",
    }

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"ok\n" if self.path == "/healthz" else json.dumps(answer).encode() + b"\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, text, *values):
            if self.path != "/healthz":
                sys.stdout.write(text % values + "\n")

    server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Hello)

    @context.on_shutdown
    def stop():
        sys.stdout.write(f"stopping: {context.lifecycle.shutdown_reason}\n")
        server.shutdown()

    sys.stdout.write(f"listening on port {server.server_port}\n")
    server.serve_forever()
