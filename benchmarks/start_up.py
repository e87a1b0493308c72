"""How long the program takes to start: its help, and the imports of a run."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORTS = "import components.wiring, components.channels.render, components.charts, yfinance, boto3"


def best_of(n: int, *command: str) -> float:
    """The least of ``n`` wall-clock times of a command, seconds."""
    times = []
    for _ in range(n):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    pandas = best_of(3, "-c", "import pandas")
    shown = best_of(5, "main.py", "--help")
    imports = best_of(3, "-c", IMPORTS)
    print(f"python main.py --help      {shown:.2f} s, {shown / pandas:.2f} of `import pandas`")
    print(f"imports of a run           {imports:.2f} s, {imports / pandas:.2f} of `import pandas`")
