"""The fields of the Tencent operations (CLI specs of both sites, 2026-08): name, type, required, China only."""

from __future__ import annotations

from collections.abc import Mapping

from service.sandbox.field_rules import FieldRule, optional, required

_DETAIL = {
    "CallType": required("int"),
    "PhoneNumber": required("string"),
    "MaxCallCount": required("int"),
    "MaxCallPSec": required("int"),
    "OutboundCalleeFormat": optional("string"),
    "CarrierPhoneNumber": optional("string"),
}

FIELDS: Mapping[str, Mapping[str, FieldRule]] = {
    "CreateExtension": {
        "SdkAppId": required("uint"),
        "ExtensionId": required("string"),
        "ExtensionName": required("string"),
        "SkillGroupIds": optional("list of uint"),
        "Relation": optional("string"),
    },
    "DescribeExtension": {"SdkAppId": required("uint"), "ExtensionId": required("string")},
    "DescribeExtensions": {
        "SdkAppId": required("uint"),
        "PageNumber": required("int"),
        "ExtensionIds": optional("list of string"),
        "PageSize": optional("int"),
        "FuzzingKeyWord": optional("string"),
        "IsNeedStatus": optional("boolean"),
    },
    "ModifyExtension": {
        "SdkAppId": required("uint"),
        "ExtensionId": required("string"),
        "ExtensionName": optional("string"),
        "SkillGroupIds": optional("list of uint"),
        "Relation": optional("string"),
    },
    "CreateOwnNumberApply": {
        "SdkAppId": required("uint"),
        "SipTrunkId": required("int"),
        "DetailList": required("list of object", inner=_DETAIL),
        "Prefix": optional("string"),
        "MobileNddPrefix": optional("string"),
        "LocalNumberTrimAC": optional("boolean"),
        "CalleeFormatPassthrough": optional("boolean", china_only=True),
        "CallerFormatPassthrough": optional("boolean", china_only=True),
        "InternationalNumberPrefix": optional("string", china_only=True),
    },
    "DescribeNumbers": {
        "SdkAppId": required("uint"),
        "PageNumber": optional("int"),
        "PageSize": optional("int"),
    },
    "BindNumberCallInInterface": {
        "SdkAppId": required("uint"),
        "Number": required("string"),
        "CallInInterface": optional("object", inner={"URL": required("string")}),
        "NumberType": optional("string"),
    },
}
