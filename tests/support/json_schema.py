"""The part of JSON Schema 2020-12 that the node's own document uses. A keyword it does not know is an error: a schema that
asks for something is never passed over."""
import re

TYPES = {"string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}
KNOWN = {"$ref", "type", "description", "pattern", "enum", "items", "minItems", "maxItems", "properties", "required",
         "additionalProperties", "oneOf", "minimum", "maximum", "format"}


class Mismatch(AssertionError):
    pass


def has_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def resolve(document, schema):
    while "$ref" in schema:
        at = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        schema = at
    return schema


def check(document, schema, value, where="answer"):
    """Raises Mismatch where the value is not what the schema says."""
    def expect(condition, what):
        if not condition:
            raise Mismatch(f"{where}: {what}; found {value!r:.300}")

    schema = resolve(document, schema)
    if unknown := schema.keys() - KNOWN:
        raise Mismatch(f"{where}: the schema has keywords nobody checks: {unknown}")
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        expect(any(has_type(value, name) for name in types), f"not of type {types}")
    if "enum" in schema:
        expect(value in schema["enum"], f"not one of {schema['enum']}")
    if "pattern" in schema and isinstance(value, str):
        expect(re.search(schema["pattern"], value), f"not like {schema['pattern']}")
    if isinstance(value, int) and not isinstance(value, bool):
        expect(value >= schema.get("minimum", value) and value <= schema.get("maximum", value), "out of range")
        if schema.get("format") == "uint64":
            expect(value < 2**64, "more than 64 bits")
    if "oneOf" in schema:
        errors = []
        for choice in schema["oneOf"]:
            try:
                check(document, choice, value, where)
            except Mismatch as error:
                errors.append(str(error))
        expect(len(schema["oneOf"]) - len(errors) == 1, f"not exactly one of the schemas fits: {errors}")
    if isinstance(value, list):
        expect(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)), "too few or too many items")
        for i, item in enumerate(value):
            check(document, schema.get("items", {}), item, f"{where}[{i}]")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        expect(set(schema.get("required", [])) <= value.keys(), "a member is missing")
        if schema.get("additionalProperties", True) is False:
            expect(value.keys() <= properties.keys(), f"undocumented members {value.keys() - properties.keys()}")
        for key, item in value.items():
            if key in properties:
                check(document, properties[key], item, f"{where}.{key}")


def schemas(node):
    """Every schema anywhere below `node`, which may be the whole document."""
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for child in node.values():
            yield from schemas(child)
    elif isinstance(node, list):
        for child in node:
            yield from schemas(child)


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)
