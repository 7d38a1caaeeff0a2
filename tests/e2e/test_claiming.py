"""A real agent on a real server: it claims its node, is told when that is over, and claims it again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stark.agent.app import Agent
from stark.agent.membership import INSTALLATION_FILE
from stark.agent.noderecord import HELD_PAUSE_S
from stark.agent.settings import AgentSettings
from stark.client.api import Client, PatchType
from stark.client.errors import NotFound
from stark.crds.incarnations import Incarnation, read_incarnation, revoked
from stark.crds.nodes import Node
from tests.support.agents import running_agent
from tests.support.apiserver import api_server
from tests.support.reconciling import config_of

NAME, WAIT_S = "n1", 20.0


async def life(api: Client) -> Incarnation | None:
    try:
        node = await api.get(Node, NAME)
    except NotFound:
        return None
    return read_incarnation(node.uid, node.metadata.annotations)


async def reaches(api: Client, number: int, *, other_than: str = "") -> Incarnation:
    """Wait until the node is held in this incarnation, by a Node other than the one of that uid."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = await life(api)
            if found is not None and found.holder and found.number == number and found.uid != other_than:
                return found
            await asyncio.sleep(0.05)


async def test_an_agent_claims_its_node_again_when_it_was_given_up_or_deleted(tmp_path: Path) -> None:
    async with (
        api_server(tmp_path / "api") as server,
        Client(config_of(server, "admin")) as api,
        running_agent(config_of(server, f"node:{NAME}"), tmp_path / "data", name=NAME, lease_period_s=0.2),
    ):
        first = await reaches(api, 1)
        node = await api.get(Node, NAME)
        ended = {"metadata": {"annotations": revoked(node.metadata.annotations)}}
        await api.patch(Node, NAME, ended, type=PatchType.MERGE, subresource="status")
        again = await reaches(api, 3)
        assert again.holder == first.holder
        await api.delete(Node, NAME)
        assert (await reaches(api, 1, other_than=first.uid)).holder == first.holder


@pytest.mark.slow
async def test_a_second_agent_waits_until_the_first_has_left(tmp_path: Path) -> None:
    async with api_server(tmp_path / "api") as server, Client(config_of(server, "admin")) as api:
        config = config_of(server, f"node:{NAME}")
        stop = asyncio.Event()
        second = Agent(AgentSettings(data_dir=tmp_path / "second", name=NAME, on_stop="stop"), config)
        async with running_agent(config, tmp_path / "first", name=NAME):
            first = await reaches(api, 1)
            task = asyncio.create_task(second.run(stop))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(second.registered.wait(), 2)
            assert await life(api) == first
        taken = await reaches(api, 3)
        await second.registered.wait()  # it knows what it has got, so that it can give it back
        assert taken.holder is not None
        assert first.holder is not None
        assert taken.holder.installation != first.holder.installation
        stop.set()
        await task
        left = await life(api)
        assert left is not None
        assert left.is_fenced


@pytest.mark.slow
async def test_two_clones_of_one_machine_settle_on_the_later_one(tmp_path: Path) -> None:
    async with api_server(tmp_path / "api") as server, Client(config_of(server, "admin")) as api:
        config = config_of(server, f"node:{NAME}")
        async with running_agent(config, tmp_path / "first", name=NAME, lease_period_s=0.2):
            first = await reaches(api, 1)
            (tmp_path / "second").mkdir()
            copied = (tmp_path / "first" / INSTALLATION_FILE).read_text()
            (tmp_path / "second" / INSTALLATION_FILE).write_text(copied)
            async with running_agent(config, tmp_path / "second", name=NAME, lease_period_s=0.2):
                second = await reaches(api, 2)
                assert first.holder is not None
                assert second.holder is not None
                assert first.holder.installation == second.holder.installation
                await asyncio.sleep(HELD_PAUSE_S + 1)  # the first has looked again by then
                assert await life(api) == second
            # It has left: the one that waited is the node again.
            assert (await reaches(api, 4)).holder == first.holder
