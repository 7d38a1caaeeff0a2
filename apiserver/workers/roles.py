"""What the processes of one server do: one keeps, the others serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from ..audit.opening import keeping
from ..encryption.store import EncryptingStore
from ..facade.guessing import tries
from ..running import disk_failed, explained, own, serve, settle_down, stop_signals
from ..settings import Settings
from ..store.remote import SharedRevision, StoreService, open_remote
from ..store.remote.link import listen
from ..stores import ETCD, encrypted, open_plain_store
from .colleagues import Colleagues
from .keeper import SOCKET, Keeper, folder_of
from .place import Place

SEATS_MIN = 10
"""Of a worker, however many there are: fewer would let a single list wait for itself."""


def keeps_store(settings: Settings) -> bool:
    """Whether the store is in the keeper's hands; an etcd has its own processes."""
    return not settings.store.startswith(ETCD)


async def keep(settings: Settings, shared: SharedRevision, on_ready: Callable[[], None]) -> None:
    """Keep what there is one of until a signal and the last worker's end. Raises CannotServe."""
    stop = stop_signals(hurries=False)  # whoever is in a hurry kills the supervisor's children through it
    broken: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    own(settings.data_dir)
    with explained(settings):
        async with AsyncExitStack() as stack:
            service = None
            if keeps_store(settings):
                store = await open_plain_store(settings, broken.set_result)
                stack.push_async_callback(store.close)
                service = StoreService(store, shared)
                await service.begin()
            audit = await stack.enter_async_context(keeping(settings.data_dir, settings.audit))
            keeper = Keeper(audit, tries(settings.rates), service)
            stack.push_async_callback(keeper.close)
            listening = await listen(folder_of(settings.data_dir) / SOCKET, keeper)
            stack.callback(listening.close)
            settle_down()
            on_ready()
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait((stopping, broken), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if broken.done():
                raise disk_failed(settings, broken.result())
            await keeper.left()


async def work(settings: Settings, index: int, shared: SharedRevision, on_ready: Callable[[], None]) -> None:
    """Serve, as one of several, until a signal. Raises CannotServe."""
    stop = stop_signals()
    broken: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    colleagues = Colleagues(folder_of(settings.data_dir) / SOCKET, index)
    linking = asyncio.create_task(colleagues.run())
    try:
        if not await _linked(colleagues, stop):
            return
        with explained(settings):
            store = await _open_shared(settings, shared)
        newest = (lambda: shared.value) if keeps_store(settings) else None
        place = Place(index, settings.workers, colleagues, newest)
        await serve(divided(settings), store, place, stop, broken, lambda _: on_ready())
    finally:
        linking.cancel()


async def _linked(colleagues: Colleagues, stop: asyncio.Event) -> bool:
    """Wait for the keeper. False when we are told to stop before it is there."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (colleagues.linked, stop)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
    return not stop.is_set()


async def _open_shared(settings: Settings, shared: SharedRevision) -> EncryptingStore:
    if keeps_store(settings):
        return await encrypted(settings, await open_remote(folder_of(settings.data_dir) / SOCKET, shared))
    return await encrypted(settings, await open_plain_store(settings, None))


def divided(settings: Settings) -> Settings:
    """A worker's part of what all clients together may have: the kernel spreads their connections evenly enough."""
    count = settings.workers
    limits, passwords = settings.limits, settings.passwords
    return replace(
        settings,
        limits=replace(
            limits,
            seats_max=max(limits.seats_max // count, SEATS_MIN),
            watches_max=-(-limits.watches_max // count),
        ),
        http=replace(settings.http, connections_max=-(-settings.http.connections_max // count)),
        passwords=replace(
            passwords,
            hashes_at_once=max(passwords.hashes_at_once // count, 1),
            waiting_max=-(-passwords.waiting_max // count),
        ),
    )
