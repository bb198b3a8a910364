"""What the repository promises as a whole: a lean agent that knows no board, pinned and explained
dependencies, and nothing of the machine that it was written on."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.bench import agent_ram
from tests.conftest import LONGEST
from tests.support import ROOT, mpy_cross, run_micropython

AGENT_FILES = sorted((ROOT / "agent").rglob("*.py"))
BOARDS = sorted(path.name for path in (ROOT / "boards").iterdir() if path.is_dir())

# Modules that CPython 3.9 and MicroPython 1.24 both have built in.
IN_BOTH = frozenset(
    "array asyncio binascii errno gc hashlib io json os random select socket ssl struct sys"
    " time".split()
)
# Only one has these: import them where it has been asked which interpreter this is, or in a `try`.
# `tls` is what MicroPython's `ssl` wraps; the wrapper costs a device a kilobyte.
IN_ONE = frozenset(["cryptolib", "micropython", "tls", "vfs"])

# What every device loads. The smallest heap is what counts in the end (`make bench`).
MPY_LIMIT = 64 * 1024
# What any one source or other part may add that is only loaded where it is configured.
PART_LIMIT = 8 * 1024
# What a device on Wi-Fi with SNMP, portal and budget gets, and all that there is: a little above
# what they are, so that nothing grows unseen. What a board has room for is its heap's to say.
DEVICE_LIMIT = 77_000
ALL_LIMIT = 105_000

# Makes of routers are what these ask, as data: the router is not what the agent runs on.
ASKS_A_MAKE = frozenset(
    ["agent/config.py", "agent/sources/mikrotik.py", "agent/sources/profiles.py"]
)

TOP_LEVEL = frozenset(
    "agent boards host_tools tests docs .ci Makefile pyproject.toml constraints.txt"
    " README.md LICENSE CHANGELOG.md .gitignore".split()
)


def _compile(source: Path, target: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [mpy_cross(), *flags, "-o", str(target), str(source)], capture_output=True, text=True
    )


def _project_files() -> list[str]:
    """Paths of all that is committed or about to be, from the repository's root."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listing = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        # Unpacked from an archive: nobody knows what is ours, so leave out what `make` makes.
        made = {".venv", "build", "dist", "__pycache__", "desalink.egg-info"}
        paths = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        caches = re.compile(r"\.(git|\w+_cache|hypothesis)$")
        return sorted(
            str(path)
            for path in paths
            if not any(part in made or caches.match(part) for part in path.parts)
            and (ROOT / path).is_file()
        )
    return sorted(name for name in listing.split("\0") if (ROOT / name).is_file())


def _pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _distribution(requirement: str) -> str:
    """The normalized name in a requirement or a pin (PEP 503)."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


# --- the agent


@pytest.mark.parametrize("flags", [(), ("-march=xtensawin",)], ids=["bytecode", "xtensawin"])
def test_the_agent_compiles_without_a_word(flags, tmp_path):
    said = []
    for source in AGENT_FILES:
        result = _compile(source, tmp_path / "out.mpy", *flags)
        if result.returncode or result.stdout or result.stderr:
            said.append(f"{source.relative_to(ROOT)}: {result.stdout}{result.stderr}")
    assert not said, "\n".join(said)


def test_the_compiled_agent_fits_a_small_device(tmp_path):
    sizes = agent_ram.mpy_sizes(tmp_path)
    core, parts = agent_ram.by_part(sizes)
    device = sum(sizes[module] for module in agent_ram.needed(agent_ram.DEVICE))
    assert (device <= DEVICE_LIMIT, sum(sizes.values()) <= ALL_LIMIT) == (True, True), sizes
    assert core <= MPY_LIMIT, sorted(sizes.items(), key=lambda item: -item[1])
    assert {name: size for name, size in parts.items() if size > PART_LIMIT} == {}


def _imports(tree: ast.AST, guarded: bool = False) -> Iterator[tuple[str, bool]]:
    """The top-level module of each absolute import, and whether an `if` or a `try` encloses it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], guarded
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0], guarded
        yield from _imports(node, guarded or isinstance(node, ast.If | ast.Try))


def test_the_agent_imports_only_itself_and_what_both_interpreters_have():
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}{' under a guard' if guarded else ''}"
        for path in AGENT_FILES
        for module, guarded in _imports(ast.parse(path.read_text()))
        if module != "agent" and module not in IN_BOTH and not (module in IN_ONE and guarded)
    ]
    assert not wrong, "\n".join(wrong)


def test_micropython_has_every_module_that_the_agent_may_import():
    run_micropython("\n".join(f"import {module}" for module in sorted(IN_BOTH)), check=True)


def _names_and_strings(path: Path) -> tuple[set[str], set[str]]:
    """Of a file's code, in lower case. Comments and docstrings may explain a board's ways."""
    names, strings = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            body[0].value = ast.Constant(None)  # a docstring; children are visited after parents
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            is_text = isinstance(node.value, str)
            strings.add((node.value if is_text else node.value.decode("latin-1")).lower())
        for field in ("id", "attr", "name", "module", "arg"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                names.add(value.lower())
    return names, strings


def test_no_file_of_the_agent_knows_a_board_by_name():
    wrong = []
    for path in AGENT_FILES:
        file = str(path.relative_to(ROOT))
        names, strings = _names_and_strings(path)
        hardware = r"esp32|esp8266|xtensa|raspberry|(?<![a-z])(rpi|rp2)(?![a-z])|openwrt"
        if file not in ASKS_A_MAKE:
            hardware += "|mikrotik|routeros"
        wrong += [(file, word) for word in names | strings if re.search(hardware, word)]
        # As names these are words of other trades too: Unix time, Linux's files under /proc.
        boards = (w for w in strings if w in BOARDS or re.search(r"boards[./]\w", w))
        wrong += [(file, word) for word in boards]
        wrong += [(file, word) for word in names if word.partition(".")[0] == "boards"]
    assert wrong == []


# --- what is committed


def test_no_file_tells_where_it_was_written_or_where_packages_come_from():
    # Put together here, so that this file passes too.
    folders = "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me", "tm" + "p/x", "opt/" + "pypi"])
    domains = ["py" + "pi", "python" + "hosted", "npm" + "js", "deb.debi" + "an", "ubu" + "ntu"]
    options = ["index" + "-url", "find" + "-links", "trusted" + "-host"]
    forbidden = re.compile(
        rf"(?<![\w.~-])/(?:{folders})/|\b(?:{'|'.join(domains)})\.(?:org|com)\b|{'|'.join(options)}"
    )
    found = []
    for name in _project_files():
        try:
            text = (ROOT / name).read_text()
        except UnicodeDecodeError:
            continue  # a picture
        for number, line in enumerate(text.splitlines(), 1):
            match = forbidden.search(line)
            if match:
                found.append(f"{name}:{number}: {match.group()}")
    assert not found, "\n".join(found)


def test_the_top_level_holds_what_a_newcomer_expects_and_no_more():
    entries = {name.partition("/")[0] for name in _project_files()}
    assert entries - TOP_LEVEL == set(), "not known here"
    assert TOP_LEVEL - entries == set(), "missing"


def test_every_data_file_of_a_package_is_installed_with_it():
    data = _pyproject()["tool"]["setuptools"]["package-data"]
    forgotten = []
    for name in _project_files():
        path = Path(name)
        if path.parts[0] not in ("agent", "boards", "host_tools"):
            continue
        package = path.parent
        while not any((ROOT / package).glob("*.py")):
            package = package.parent
        if path.suffix == ".py" and package == path.parent:
            continue
        patterns = data["*"] + data.get(".".join(package.parts), [])
        # As setuptools has it: a star stands for what lies between two slashes.
        if not any(ROOT / path in (ROOT / package).glob(pattern) for pattern in patterns):
            forgotten.append(name)
    assert forgotten == []


def test_the_changelog_knows_the_version():
    version = _pyproject()["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


# --- dependencies


def _requirements() -> dict[str, list[str]]:
    """Requirements of pyproject.toml by group, the project's own extras left out."""
    project = _pyproject()["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        group: [line for line in lines if _distribution(line) != project["name"]]
        for group, lines in groups.items()
    }


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin), f"not an exact version: {pin}"
    return {_distribution(pin): pin for pin in pins}


def test_every_dependency_says_what_it_is_for():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    wanted = [*_pyproject()["build-system"]["requires"], *sum(_requirements().values(), [])]
    for requirement in wanted:
        line = next(line for line in lines if f'"{requirement}"' in line)
        reason = line.rpartition('"')[2].partition("#")[2]
        assert len(reason.split()) >= 3, f"no reason in: {line}"


def test_every_dependency_is_pinned_to_one_version():
    pins = _pins()
    for requirement in sum(_requirements().values(), []):
        assert _distribution(requirement) in pins, f"constraints.txt does not pin {requirement}"


def test_nothing_that_make_installs_is_unpinned():
    if Path(sys.prefix) != ROOT / ".venv":
        return  # somebody's own environment is their own affair
    freeze = [sys.executable, "-m", "pip", "freeze", "--exclude", "desalink"]
    lines = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in lines if _distribution(line) not in _pins()] == []


def _imported_distributions(*folders: str) -> set[str]:
    known = packages_distributions()
    found = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for module, _ in _imports(ast.parse(path.read_text())):
                own = module in {"agent", "boards", "host_tools", "tests"}
                if not own and module not in sys.stdlib_module_names | IN_ONE:
                    assert module in known, (
                        f"{path.relative_to(ROOT)} imports {module}, not installed"
                    )
                    found.update(_distribution(name) for name in known[module])
    return found


def test_host_tools_import_what_pyproject_declares_and_all_of_it():
    required = _requirements()
    declared = {
        _distribution(line)
        for group in ("", "alerts", "archive", "pages")
        for line in required[group]
    }
    # `cryptography` imports bcrypt itself, for private keys under a passphrase; Starlette imports
    # python-multipart, for forms with a file.
    imported_by_others = {"bcrypt", "python-multipart"}
    assert _imported_distributions("host_tools") | imported_by_others == declared


def test_the_tests_import_what_pyproject_declares():
    declared = {_distribution(line) for lines in _requirements().values() for line in lines}
    assert _imported_distributions("tests") - declared == set()


def test_the_files_of_tests_that_take_longest_are_there():
    assert [path for path in LONGEST if not (ROOT / path).is_file()] == []
