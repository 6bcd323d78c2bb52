"""Gates on form that no linter has: words, sizes and names, checked by `make check`.

Prints one line for each fault and exits with 1 if there is any.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGES: Final = ("service", "biometrics", "crypto", "lab", "migrations")
EVERYWHERE: Final = (*PACKAGES, "tests", "benchmarks")
RIDDLES: Final = re.compile(
    r"\b(what it|whom|anew|nobody|somebody|told|whose|as it stands|lets? go|who it)\b",
    re.IGNORECASE,
)
"""Words that hide a meaning in a first line: say who does what to which thing."""
LONGEST_FILE: Final = 400
MOST_ANY: Final = 40
"""How often `service` may say `Any`, but for the descriptor of sealed columns."""
DESCRIPTOR: Final = ("fields", "sealed", "authentic", "shapes")
"""The modules of `service/store` through which rows and values of any type pass."""
LONGER: Final[dict[str, int]] = {}
"""Files that are still to be split, and how long each may be: none may join them or grow."""
ENTRANCES: Final = ("biometrics/__init__.py", "service/app/__init__.py", "service/cli/__init__.py")
"""Packages that act before their modules are imported: they import on first use, or set threads."""
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def files(*packages: str) -> Iterator[Path]:
    """Yield the Python files of packages, in order."""
    for package in packages:
        found = sorted(Path(package).rglob("*.py"))
        if not found:
            raise SystemExit(f"{package}: no file to check; run this at the top of a checkout")
        yield from found


def riddles(file: Path, tree: ast.Module) -> Iterator[str]:
    """Yield the first lines of docstrings that use a word of RIDDLES."""
    for node in ast.walk(tree):
        if not isinstance(node, _Documented):
            continue
        first = (ast.get_docstring(node) or "").partition("\n")[0]
        found = RIDDLES.search(first)
        if found:
            line = node.body[0].lineno
            yield f"{file}:{line}: `{found[0]}` hides the meaning of the first line: {first}"


def formats(file: Path, text: str) -> Iterator[str]:
    """Yield what keeps the formatter off, and files that are too long."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if re.search(r"#\s*fmt:\s*(skip|off)", line):
            yield f"{file}:{number}: the formatter lays out every line"
    most = LONGER.get(file.as_posix(), LONGEST_FILE)
    if len(lines) > most:
        yield f"{file}: {len(lines)} lines, of {most} at most: split it by meaning"


def packed(file: Path, tree: ast.Module) -> Iterator[str]:
    """Yield assignments of several values in one statement, where two statements would do."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            continue
        target = node.targets[0]
        if isinstance(target, ast.Tuple) and not _turning(target, node.value):
            yield f"{file}:{node.lineno}: give each value a statement of its own"


def _turning(target: ast.Tuple, value: ast.Tuple) -> bool:
    """Tell whether a later value needs a name that an earlier target replaces, as a swap does."""
    for number, name in enumerate(target.elts):
        later = {ast.unparse(node) for part in value.elts[number + 1 :] for node in ast.walk(part)}
        if ast.unparse(name) in later:
            return True
    return False


def untyped(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Yield a fault if the service uses `Any` more often than MOST_ANY."""
    count = sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for file, tree in trees.items()
        if file.parts[0] == "service"
        and not (file.parent.name == "store" and file.stem in DESCRIPTOR)
        for node in ast.walk(tree)
    )
    if count > MOST_ANY:
        yield f"service: Any is used {count} times, of {MOST_ANY} at most: name the type"


def featureless(file: Path, tree: ast.Module) -> Iterator[str]:
    """Yield `__init__.py` files that hold code of a feature."""
    if file.name != "__init__.py" or file.as_posix() in ENTRANCES:
        return
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        exported = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not (docstring or exported or isinstance(node, ast.ImportFrom)):
            yield f"{file}:{node.lineno}: code of a feature belongs in a module with a name"


def doubled(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Yield public class names that more than one module of the packages defines."""
    homes = defaultdict(list)
    for file, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(file))
    for name, places in sorted(homes.items()):
        if len(places) > 1:
            yield f"class {name} is defined in {' and '.join(places)}"


def main() -> int:
    """Print every fault; return 1 if there is any."""
    faults: list[str] = []
    trees: dict[Path, ast.Module] = {}
    for file in files(*EVERYWHERE):
        text = file.read_text("utf-8")
        faults += formats(file, text)
        if file.parts[0] in PACKAGES:
            trees[file] = ast.parse(text)
            faults += riddles(file, trees[file])
            faults += featureless(file, trees[file])
            faults += packed(file, trees[file])
    faults += doubled(trees)
    faults += untyped(trees)
    print(*faults, sep="\n", end="\n" if faults else "")  # noqa: T201 - a command
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
