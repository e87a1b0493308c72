"""A process in Prefect's own environment that runs the flow as often as it is asked to.

``python -m tests.flow_server`` reads one job a line (JSON: folder, environment, parameters, and
which step breaks, if any) and answers with the state that the flow ended in.
"""

import json
import os
import sys
from contextlib import redirect_stdout

from components import steps

# As the guard below writes it: what a process asked of the network, one line a connection.
GUARD = """
import os
import sys

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _noted(event, arguments):
    if event == "socket.connect":
        host = arguments[1][0] if isinstance(arguments[1], tuple) else "localhost"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0] or "localhost"
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    where = "inside" if host in LOOPBACK else f"OUTSIDE {host}"
    with open(os.environ["TESTS_CONNECTIONS"], "a") as noted:
        noted.write(f"{os.path.basename(sys.argv[0])} {where}\\n")
    if where != "inside":
        raise OSError("the tests let nothing leave this machine")


sys.addaudithook(_noted)
"""


def broken(*_):
    """Be a step with a bug."""
    raise ZeroDivisionError("a bug of the tests")


def do(job) -> dict[str, str]:
    """Run the flow over a job's world."""
    # The tests themselves, which read the guard, have no Prefect.
    from components.entrypoints import flows

    kept = {k: v for k, v in os.environ.items() if not k.startswith("TREMOR_")}
    os.environ.clear()
    os.environ.update({**kept, **job["environment"]})
    os.chdir(job["folder"])
    good = getattr(steps, job["breaks"] or "market")
    if job["breaks"]:
        broken.__name__ = job["breaks"]
        setattr(steps, job["breaks"], broken)
    try:
        state = getattr(flows, job["flow"])(**job["parameters"], return_state=True)
    finally:
        setattr(steps, job["breaks"] or "market", good)
    return {
        "name": state.name,
        "type": state.type.value,
        "said": state.message,
        "id": str(state.state_details.flow_run_id),
    }


def main() -> None:
    """Do one job a line."""
    from components.entrypoints import tasks

    # What is minutes for an operator is a moment here.
    tasks.PATIENCE_S = (0.1, 0.1)
    for line in sys.stdin:
        # This program's own output carries answers only.
        with redirect_stdout(sys.stderr):
            answer = do(json.loads(line))
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
