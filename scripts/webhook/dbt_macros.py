"""The macros of dbt, made when they are called: every node gets some 570 of them, bound to it, three times, and calls twenty.
So are the functions that raise errors, and the variables of the project.

Where another version of dbt has no such names, dbt goes on as it does by itself. `dbt_host.py`
loads this file by its path.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any


def make_late() -> None:
    """For a process that forks those that run dbt, once."""
    for make in (_make_macros_late, _make_errors_late, _read_variables_late):
        with contextlib.suppress(ImportError, AttributeError):
            make()


def _make_errors_late() -> None:
    from dbt.context import exceptions_jinja, providers

    functions = list(exceptions_jinja.CONTEXT_EXPORTS.values())
    places = {name: place for place, name in enumerate(exceptions_jinja.CONTEXT_EXPORTS)}
    wrapper = exceptions_jinja.wrapper
    providers.wrapped_exports = lambda model: Late(places, lambda place: wrapper(model)(functions[place]))


def _read_variables_late() -> None:
    from dbt.context.providers import ModelConfiguredVar

    read = ModelConfiguredVar._generate_merged

    def read_late(self: Any) -> LateMapping:
        # Others find the packages where this has left them.
        self._config.load_dependencies()
        return LateMapping(lambda: read(self))

    ModelConfiguredVar._generate_merged = read_late


def _make_macros_late() -> None:
    from dbt.clients.jinja import MacroGenerator
    from dbt.context.macros import MacroNamespace, MacroNamespaceBuilder
    from dbt.context.manifest import ManifestContext
    from dbt_common.clients.jinja import MacroFuzzTemplate, NativeSandboxTemplate

    build, build_for = MacroNamespaceBuilder.build_namespace, ManifestContext._build_namespace
    plans: dict[tuple[Any, ...], tuple[Any, _Plan]] = {}

    class Namespace(Late):
        get_from_package = MacroNamespace.get_from_package

    def build_namespace(self: Any, macros_by_package: Any, ctx: Any) -> Any:
        key = (id(macros_by_package), self.search_package, self.root_package, tuple(self.internal_package_names_order))
        # Held, so that its id stays its own.
        if key not in plans:
            plans[key] = macros_by_package, _Plan(build(self, macros_by_package, ctx))
        plan = plans[key][1]
        made: dict[int, Any] = {}

        def make(place: int) -> Any:
            if place not in made:
                made[place] = MacroGenerator(plan.macros[place], ctx, self.node, self.thread_ctx)
            return made[place]

        namespace: Any = Namespace(plan.flat, make)
        namespace.packages = {name: Late(places, make) for name, places in plan.packages.items()}
        namespace.global_project_namespace = Late(plan.internal, make)
        for name in plan.package_names:
            namespace[name] = namespace.packages.get(name, namespace.global_project_namespace)
        return namespace

    def build_namespace_for(self: Any) -> Any:
        # Empty yet; every macro that is made for it keeps it.
        self._ctx = Late({}, None)
        return build_for(self)

    MacroNamespaceBuilder.build_namespace = build_namespace
    ManifestContext._build_namespace = build_namespace_for
    # Jinja's own copies all there is for every argument of a test; dbt's looks up what is asked for.
    NativeSandboxTemplate.new_context = MacroFuzzTemplate.new_context


class Late(dict[str, Any]):
    """A dict with members that are made, by `make` of their place, when they are asked for. Whoever looks at more of it
    than one member finds them all."""

    def __init__(self, places: Mapping[str, int], make: Callable[[int], Any] | None) -> None:
        super().__init__()
        self._places, self._make = places, make

    def __missing__(self, key: str) -> Any:
        place = self._places[key]
        assert self._make is not None
        value = self[key] = self._make(place)
        return value

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or key in self._places

    def __bool__(self) -> bool:
        return bool(self._places) or dict.__len__(self) > 0

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def update(self, *others: Any, **named: Any) -> None:
        for other in others:
            if isinstance(other, Late) and not self._places:
                # Its members, made or not, take the place of ours.
                for name in [name for name in dict.__iter__(self) if name in other._places]:
                    dict.__delitem__(self, name)
                self._places, self._make = other._places, other._make
                other = {name: other[name] for name in dict.__iter__(other)}
            dict.update(self, other)
        dict.update(self, named)

    def _make_all(self) -> None:
        for name in self._places:
            self[name]
        self._places = {}


class LateMapping(Mapping[str, Any]):
    """What `make` makes, once somebody looks."""

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Mapping[str, Any]:
        return self._make()

    def __getitem__(self, key: str) -> Any:
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def _with_all(name: str) -> Callable[..., Any]:
    def call(self: Late, *arguments: Any, **named: Any) -> Any:
        self._make_all()
        return getattr(dict, name)(self, *arguments, **named)

    return call


for _name in (
    *("__iter__", "__reversed__", "__len__", "__eq__", "__ne__", "__or__", "__ror__", "__repr__", "__delitem__"),
    *("keys", "values", "items", "copy", "pop", "popitem", "setdefault", "clear"),
):
    setattr(Late, _name, _with_all(_name))


class _Plan:
    """Where each name of a namespace of dbt's leads."""

    def __init__(self, namespace: Any) -> None:
        numbers: dict[int, int] = {}
        self.macros: list[Any] = []

        def places(members: Iterable[tuple[str, Any]]) -> dict[str, int]:
            found = {}
            for name, generator in members:
                if id(generator) not in numbers:
                    numbers[id(generator)] = len(self.macros)
                    self.macros.append(generator.macro)
                found[name] = numbers[id(generator)]
            return found

        flat = dict(namespace)
        self.packages = {name: places(macros.items()) for name, macros in namespace.packages.items()}
        self.internal = places(namespace.global_project_namespace.items())
        self.package_names = [name for name, member in flat.items() if isinstance(member, dict)]
        self.flat = places((name, member) for name, member in flat.items() if not isinstance(member, dict))
