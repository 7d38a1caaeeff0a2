"""An HTTP server that says who it is. Dependencies go into a requirements.txt beside this file."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def main(context):
    """Called once; the container ends when it returns."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"hello from {context.pack_name} {context.pack_version}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, text, *values):
            if self.path != "/healthz":
                print(text % values)

    server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Handler)
    context.on_shutdown(server.shutdown)
    print("listening")
    server.serve_forever()
