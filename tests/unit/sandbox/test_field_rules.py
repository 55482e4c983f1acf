"""What a request may, must and must not have."""

from typing import Any

import pytest

from service.sandbox.field_rules import FieldRule, Finding, first_finding, optional, required

RULES: dict[str, FieldRule] = {
    "Id": required("uint"),
    "Name": optional("string"),
    "Flag": optional("boolean", china_only=True),
    "Ids": optional("list of uint"),
    "Items": optional("list of object", inner={"Size": required("int")}),
    "One": optional("object", inner={"Size": required("int")}),
}


@pytest.mark.parametrize(
    ("params", "kind", "path"),
    [
        ({"Nam": 1}, "unknown", "Nam"),
        ({"Name": "x"}, "missing", "Id"),
        ({"Id": -1}, "wrong type", "Id"),
        ({"Id": 2**64}, "wrong type", "Id"),
        ({"Id": 1.0}, "wrong type", "Id"),
        ({"Id": True}, "wrong type", "Id"),
        ({"Id": 1, "Name": None}, "wrong type", "Name"),
        ({"Id": 1, "Flag": 1}, "wrong type", "Flag"),
        ({"Id": 1, "Ids": 1}, "wrong type", "Ids"),
        ({"Id": 1, "Ids": [1, "2"]}, "wrong type", "Ids"),
        ({"Id": 1, "Items": [{"Size": 1}, {}]}, "missing", "Items.1.Size"),
        ({"Id": 1, "Items": [[]]}, "wrong type", "Items"),
        ({"Id": 1, "One": {"Size": "1"}}, "wrong type", "One.Size"),
        ({"Id": 1, "One": []}, "wrong type", "One"),
    ],
)
def test_first_fault_is_found_with_its_place(params: dict[str, Any], kind: Any, path: str) -> None:
    assert first_finding(params, RULES) == Finding(kind=kind, path=path)


def test_good_request_has_no_finding() -> None:
    assert first_finding({"Id": 0, "Flag": False, "Ids": [], "Items": [{"Size": -1}]}, RULES) is None


def test_china_only_field_is_unknown_elsewhere() -> None:
    assert first_finding({"Id": 0, "Flag": True}, RULES, china=False) == Finding(kind="unknown", path="Flag")
