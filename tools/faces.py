"""import-linter's contract for what a package shows: outside of it only the modules that its `__all__` names are
imported, and `__all__` names no module that nobody outside imports.

`__all__` may name submodules without importing them (that is what Python means by it in a package), so importing the
package costs nothing. Names that `__init__` itself defines or imports are shown as they are.
Source: https://import-linter.readthedocs.io/en/stable/custom_contract_types/
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class FacesContract(Contract):
    """`root`: the package whose rooms, and the packages in them, each have a face.

    `public`: those whose face is for users of the library: it may name what nobody here imports.
    """

    type_name = "faces"
    root = fields.StringField()
    public = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        root, public = str(self.root), [str(name) for name in self.public or ()]
        packages = sorted(name for name in graph.find_descendants(root) if graph.find_children(name))
        problems = [
            problem for package in packages for problem in _problems(graph, package, all_used=package not in public)
        ]
        return ContractCheck(kept=not problems, metadata={"problems": problems})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for problem in check.metadata["problems"]:
            output.print_error(f"- {problem}", bold=False)
        output.new_line()


def _problems(graph: ImportGraph, package: str, all_used: bool) -> Iterator[str]:
    tree = ast.parse(Path(*package.split("."), "__init__.py").read_text())
    shown, bound = _shown(tree), set(_bound(tree))
    inside = {package, *graph.find_descendants(package)}
    for child in sorted(graph.find_children(package)):
        name = child.rpartition(".")[2]
        imported = {child, *graph.find_descendants(child)}
        importers = {importer for module in imported for importer in graph.find_modules_that_directly_import(module)}
        strangers = sorted(importers - inside)
        if strangers and name not in shown:
            yield f"{package} does not show {name}, imported by {', '.join(strangers)}: its __all__ must name it"
        # A name that `__init__` imports may be called as the module it comes from, as `reconcile` of `reconcile`.
        if all_used and name in shown and not strangers and name not in bound:
            yield f"{package} shows {name}, imported by nobody outside: take it from its __all__"
    children = {child.rpartition(".")[2] for child in graph.find_children(package)}
    for name in sorted(shown - children - bound):
        yield f"{package} shows {name}, which is not there"


def _bound(tree: ast.Module) -> Iterator[str]:
    """The names that the module's own text gives a value."""
    for node in tree.body:
        match node:
            case ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name for alias in names)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _shown(tree: ast.Module) -> set[str]:
    """What `__all__` names; nothing where there is none."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return set(ast.literal_eval(value))
    return set()
