"""`scripts/demo_api`: the imitations, until somebody ends them."""

from __future__ import annotations

import argparse
import sys

from testing.demo_api.server import DemoApi, make_server


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/demo_api",
        description="Imitates FakeStore (/products, /users, /carts) and GitHub's issues (/repos/OWNER/NAME/issues).",
    )
    parser.add_argument("--port", type=int, default=8090, help="(8090)")
    options = parser.parse_args()
    try:
        server = make_server(DemoApi(), options.port)
    except OSError as error:
        print(f"Port {options.port} cannot be listened on ({error.strerror}); choose another: --port", file=sys.stderr)
        return 1
    print(
        f"Listening on http://127.0.0.1:{server.server_address[1]}, until Ctrl-C. Next: write it as url: of a source of kind rest in pipeline.yml",
        flush=True,
    )
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
