"""The columns of kinds that users bring: their additionalPrinterColumns, else name and age.

Source: apiextensions-apiserver pkg/registry/customresource/tableconvertor.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from k8snetlab.api.ages import age
from k8snetlab.api.cells import NAME, Column
from k8snetlab.api.columns import columns_of
from k8snetlab.api.extensions import PrinterColumn
from k8snetlab.api.jsonpath import find, parse
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import Resource, to_dict


def columns_for(resource: Resource) -> tuple[Column, ...]:
    """Of any kind."""
    if resource.defined is None or not resource.defined.additionalPrinterColumns:
        return columns_of(resource.type)
    return (NAME, *(_column(one) for one in resource.defined.additionalPrinterColumns))


def _column(said: PrinterColumn) -> Column:
    wide = said.priority > 0
    if said.type == "date":
        return Column(said.name, wide=wide, timed=_date(said.jsonPath), type="date", description=said.description)
    return Column(
        said.name, _cell(said.jsonPath, said.type), wide, said.type, format=said.format, description=said.description
    )


def _date(path: str) -> Callable[[Object, float], Any]:
    def cell(obj: Object, now: float) -> Any:
        found = _first(obj, path)
        return age(found, now) if isinstance(found, str) else None

    return cell


def _cell(path: str, type_: str) -> Callable[[Object], Any]:
    def cell(obj: Object) -> Any:
        found = _first(obj, path)
        if found is None:
            return None
        number = isinstance(found, int | float) and not isinstance(found, bool)
        match type_:
            case "integer":
                return int(found) if number else None
            case "number":
                return float(found) if number else None
            case "boolean":
                return found if isinstance(found, bool) else None
        return found if isinstance(found, str) else json.dumps(found, separators=(",", ":"), ensure_ascii=False)

    return cell


def _first(obj: Object, path: str) -> Any:
    try:
        found = find(to_dict(obj), parse(path))
    except ValueError:
        return None
    return found[0] if found else None
