"""What a decision by roles and bindings costs, by how many there are.

    python benchmarks/authorization.py [--bindings N ...] [--quick]

Real index, real authorizer, objects in memory. Measured: a yes and a no of a known user, the first question after
somebody's roles are looked at for the first time, the first question after any binding changed (the index takes in what
changed and puts users together anew), and the first of all after a start.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

from stark.apiserver.auth.authorization import AuthorizationAttributes
from stark.apiserver.auth.rbac.authorizer import RoleAuthorizer
from stark.apiserver.auth.rbac.bootstrap import cluster_role_bindings, cluster_roles
from stark.apiserver.auth.rbac.covering import missing
from stark.apiserver.auth.rbac.grants import rules_of
from stark.apiserver.request import User
from tests.support.roles import Roles, binding, role, rule

NAMESPACES, ROUNDS, QUESTIONS = 500, 7, 20_000
USER = User("user-7", ("stark:user", "team-7", "system:authenticated"), "", {"session": ("x",)})
READ = AuthorizationAttributes(USER, "get", "", "v1", "pods", "", "ns-7", "web-1")
OWN = AuthorizationAttributes(USER, "delete", "", "v1", "secrets", "", "ns-9", "mine")
REFUSED = AuthorizationAttributes(USER, "delete", "", "v1", "nodes", "status", "", "n1")


def cluster(bindings: int) -> Roles:
    """A cluster of many teams: each namespace has a role, and bindings of it and of a ClusterRole to users and groups."""
    roles = Roles(*cluster_roles(), *cluster_role_bindings())
    for number in range(NAMESPACES):
        roles.put(role("reader", rule("get list watch", "pods pods/log configmaps"), namespace=f"ns-{number}"))
    for number in range(bindings):
        whom = f"user-{number % 2_000}" if number % 2 else f"group:team-{number % 300}"
        of = "reader" if number % 3 else "ClusterRole/view"
        roles.put(binding(f"b-{number}", of, whom, namespace=f"ns-{number % NAMESPACES}"))
    roles.put(binding("mine", "reader", USER.name, namespace="ns-7"))
    return roles


async def each(authorizer: RoleAuthorizer, asked: AuthorizationAttributes) -> float:
    """Microseconds of one decision."""
    began = time.perf_counter()
    for _ in range(QUESTIONS):
        await authorizer.authorize(asked)
    return (time.perf_counter() - began) / QUESTIONS * 1e6


async def once(authorizer: RoleAuthorizer, before: Callable[[], Any]) -> float:
    """Microseconds of the first decision after `before`."""
    before()
    began = time.perf_counter()
    await authorizer.authorize(READ)
    return (time.perf_counter() - began) * 1e6


async def measure(bindings: int) -> None:
    """One table."""
    roles = cluster(bindings)
    for source in roles.sources.values():
        source.remembers = True
    gc.collect()
    gc.freeze()
    first = await once(roles.authorizer, lambda: None)
    stranger = iter(range(ROUNDS))

    async def new_user() -> float:
        asked = AuthorizationAttributes(
            User(f"user-{1_000 + next(stranger)}"), "get", resource="pods", namespace="ns-1"
        )
        began = time.perf_counter()
        await roles.authorizer.authorize(asked)
        return (time.perf_counter() - began) * 1e6

    rows = {
        "yes": [await each(roles.authorizer, READ) for _ in range(ROUNDS)],
        "yes, for own objects": [await each(roles.authorizer, OWN) for _ in range(ROUNDS)],
        "no": [await each(roles.authorizer, REFUSED) for _ in range(ROUNDS)],
        "a user's first": [await new_user() for _ in range(ROUNDS)],
        "first after a binding changed": [
            await once(roles.authorizer, lambda: roles.put(binding("mine", "reader", USER.name, namespace="ns-7")))
            for _ in range(ROUNDS)
        ],
        "first of all": [first],
    }
    admin = next(each for each in cluster_roles() if each["metadata"]["name"] == "system:aggregate-to-edit")
    held = roles.authorizer.rules_held(USER, "ns-7")
    began = time.perf_counter()
    lacking = missing(held, rules_of(admin))
    rows[f"may one hand on `edit`? ({len(lacking)} permissions missing)"] = [(time.perf_counter() - began) * 1e6]
    print(f"{bindings} bindings, {NAMESPACES} roles")
    for what, found in rows.items():
        print(f"  {statistics.median(found):>12.2f} us  {what}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bindings", type=int, nargs="*", default=[100, 1_000, 10_000])
    parser.add_argument("--quick", action="store_true", help="one size")
    given = parser.parse_args()
    for count in given.bindings[:1] if given.quick else given.bindings:
        asyncio.run(measure(count))
