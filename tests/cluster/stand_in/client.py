"""A command of the stand-in: hands its words to the controller, prints what that answers.

Run as `client.py SOCKET COMMAND WORD…`, with nothing but the standard library: it starts in 20 ms.
"""

import json
import os
import socket
import sys


def main() -> int:
    path, words = sys.argv[1], sys.argv[2:]
    asked = {"words": words, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            connection.sendall(json.dumps(asked).encode() + b"\n")
            said = connection.makefile("rb").readline()
        except OSError:
            said = b""
    if not said:
        print(
            f"{words[0]}: error: Unable to contact slurm controller (connect failure)",
            file=sys.stderr,
        )
        return 1
    code, out, err = json.loads(said)
    sys.stdout.write(out)
    if err:
        print(err, file=sys.stderr)
    return int(code)


sys.exit(main())
