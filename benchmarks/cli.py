"""How long a cold `starkctl get pods` takes, against an empty Python and against kubectl, on one running server.

The package is laid out as a wheel installs it (an editable install adds its own import hook to every Python start). Runs
alternate, medians are compared. `cli_vs_pass: 4` means four times an empty `python -c pass`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
RUNS, QUICK_RUNS = 31, 11
SCRIPT = "import sys\nfrom stark.ctl.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
"""What installers write as the `starkctl` script."""


def installed(directory: Path) -> Path:
    """A Python whose import path has the package and its dependencies, and no import hooks; its executable."""
    venv.create(directory, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    libraries = Path(sys.prefix) / "lib" / version / "site-packages"
    hooks = directory / "lib" / version / "site-packages" / "paths.pth"
    hooks.write_text(f"{REPO / 'typings'}\n{libraries}\n")
    return directory / "bin" / "python"


@contextlib.contextmanager
def server(directory: Path) -> Iterator[dict[str, str]]:
    """A running control plane; the environment in which commands find it."""
    command = [sys.executable, "-m", "stark.ctl", "up", "--data-dir", str(directory), "--port", "0", "--agents", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("ready"):
                break
        compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        yield {**compiled, "KUBECONFIG": str(directory / "admin.kubeconfig"), "STARK_HOME": str(directory / "home")}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Wall time of one run."""
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    runs = QUICK_RUNS if parser.parse_args().quick else RUNS
    with tempfile.TemporaryDirectory() as name, server(Path(name) / "data") as environment:
        python = str(installed(Path(name) / "python"))
        script = str(Path(name) / "starkctl")
        Path(script).write_text(SCRIPT)
        commands = {
            "pass": [python, "-c", "pass"],
            "get": [python, script, "get", "pods"],
            "help": [python, script, "--help"],
        }
        if shutil.which("kubectl"):
            commands["kubectl"] = ["kubectl", "get", "pods"]
        for command in commands.values():
            seconds(command, environment)  # the first run compiles, and fills the discovery caches
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for label, command in commands.items():
                times[label].append(seconds(command, environment))
    median = {label: statistics.median(values) for label, values in times.items()}
    for label, value in median.items():
        print(f"{label}_ms: {value * 1000:.1f}")
    print(f"cli_vs_pass: {median['get'] / median['pass']:.2f}")
    if "kubectl" in median:
        print(f"cli_vs_kubectl: {median['get'] / median['kubectl']:.2f}")


if __name__ == "__main__":
    main()
