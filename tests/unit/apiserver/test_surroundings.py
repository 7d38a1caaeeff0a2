"""What explanations know of pods and nodes: everything that can be read."""

from __future__ import annotations

import orjson

from stark.apiserver.cache.entry import Entry
from stark.apiserver.surroundings import Surroundings
from stark.crds.meta import KubeObject, to_wire
from tests.support.workloads import node, pod


def entry(key: str, obj: KubeObject) -> Entry:
    return Entry(key, 1, orjson.dumps(to_wire(obj)))


def test_objects_that_cannot_be_read_are_left_out_and_the_others_are_there() -> None:
    around, odd = Surroundings(), b'{"metadata": {"name": "odd"}, "spec": "none"}'
    offers = around.offers([entry("a", node("a")), Entry("odd", 1, odd)], 5)
    assert [(offer.name, offer.pods) for offer in offers] == [("a", 5)]
    entries = [entry("default/p", pod("p", node="a")), Entry("default/odd", 1, odd)]
    placed = around.placed(entries, pod("new"))
    assert (list(placed.demands), list(placed.residents)) == (["default/p"], ["default/p"])
