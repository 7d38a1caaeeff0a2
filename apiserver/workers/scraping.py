"""One scrape of all workers: every sample says whose it is, so that sums and maxima are whoever's who reads them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LABEL: Final = "worker"
UP: Final = "stark_worker_up"


def together(texts: Mapping[int, str], count: int) -> str:
    """What `count` workers told, by number, as one text of the exposition format, family by family."""
    families: dict[str, list[str]] = {}
    heads: dict[str, list[str]] = {}
    for worker, text in sorted(texts.items()):
        name = ""
        for line in text.splitlines():
            if line.startswith("#"):
                name = line.split(" ", 3)[2]
                if line not in heads.setdefault(name, []):
                    heads[name].append(line)
            elif line:
                families.setdefault(name, []).append(_labelled(line, worker))
    lines = [f"# HELP {UP} 1: the worker's figures are in this scrape.", f"# TYPE {UP} gauge"]
    lines += [f'{UP}{{{LABEL}="{worker}"}} {int(worker in texts)}' for worker in range(count)]
    for name, head in heads.items():
        lines += [*head, *families.get(name, ())]
    return "\n".join(lines) + "\n"


def _labelled(sample: str, worker: int) -> str:
    """The sample with one more label. Of the line's braces the first opens the labels: names have none."""
    name, brace, rest = sample.partition("{")
    if brace and " " not in name:
        return f'{name}{{{LABEL}="{worker}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{{LABEL}="{worker}"}} {value}'
