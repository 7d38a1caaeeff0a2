"""Which EndpointSlices a Service gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stark.controllers.endpoints.controller import selects
from stark.controllers.endpoints.planning import Plan, plan, real_port
from stark.crds.annotations import OWNER, OWNER_ROLE
from stark.crds.meta import decode
from stark.crds.pods import Pod
from stark.crds.services import EndpointSlice, Service, ServicePort
from tests.support.workloads import at, meta, pod

HTTP = [{"name": "http", "port": 80, "targetPort": "http"}]


def service(ports: Any = HTTP, **spec: Any) -> Service:
    body = {"metadata": meta("web"), "spec": {"selector": {"app": "web"}, "ports": ports, **spec}}
    return decode(body, Service)


def at_port(name: str, port: int | None, *, ready: bool = True, ending: bool = False, address: str = "10.0.0.1") -> Pod:
    """A pod with a container port `http`; the agent gave it `port`."""
    annotations = {"annotations": {"stark.dev/ports": json.dumps({"http": port})}} if port else {}
    end = {"deletionTimestamp": at(30)} if ending else {}
    container = {"name": "main", "image": "x", "ports": [{"name": "http", "containerPort": 8080}]}
    found = pod(
        name, node="n1", phase="Running", ready=-5 if ready else None,
        spec={"containers": [container]}, metadata={**annotations, **end},
    )  # fmt: skip
    return found.model_copy(update={"status": found.status.model_copy(update={"pod_ip": address})})


def carried_out(step: Plan, slices: list[EndpointSlice]) -> list[EndpointSlice]:
    """The slices after the plan."""
    gone = {each.metadata.name for each in (*step.delete, *step.update)}
    return [*(each for each in slices if each.metadata.name not in gone), *step.update, *step.create]


def reached(slices: list[EndpointSlice]) -> dict[int, list[str]]:
    """Port -> names of the pods behind it."""
    found: dict[int, list[str]] = {}
    for each in slices:
        port = each.ports[0].port or 0
        found.setdefault(port, []).extend(e.target_ref.name or "" for e in each.endpoints if e.target_ref)
    return {port: sorted(names) for port, names in found.items()}


def test_pods_with_the_same_port_share_a_slice_and_others_do_not() -> None:
    pods = [at_port("a", 20000), at_port("b", 20000), at_port("c", 20001)]
    step = plan(service(), pods, [])
    assert reached(list(step.create)) == {20000: ["a", "b"], 20001: ["c"]}
    first = step.create[0]
    assert first.metadata.labels["kubernetes.io/service-name"] == "web"
    assert first.metadata.owner_references[0].kind == "Service"
    assert (first.address_type, first.ports[0].name) == ("IPv4", "http")
    assert first.endpoints[0].node_name == "n1"


def test_a_second_look_changes_nothing() -> None:
    pods = [at_port("a", 20000), at_port("b", 20001, ready=False)]
    slices = carried_out(plan(service(), pods, []), [])
    assert plan(service(), pods, slices) == Plan([], [], [])


def test_slices_hold_a_hundred_and_a_leaver_touches_only_its_own() -> None:
    pods = [at_port(f"p{n:03}", 20000) for n in range(150)]
    slices = carried_out(plan(service(), pods, []), [])
    assert sorted(len(each.endpoints) for each in slices) == [50, 100]
    step = plan(service(), pods[1:], slices)
    assert (len(step.create), len(step.update), len(step.delete)) == (0, 1, 0)
    assert len(carried_out(step, slices)[0].endpoints) in (50, 99)
    assert plan(service(), [], slices).delete == slices


def test_a_pod_that_comes_back_with_another_port_moves() -> None:
    slices = carried_out(plan(service(), [at_port("a", 20000)], []), [])
    after = carried_out(plan(service(), [at_port("a", 20009)], slices), slices)
    assert reached(after) == {20009: ["a"]}


@pytest.mark.parametrize(
    ("one", "spec", "conditions"),
    [
        pytest.param(at_port("a", 1), {}, (True, True, False), id="ready"),
        pytest.param(at_port("a", 1, ready=False), {}, (False, False, False), id="not ready"),
        pytest.param(at_port("a", 1, ending=True), {}, (False, True, True), id="ending and still answering"),
        pytest.param(
            at_port("a", 1, ready=False), {"publishNotReadyAddresses": True}, (True, True, False), id="published anyway"
        ),
    ],
)
def test_conditions_say_how_a_pod_is(one: Pod, spec: dict[str, Any], conditions: tuple[bool, ...]) -> None:
    found = plan(service(**spec), [one], []).create[0].endpoints[0].conditions
    assert (found.ready, found.serving, found.terminating) == conditions


def test_who_has_no_address_or_no_port_yet_is_left_out() -> None:
    assert plan(service(), [at_port("a", None), at_port("b", 1, address="")], []).create == []
    assert plan(service([]), [at_port("a", None)], []).create[0].ports == []
    assert plan(service(), [at_port("a", 20000, address="fd00::1")], []).create[0].address_type == "IPv6"


@pytest.mark.parametrize(
    ("target", "ports", "number"),
    [
        pytest.param("http", [{"name": "http", "containerPort": 8080}], 20000, id="a name finds what the agent gave"),
        pytest.param(8080, [{"name": "http", "containerPort": 8080}], 20000, id="a number finds the named port"),
        pytest.param(9, [{"containerPort": 9}], 20001, id="a number finds the unnamed port"),
        pytest.param("http", [{"name": "http", "containerPort": 1, "hostPort": 99}], 99, id="a host port is literal"),
        pytest.param(5432, [], 5432, id="an undeclared number is literal"),
        pytest.param("http", [], None, id="an undeclared name is nothing"),
        pytest.param("dns", [{"name": "dns", "containerPort": 53, "protocol": "UDP"}], None, id="another protocol"),
        pytest.param(None, [], 80, id="the port itself"),
    ],
)
def test_a_port_of_the_service_finds_the_real_one(target: Any, ports: Any, number: int | None) -> None:
    given = {"annotations": {"stark.dev/ports": '{"http":20000,"9":20001}'}}
    one = pod("a", spec={"containers": [{"name": "main", "image": "x", "ports": ports}]}, metadata=given)
    assert real_port(ServicePort(port=80, target_port=target), one) == number


def test_a_restricted_users_service_reaches_their_own_pods_only() -> None:
    def owned(thing: Any, owner: str) -> Any:
        thing.metadata.annotations.update({OWNER: owner, OWNER_ROLE: "user"})
        return thing

    hers, his, nobodys = owned(pod("a"), "alice"), owned(pod("b"), "bob"), pod("c")
    assert [selects(owned(service(), "alice"), each) for each in (hers, his, nobodys)] == [True, False, False]
    assert all(selects(service(), each) for each in (hers, his, nobodys))


@pytest.mark.parametrize(("subdomain", "hostname"), [("web", "web-0"), ("other", None), (None, None)])
def test_an_endpoint_has_the_hostname_of_a_pod_that_names_the_service(
    subdomain: str | None, hostname: str | None
) -> None:
    one = at_port("web-0", 20000)
    spec = one.spec.model_copy(update={"hostname": "web-0", "subdomain": subdomain})
    (made,) = plan(service(), [one.model_copy(update={"spec": spec})], []).create
    assert made.endpoints[0].hostname == hostname
