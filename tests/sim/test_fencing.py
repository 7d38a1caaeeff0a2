"""Nodes that are cut off, frozen, restarted and doubled, with messages that arrive whenever they like.

The rules are the real ones: admission's for incarnations, node-lifecycle's for silence and evictions, the collector's for
machines that are off. The store, the network, the agents and their processes are a model with virtual time and one seeded
die. Nobody in it is told more than programs are told; only the checks see everything.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from stark.apiserver.admission.attributes import Attributes
from stark.apiserver.admission.incarnations import node_incarnation
from stark.apiserver.errors import Conflict
from stark.controllers.node_lifecycle.eviction import plan_evictions
from stark.controllers.node_lifecycle.health import Health, beat_of, hear
from stark.controllers.pod_gc import is_off, plan
from stark.crds.coordination import Lease
from stark.crds.incarnations import Holder, claimed, incarnation_of, revoked
from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.pods import Pod
from tests.support.server_side import node_user, resource
from tests.support.workloads import NOW

GRACE_S, TOLERATION_S = 4, 3
STEPS, STEPS_SLOW = 600, 2_000
UNIQUE = "web-0"
NODES = ("n1", "n2", "n3")
Object = dict[str, Any]


@dataclass
class Store:
    """Objects with versions, and a cache that may be one change behind: a worker's."""

    revision: int = 0
    now: dict[str, Object] = field(default_factory=dict)
    before: dict[str, Object | None] = field(default_factory=dict)

    def put(self, key: str, obj: Object | None) -> None:
        self.revision += 1
        self.before[key] = self.now.get(key)
        if obj is None:
            self.now.pop(key, None)
            return
        meta = {**obj["metadata"], "resourceVersion": str(self.revision)}
        self.now[key] = {**obj, "metadata": meta}

    def version(self, key: str) -> int:
        return int(self.now[key]["metadata"]["resourceVersion"]) if key in self.now else 0


class Cache:
    """Admission's Lookup."""

    def __init__(self, store: Store, *, stale: bool) -> None:
        self._store, self._stale = store, stale

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        key = f"{plural}/{name}"
        return (self._store.before if self._stale else self._store.now).get(key)

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        raise AssertionError("not needed")


@dataclass
class Message:
    """A request of an agent, on its way."""

    sender: Agent
    kind: str
    header: str
    pod: str = ""
    uid: str = ""


@dataclass
class Agent:
    """An agent and its machine: what it believes, and what runs."""

    node: str
    holder: Holder
    header: str = ""
    running: set[str] = field(default_factory=set)
    frozen: bool = False
    cut: bool = False
    off: bool = False
    has_held: bool = False


class Simulation:
    """One history."""

    def __init__(self, seed: int) -> None:
        self.die = random.Random(seed)
        self.store, self.time_s, self.serial = Store(), 0, 0
        self.agents = [Agent(name, Holder(f"i-{name}", "p0")) for name in NODES]
        self.network: list[Message] = []
        self.health: dict[str, Health] = {}
        self.bound: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.acknowledged = self.refused = self.lost = self.replaced = self.held = 0
        for name in NODES:
            self.store.put(
                f"nodes/{name}", {"metadata": {"name": name, "uid": f"u-{name}", "annotations": {}}, "spec": {}}
            )

    # -- the server -----------------------------------------------------------------------------------------------

    def judge(self, message: Message, new: Object | None, *, stale: bool) -> list[tuple[str, int]]:
        """What admission says, by the real rule; what it rests on. Raises Conflict."""
        plural = {"heartbeat": "leases", "claim": "nodes"}.get(message.kind, "pods")
        key = f"nodes/{message.sender.node}" if plural == "nodes" else ""
        group = "coordination.k8s.io" if plural == "leases" else ""
        attributes = Attributes(
            "DELETE" if message.kind == "stopped" else "UPDATE",
            resource(group, plural),
            "",
            "",
            message.sender.node,
            new,
            self.store.now.get(key),
            node_user(message.sender.node),
            incarnation=message.header,
        )
        try:
            node_incarnation(attributes, Cache(self.store, stale=stale)).send(None)
        except StopIteration:
            pass
        return [(f"nodes/{each.name}", each.revision) for each in attributes.premises]

    def receive(self, message: Message) -> None:
        """A report arrives: it is judged on what a cache has, committed if that is still so, else judged again."""
        for stale in (self.die.random() < 0.5, False):
            try:
                premises = self.judge(message, None, stale=stale)
            except Conflict:
                if stale:
                    continue
                self.refused += 1
                if not self.unheard(message.sender):
                    message.sender.header = ""  # the agent learns of it
                return
            if all(self.store.version(key) == revision for key, revision in premises):
                self.commit(message)
                return

    def commit(self, message: Message) -> None:
        node = self.store.now[f"nodes/{message.sender.node}"]
        # Claim 2: what is acknowledged was said for the present life.
        assert message.header == incarnation_of(node["metadata"]).header, message
        self.acknowledged += 1
        if message.kind == "heartbeat":
            self.serial += 1
            # By whatever clock the machine has today.
            moment = NOW + timedelta(seconds=self.die.randint(-(10**6), 10**6), microseconds=self.serial)
            stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self.store.put(f"leases/{message.sender.node}", {"metadata": {"name": "l"}, "spec": {"renewTime": stamp}})
        elif message.kind == "stopped":
            self.remove(message.pod, message.uid)

    def remove(self, pod: str, uid: str) -> None:
        found = self.store.now.get(f"pods/{pod}")
        if found is None or found["metadata"]["uid"] != uid:
            return
        # Claim 3: a name is free only when nothing runs under it any more.
        assert not [agent for agent in self.agents if uid in agent.running], (self.time_s, pod, uid)
        self.store.put(f"pods/{pod}", None)

    # -- agents ---------------------------------------------------------------------------------------------------

    def unheard(self, agent: Agent) -> bool:
        return agent.frozen or agent.cut or agent.off

    def listed(self, node: str) -> dict[str, Object]:
        pods = {key: pod for key, pod in self.store.now.items() if key.startswith("pods/")}
        return {pod["metadata"]["uid"]: pod for pod in pods.values() if pod["spec"]["nodeName"] == node}

    def act(self, agent: Agent) -> None:
        """What an agent does when it is awake: join, or see to its pods and report."""
        if agent.frozen or agent.off:
            return
        if not agent.header:
            if not agent.cut:
                self.join(agent)
            return
        if not agent.cut:
            self.keep_pods(agent)
        for kind in ("heartbeat", "status"):
            pod = next(iter(self.listed(agent.node).values()), None)
            name, uid = (pod["metadata"]["name"], pod["metadata"]["uid"]) if pod else ("none", "")
            self.network.append(Message(agent, kind, agent.header, name, uid))

    def keep_pods(self, agent: Agent) -> None:
        mine = self.listed(agent.node)
        agent.running &= mine.keys()
        for uid, pod in mine.items():
            if pod["metadata"].get("deletionTimestamp"):
                agent.running.discard(uid)
                self.network.append(Message(agent, "stopped", agent.header, pod["metadata"]["name"], uid))
            else:
                agent.running.add(uid)

    def join(self, agent: Agent) -> None:
        """As `agent/noderecord.register`: what is not ours ends first."""
        node = self.store.now[f"nodes/{agent.node}"]
        holder = incarnation_of(node["metadata"]).holder
        if holder is not None and holder.installation != agent.holder.installation:
            agent.running.clear()
            self.held += 1
        elif holder is None or agent.has_held:
            mine = self.listed(agent.node)
            agent.running &= {uid for uid, pod in mine.items() if not pod["metadata"].get("deletionTimestamp")}
        annotations = node["metadata"].get("annotations") or {}
        new = {
            **node,
            "metadata": {**node["metadata"], "annotations": {**annotations, **claimed(annotations, agent.holder)}},
        }
        try:
            self.judge(Message(agent, "claim", ""), new, stale=False)
        except Conflict:
            return
        # Claim 4: whoever held it last was given up, is the same installation, or has left.
        assert holder is None or holder.installation == agent.holder.installation
        self.store.put(f"nodes/{agent.node}", new)
        life = incarnation_of(new["metadata"])
        agent.header, agent.has_held = life.header, True
        # Claim 5: nothing runs here that was given up. (A mere restart takes over what its predecessor was about to stop.)
        mine = self.listed(agent.node)
        assert holder is not None or not {
            uid for uid in agent.running if uid not in mine or mine[uid]["metadata"].get("deletionTimestamp")
        }

    # -- controllers ----------------------------------------------------------------------------------------------

    def watch_nodes(self) -> None:
        for name in NODES:
            wire = self.store.now[f"nodes/{name}"]
            node = decode({"apiVersion": "v1", "kind": "Node", **wire}, Node)
            found = self.store.now.get(f"leases/{name}")
            lease = decode({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **found}, Lease) if found else None
            health = self.health[name] = hear(self.health.get(name), node, beat_of(node, lease), self.time_s)
            is_lost = self.time_s - health.heard_at >= GRACE_S
            if is_lost and incarnation_of(wire["metadata"]).holder is not None:
                self.give_up(name, wire)
            elif not is_lost and wire["spec"].get("taints") and incarnation_of(wire["metadata"]).holder is not None:
                self.store.put(f"nodes/{name}", {**wire, "spec": {}, "status": {}})
            self.evict(name)

    def give_up(self, name: str, wire: Object) -> None:
        """The verdict, the taint and the end of the life, in one commit."""
        self.lost += 1
        annotations = {**wire["metadata"]["annotations"], **revoked(wire["metadata"]["annotations"])}
        kept = {key: value for key, value in annotations.items() if value is not None}
        stamp = (NOW + timedelta(seconds=self.time_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        taint = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": stamp}
        status = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
        changed = {**wire, "metadata": {**wire["metadata"], "annotations": kept}}
        self.store.put(f"nodes/{name}", {**changed, "spec": {"taints": [taint]}, "status": status})

    def evict(self, name: str) -> None:
        node = decode({"apiVersion": "v1", "kind": "Node", **self.store.now[f"nodes/{name}"]}, Node)
        pods = [decode({"apiVersion": "v1", "kind": "Pod", **pod}, Pod) for pod in self.listed(name).values()]
        now = NOW + timedelta(seconds=self.time_s)
        for pod in plan_evictions(node.spec.taints, pods, now).now:
            self.delete(pod.metadata.name)
        off = {name} if is_off(node) else set()
        for pod in plan(pods, (), 100, off).stranded:
            self.remove(pod.metadata.name, pod.uid)

    def delete(self, name: str) -> None:
        pod = self.store.now[f"pods/{name}"]
        meta = {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        self.store.put(f"pods/{name}", {**pod, "metadata": meta})

    def replace(self) -> None:
        """A set of one pod with one name, placed on a node that is held and not given up."""
        well = [
            name
            for name in NODES
            if incarnation_of(self.store.now[f"nodes/{name}"]["metadata"]).holder
            and not self.store.now[f"nodes/{name}"]["spec"].get("taints")
        ]
        if f"pods/{UNIQUE}" in self.store.now or not well:
            return
        self.serial += 1
        self.replaced += 1
        uid, name = f"pod-{self.serial}", self.die.choice(well)
        # Claim 1: a uid is bound once.
        assert self.bound.setdefault(uid, name) == name
        toleration = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": TOLERATION_S}
        spec = {
            "nodeName": name,
            "containers": [{"name": "c", "image": "x"}],
            "tolerations": [{**toleration, "effect": "NoExecute"}],
        }
        meta = {"name": UNIQUE, "namespace": "default", "uid": uid}
        self.store.put(f"pods/{UNIQUE}", {"metadata": meta, "spec": spec, "status": {}})

    # -- the world ------------------------------------------------------------------------------------------------

    def trouble(self) -> None:
        agent, luck = self.die.choice(self.agents), self.die.random()
        if luck < 0.06:
            agent.frozen = not agent.frozen
        elif luck < 0.12:
            agent.cut = not agent.cut
        elif luck < 0.15 and not agent.off:  # the agent is restarted; its processes run on
            agent.holder = Holder(agent.holder.installation, f"p{self.time_s}")
            agent.header, agent.has_held = "", False
        elif luck < 0.17:
            self.health.clear()  # the controller is restarted
        elif luck < 0.18:
            self.machine_off(agent)
        elif luck < 0.20 and agent.off:
            agent.off, agent.frozen, agent.header, agent.has_held = False, False, "", False
        elif luck < 0.21 and len(self.agents) < 5 and self.die.random() < 0.3:
            # Somebody starts a second agent with the certificate of the first.
            self.agents.append(Agent(agent.node, Holder(f"copy-{self.time_s}", "p0")))
        elif luck < 0.25 and f"pods/{UNIQUE}" in self.store.now:
            self.delete(UNIQUE)

    def machine_off(self, agent: Agent) -> None:
        """The plug is pulled, and an operator who has seen it says so; only of machines that have no double."""
        if any(each.node == agent.node and each is not agent for each in self.agents):
            return
        agent.off, agent.header = True, ""
        agent.running.clear()
        node = self.store.now[f"nodes/{agent.node}"]
        taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
        taints = [*node["spec"].get("taints", ()), taint]
        self.store.put(f"nodes/{agent.node}", {**node, "spec": {"taints": taints}})

    def step(self, *, calm: bool = False) -> None:
        self.time_s += 1
        if not calm:
            self.trouble()
        for agent in self.agents:
            if self.die.random() < 0.8:
                self.act(agent)
        self.die.shuffle(self.network)
        # A message of one that is cut off waits; others arrive now, later, or twice.
        staying = [each for each in self.network if each.sender.cut or (not calm and self.die.random() < 0.3)]
        for message in [each for each in self.network if each not in staying]:
            self.receive(message)
            if self.die.random() < 0.05:
                staying.append(message)
        self.network = staying[-200:]
        if self.die.random() < 0.9:
            self.watch_nodes()
        self.replace()
        self.check()

    def check(self) -> None:
        for name in NODES:
            number = incarnation_of(self.store.now[f"nodes/{name}"]["metadata"]).number
            assert number >= self.numbers.get(name, 0)
            self.numbers[name] = number
        for name in NODES:
            current = incarnation_of(self.store.now[f"nodes/{name}"]["metadata"])
            speakers = {str(each.holder) for each in self.agents if each.header and each.header == current.header}
            assert len(speakers) <= 1, speakers


SEEDS = [
    *[pytest.param(seed, STEPS, id=f"seed {seed}") for seed in range(2)],
    *[pytest.param(seed, STEPS_SLOW, id=f"long, seed {seed}", marks=pytest.mark.slow) for seed in range(100, 106)],
]


@pytest.mark.parametrize(("seed", "steps"), SEEDS)
def test_no_history_makes_two_of_one(seed: int, steps: int) -> None:
    run = Simulation(seed)
    # A double that takes a node over answers for a machine it is not on: no name is safe there, so it has none.
    doubled = seed % 2 == 0
    for _ in range(steps):
        if not doubled:
            run.agents = run.agents[: len(NODES)]
        else:
            run.store.now.pop(f"pods/{UNIQUE}", None)
        run.step()
    assert min(run.acknowledged, run.refused, run.lost) > 10, vars(run)
    assert run.held > 0 or not doubled
    for agent in run.agents:
        agent.frozen = agent.cut = False
        if agent.off:
            agent.off = False
    for name in NODES:
        node = run.store.now[f"nodes/{name}"]
        run.store.put(f"nodes/{name}", {**node, "spec": {}})
    for _ in range(60):
        run.step(calm=True)
    for name in NODES:
        assert incarnation_of(run.store.now[f"nodes/{name}"]["metadata"]).holder is not None, name
    if not doubled:
        assert run.replaced > 3
        pod = run.store.now[f"pods/{UNIQUE}"]
        runners = [agent.node for agent in run.agents if pod["metadata"]["uid"] in agent.running]
        assert runners == [pod["spec"]["nodeName"]]
