"""Done once, what dbt does anew for each node.

Each function here makes dbt do one thing with less work and the same result, in this process and its forks. They reach into
dbt: with another version of it one may find nothing to hold on to, and then dbt goes on as it does by itself.
`dbt_host.py` loads this file by its path.
"""

import contextlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from types import CodeType
from typing import Any


def save_work() -> None:
    """For a process that forks those that run dbt, once."""
    for save in (
        _compile_templates_once,
        _read_arguments_once,
        _guess_types_once,
        _list_modules_once,
        _encode_addresses_once,
        _write_files_aside,
    ):
        with contextlib.suppress(ImportError, AttributeError):
            save()


def compile_nodes(manifest: Any) -> Iterator[None]:
    """Compile the Jinja of every node, one at a time; for a process that saves work."""
    with contextlib.suppress(ImportError, AttributeError):
        from dbt.clients.jinja import get_rendered
        from dbt_common.clients.jinja import get_environment

        for node in manifest.nodes.values():
            # What cannot be compiled is an error of the run that needs it, if there is one.
            with contextlib.suppress(Exception):
                get_environment().compile(node.raw_code)
                for argument in node.test_metadata.kwargs.values() if node.resource_type == "test" else ():
                    if isinstance(argument, str):
                        # Of a text without Jinja dbt remembers by itself what it means.
                        get_rendered(argument, {}, native=True)
            yield


def _compile_templates_once() -> None:
    """Most tests have the same few lines of Jinja."""
    from jinja2 import Environment

    compile_template = Environment.compile
    known: dict[tuple[type, str], CodeType] = {}

    def compile_once(self: Any, source: Any, *rest: Any, **named: Any) -> Any:
        if not isinstance(source, str) or rest or named:
            return compile_template(self, source, *rest, **named)
        # In dbt, syntax and filters hang on the class of the environment and on nothing else.
        key = (type(self), source)
        if key not in known:
            known[key] = compile_template(self, source)
        return known[key]

    Environment.compile = compile_once  # type: ignore[method-assign]


def _read_arguments_once() -> None:
    """What dbt was called with is told to every node, and does not change."""
    from dbt.context import providers

    read = providers.args_to_dict
    known: dict[int, tuple[Any, dict[str, Any]]] = {}

    def args_to_dict(args: Any) -> dict[str, Any]:
        if id(args) not in known:
            # Held, so that its id stays its own.
            known[id(args)] = args, read(args)
        return dict(known[id(args)][1])

    providers.args_to_dict = args_to_dict


def _list_modules_once() -> None:
    """What templates may call of Python's own modules is the same for each of them."""
    from dbt.context import base

    modules = base.get_context_modules()
    base.get_context_modules = lambda: {name: dict(module) for name, module in modules.items()}


def _guess_types_once() -> None:
    """For each answer of the warehouse dbt makes everything that could tell a date from a number."""
    from dbt_common.clients import agate_helper

    build = agate_helper.build_type_tester

    @cache
    def built(_thread: int, text_columns: tuple[str, ...], nulls: tuple[str, ...] | None) -> Any:
        return build(text_columns, nulls)

    def build_type_tester(text_columns: Iterable[str], string_null_values: Any = ("null", "")) -> Any:
        nulls = None if string_null_values is None else tuple(string_null_values)
        # agate says nothing of types that several threads share.
        return built(threading.get_ident(), tuple(sorted(text_columns)), nulls)

    # Tables are immutable.
    nothing = agate_helper.empty_table()
    agate_helper.build_type_tester = build_type_tester
    agate_helper.empty_table = lambda: nothing


def _encode_addresses_once() -> None:
    """urllib3 looks four times at every byte of a statement's address, which has all settings in it."""
    from urllib3.util import url

    encode = url._encode_invalid_chars
    allowed_by_id: dict[int, Any] = {}

    @lru_cache(maxsize=32)
    def encoded(component: Any, allowed: int, rest: tuple[str, ...]) -> Any:
        return encode(component, allowed_by_id[allowed], *rest)

    def encode_once(component: Any, allowed_chars: Any, *rest: str) -> Any:
        # Held, so that its id stays its own.
        allowed_by_id[id(allowed_chars)] = allowed_chars
        return encoded(component, id(allowed_chars), rest)

    url._encode_invalid_chars = encode_once


def _write_files_aside() -> None:
    """The compiled SQL, for whoever looks into a failure, is written while dbt waits for the warehouse."""
    from dbt.contracts.graph import nodes

    write = nodes.write_file

    def write_aside(path: str, contents: str = "") -> bool:
        # Made in the run: the process that forks must have no threads.
        if not _aside:
            _aside.append(ThreadPoolExecutor(1))
        _writes.append(_aside[0].submit(write, path, contents))
        return True

    nodes.write_file = write_aside


_aside: list[ThreadPoolExecutor] = []
_writes: list[Future[Any]] = []


def finish() -> None:
    """Wait for what is done aside; at the end of a run."""
    for pool in _aside:
        pool.shutdown()
    failed = [error for error in (one.exception() for one in _writes) if error is not None]
    if failed:
        print(f"{len(failed)} files of compiled SQL were not written: {failed[0]}", flush=True)
