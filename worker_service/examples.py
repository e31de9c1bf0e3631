"""Examples from JSON Schemas, so that Swagger UI has something to send."""

from typing import Any, Final

_BY_TYPE: Final[dict[str, Any]] = {
    "string": "text",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "null": None,
}
_DEPTH: Final = 6


def example_of(schema: dict[str, Any]) -> Any:
    """A value that a Pydantic-made schema accepts, as far as its structure tells; patterns are not solved."""
    return _example(schema, schema.get("$defs", {}), _DEPTH)


def _example(schema: dict[str, Any], definitions: dict[str, Any], depth: int) -> Any:
    if "$ref" in schema:
        schema = definitions.get(schema["$ref"].rsplit("/", 1)[-1], {})
    for given in ("default", "const"):
        if given in schema:
            return schema[given]
    if choices := schema.get("examples") or schema.get("enum"):
        return choices[0]
    if (branches := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")) and depth:
        return _example(branches[0], definitions, depth - 1)
    if "properties" in schema and depth:
        wanted = schema.get("required", [])
        return {
            name: _example(part, definitions, depth - 1)
            for name, part in schema["properties"].items()
            if name in wanted
        }
    return _plain(schema)


def _plain(schema: dict[str, Any]) -> Any:
    kind = schema.get("type")
    if kind in ("integer", "number"):
        floor = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        return floor + 1 if floor >= 1 or "exclusiveMinimum" in schema else _BY_TYPE[kind]
    return _BY_TYPE.get(kind or "", {})
