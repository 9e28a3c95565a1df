"""A JSON document against a schema: the part of JSON Schema 2020-12 that this package's own schemas use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["faults"]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_KNOWN = {
    "type", "const", "enum", "required", "properties", "additionalProperties", "items", "minItems", "maxItems",
    "minimum", "maximum", "pattern", "anyOf", "$ref", "$defs", "$schema", "title",
}  # fmt: skip


def faults(document: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str = "$") -> Iterator[str]:
    """What is wrong with a document, a sentence each.

    Parameters
    ----------
    document : object
        What json.loads returned.
    schema : mapping
        The schema that applies.
    root : mapping
        The schema whose ``$defs`` references mean.
    where : str
        The document's place, for the sentences.

    Yields
    ------
    str

    Examples
    --------
    >>> schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1}}}
    >>> list(faults({"n": 0}, schema, schema)), list(faults({"n": 1}, schema, schema))
    (['$.n is 0, less than 1'], [])
    """
    assert set(schema) <= _KNOWN, f"{set(schema) - _KNOWN} are not understood here"
    if "$ref" in schema:
        yield from faults(document, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, where)
        return
    if "anyOf" in schema:
        found = [list(faults(document, one, root, where)) for one in schema["anyOf"]]
        if all(found):
            yield min(found, key=len)[0]
        return
    if "type" in schema and not _is(document, schema["type"]):
        yield f"{where} is of type {type(document).__name__}, not {schema['type']}"
        return
    yield from _value(document, schema, where)
    if isinstance(document, dict):
        yield from _object(document, schema, root, where)
    if isinstance(document, list):
        yield from _array(document, schema, root, where)


def _is(document: Any, kinds: str | list[str]) -> bool:
    names = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(document, bool):
        return "boolean" in names
    return any(isinstance(document, _TYPES[name]) for name in names)


def _value(document: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    accepted = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if accepted is not None and document not in accepted:
        yield f"{where} is {document!r}; accepted: {', '.join(map(repr, accepted))}"
    if "pattern" in schema and not re.search(schema["pattern"], document):
        yield f"{where} is {document!r}, which {schema['pattern']} does not match"
    if "minimum" in schema and document is not None and document < schema["minimum"]:
        yield f"{where} is {document!r}, less than {schema['minimum']}"
    if "maximum" in schema and document is not None and document > schema["maximum"]:
        yield f"{where} is {document!r}, more than {schema['maximum']}"


def _object(document: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> Iterator[str]:
    known = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in document:
            yield f"{where} has no {name!r}"
    for name, value in document.items():
        more = known.get(name, schema.get("additionalProperties", {}))
        if more is False:
            yield f"{where} has {name!r}; accepted: {', '.join(known)}"
        elif isinstance(more, dict):
            yield from faults(value, more, root, f"{where}.{name}")


def _array(document: list[Any], schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(document) <= schema.get("maxItems", len(document)):
        yield f"{where} has {len(document)} items"
    for index, value in enumerate(document):
        yield from faults(value, schema.get("items", {}), root, f"{where}[{index}]")
