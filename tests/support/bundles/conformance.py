"""The module contract (docs/packs.md), checked from inside by a Python pack: the twin of conformance.js.

The first argument says what to do, and each check is a line of JSON, as there. Standard library only, Python 3.9+.
"""

import asyncio
import json
import os
import sys

passed = failed = 0


def extra_descriptors():
    found = []
    for fd in range(4, 256):
        try:
            os.fstat(fd)
            found.append(fd)
        except OSError:
            continue
    return found


inherited = extra_descriptors()  # now, while nothing of ours is open


def check(claim, ok, found):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(json.dumps({"check": claim, "ok": True} if ok else {"check": claim, "ok": False, "found": str(found)}))


def same(claim, found, expected):
    check(claim, found == expected, found)


def summary():
    print(json.dumps({"passed": passed, "failed": failed}))


def check_context(context):
    for field in ("execution_id", "pod_id", "pack_id", "pack_name", "pack_version", "runtime_tag"):
        value = getattr(context, field)
        check(f"context.{field} is told", isinstance(value, str) and value, value)
    check("context.timeout is milliseconds or nothing", context.timeout is None or context.timeout > 0, context.timeout)
    check("context.metadata is a dict", isinstance(context.metadata, dict), context.metadata)
    same("context.env is the environment", context.env, dict(os.environ))
    same("what the runtime tells itself is not in context.env", "STARK_HARNESS" in context.env, False)
    pairs = {"POD_ID": "pod_id", "PACK_ID": "pack_id", "PACK_VERSION": "pack_version", "EXECUTION_ID": "execution_id"}
    for name, field in pairs.items():
        same(f"STARK_{name} is context.{field}", context.env.get(f"STARK_{name}"), getattr(context, field))


def check_lifecycle(context):
    lifecycle = context.lifecycle
    same("the phase is running in the call", lifecycle.phase, "running")
    same("nobody has asked to stop", lifecycle.is_shutting_down, False)
    same("there is no reason to stop yet", lifecycle.shutdown_reason, None)
    same("nor a time", lifecycle.shutdown_requested_at, None)
    same("nor a grace that runs out", lifecycle.graceful_shutdown_remaining_ms, None)
    try:
        context.on_shutdown("no")
        check("on_shutdown takes functions only", False, "it took a text")
    except TypeError:
        check("on_shutdown takes functions only", True, "")


def check_surroundings(rest):
    same("the arguments of the call are sys.argv's", rest, sys.argv[1:])
    same("the bundle is no script when it is imported", __name__, "stark_pack")
    own = [name for name in sys.modules if name == "stark" or name.startswith("stark.")]
    same("nothing of the agent's is importable", own, [])
    same("nothing is inherited but the standard streams and the channel", inherited, [])


def wait_for_stop(context, fails):
    """Three handlers: called newest first, each when the one before it has finished."""
    lifecycle, calls, seen = context.lifecycle, [], {}

    @context.on_shutdown
    def first():
        calls.append("first")
        expected = ["third", "second", "second done", "first"]
        same("handlers are called newest first, one after the other", calls, expected)
        check("the grace runs out", lifecycle.graceful_shutdown_remaining_ms <= seen["grace"] - 30, seen)
        summary()

    @context.on_shutdown
    async def second():
        calls.append("second")
        await asyncio.sleep(0.06)
        calls.append("second done")

    ended = asyncio.Event()

    @context.on_shutdown
    async def third():
        calls.append("third")
        seen["grace"] = lifecycle.graceful_shutdown_remaining_ms
        same("the phase is stopping", lifecycle.phase, "stopping")
        same("it is shutting down", lifecycle.is_shutting_down, True)
        check("there is a reason", lifecycle.shutdown_reason, lifecycle.shutdown_reason)
        check("there is a time", lifecycle.shutdown_requested_at > 0, lifecycle.shutdown_requested_at)
        check("there is a grace", seen["grace"] > 0, seen)
        ended.set()  # the entry point ends now; the handlers that are left decide when the run does
        if fails:
            raise RuntimeError("this handler was told to fail")

    print(json.dumps({"waiting": True}))
    return ended.wait()


async def default(context, *rest):
    mode = rest[0] if rest else ""
    if mode in ("shutdown", "shutdown-fails"):
        await wait_for_stop(context, mode == "shutdown-fails")
    elif mode == "stubborn":
        context.on_shutdown(lambda: asyncio.sleep(3600))
        print(json.dumps({"waiting": True}))
        await asyncio.sleep(3600)
    elif mode in ("reject", "throw"):
        raise RuntimeError("told to fail")
    else:
        check_context(context)
        check_lifecycle(context)
        check_surroundings(list(rest))
        summary()
        if failed:
            raise RuntimeError(f"{failed} checks failed")


def named(context):
    check("an entry point is found by its name", context.pod_id, context)
    summary()
