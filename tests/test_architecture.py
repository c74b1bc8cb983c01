"""Which way imports point, and which module is the door to which dependency: one table."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("common", "server", "client", "simulations")

MAY_IMPORT = {
    "common": {"common"},
    "server": {"server", "common"},
    "client": {"client", "common"},
    "simulations": {"simulations", "server", "client", "common"},
    "tacit": {"common.errors", "common.console"},
}
"""Which way imports point: simulations -> server | client -> common."""

DOORS = {
    "flwr": (
        "server.app",
        "server.exchange",
        "server.coordinator.superexec",
        "server.coordinator.superlink",
        "client.app",
        "client.egress",
        "client.state",
        "client.runner",
        "client.site.supernode",
        "common.wire",
        "simulations.federation",
        "simulations.runner",
        "simulations.bench.*",
        "simulations.attacks.*",
    ),
    "cryptography": (
        "common.secagg.*",
        "common.privacy.mechanism",
        "server.coordinator.pki",
        "client.site.keys",
        "simulations.bench.*",
    ),
    "opacus": ("client.train", "common.privacy.*", "simulations.bench.*"),
    "sqlite3": ("common.privacy.ledger.*",),
    "omegaconf": ("common.settings",),
    "grpc": ("client.site.health",),
    "grpc_health": ("client.site.health",),
    "numba": ("common.compiled",),
    "ray": (),
    "transformers": ("client.data.encoders.loading",),
}
"""Dependency -> the only modules that may import it."""

CLOSED = {
    "common.secagg": ("torch", "flwr", "opacus", "common.models", "common.privacy"),
    "common.privacy": ("flwr", "common.models"),
    "common.models": ("flwr", "opacus", "common.privacy", "common.secagg"),
    "client.data": ("flwr", "opacus"),
}
"""Package -> what nothing in it may import."""

LONGEST_FUNCTION = 40
LONGEST_FILE = 300
GLOBAL_SEEDS = {"common.models.registry", "client.train"}
"""The modules that may seed torch's global state: each inside torch.random.fork_rng."""


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of all product code."""
    files = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
    found = {".".join(f.relative_to(ROOT).with_suffix("").parts): f for f in files}
    return {name.removesuffix(".__init__"): path for name, path in found.items()} | {
        "tacit": ROOT / "tacit.py"
    }


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that a module names in an import, wherever it stands."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            base = node.module or ""
            inner = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else base for name in inner}
    return frozenset(found)


def is_in(module: str, places: tuple[str, ...] | set[str]) -> bool:
    """Whether a module is one of the places; "package.*" means the package and all below."""
    stems = {place.removesuffix(".*"): place.endswith(".*") for place in places}
    return any(module == s or (deep and module.startswith(s + ".")) for s, deep in stems.items())


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_one_way(module):
    top = module.partition(".")[0]
    ours = {name for name in imports(module) if name.partition(".")[0] in {*PACKAGES, "tacit"}}
    if top == "tacit":
        assert ours <= MAY_IMPORT[top]
        return
    assert {name.partition(".")[0] for name in ours} <= MAY_IMPORT[top]


def test_the_command_line_imports_nothing_heavy():
    outside = {name for name in imports("tacit") if name not in MAY_IMPORT["tacit"]}
    light = {"errno", "sys", "importlib.import_module", "importlib", "typing", "click", "typer"}
    assert outside <= {*light, "typer.core"}


@pytest.mark.parametrize("dependency", sorted(DOORS))
def test_a_dependency_has_only_its_doors(dependency):
    users = {
        module
        for module in modules()
        if any(n == dependency or n.startswith(dependency + ".") for n in imports(module))
    }
    strays = sorted(module for module in users if not is_in(module, DOORS[dependency]))
    assert strays == [], f"{dependency} is imported by {strays}; its doors: {DOORS[dependency]}"


@pytest.mark.parametrize("package", sorted(CLOSED))
def test_a_closed_package_stays_closed(package):
    for module in modules():
        if module == package or module.startswith(package + "."):
            for closed in CLOSED[package]:
                names = {n for n in imports(module) if n == closed or n.startswith(closed + ".")}
                assert not names, f"{module} imports {sorted(names)}"


def test_a_door_that_is_named_exists_or_is_to_come():
    known = set(modules())
    for doors in DOORS.values():
        assert {door.removesuffix(".*") for door in doors} <= known


def functions(module: str) -> Iterator[tuple[str, int]]:
    """Name and length of each function: its lines without the docstring."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None:
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield f"{module}:{node.lineno} {node.name}", lines


def test_functions_are_short():
    found = {name: n for module in modules() for name, n in functions(module)}
    assert {name: n for name, n in found.items() if n > LONGEST_FUNCTION} == {}


def test_files_are_short():
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE} == {}


def test_product_code_asserts_nothing():
    found = [
        f"{module}:{node.lineno}"
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Assert)
    ]
    assert found == [], "an assert goes away under python -O; raise one of common.errors instead"


def calls(module: str) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_nothing_is_unpickled():
    unsafe = {"pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
    for module in modules():
        assert not {name.partition(".")[0] for name in imports(module)} & unsafe, module
        for name, node in calls(module):
            assert name != "torch.load", f"{module}:{node.lineno}"
            allowing = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert allowing.get("allow_pickle", "False") == "False", f"{module}:{node.lineno}"


def test_np_load_forbids_pickles_by_name():
    for module in modules():
        for name, node in calls(module):
            if name in ("np.load", "numpy.load"):
                assert "allow_pickle" in {k.arg for k in node.keywords}, f"{module}:{node.lineno}"


LOCAL_GENERATORS = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox"}


@pytest.mark.parametrize("module", sorted(modules()))
def test_no_global_randomness(module):
    assert "random" not in imports(module)
    for name, node in calls(module):
        where = f"{module}:{node.lineno} {name}"
        if name.startswith(("np.random.", "numpy.random.")):
            assert name.rpartition(".")[2] in LOCAL_GENERATORS, where
            assert node.args or node.keywords, f"{where}: without a seed"
        if name in ("torch.manual_seed", "torch.random.manual_seed", "torch.cuda.manual_seed"):
            assert module in GLOBAL_SEEDS, where
            assert "fork_rng" in modules()[module].read_text(), where


def test_console_output_is_left_to_commands():
    for module in modules():
        for name, node in calls(module):
            assert name != "print", f"{module}:{node.lineno}"
