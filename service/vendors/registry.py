"""The vendors Cordboard knows, by the name an account gives as `vendor:`."""

from __future__ import annotations

from collections.abc import Mapping

from service.vendors.descriptor import Vendor
from service.vendors.huawei_aicc.vendor import VENDOR as HUAWEI_AICC
from service.vendors.tencent_ccc.vendor import VENDOR as TENCENT_CCC

VENDORS: Mapping[str, Vendor] = {
    "tencent_ccc": TENCENT_CCC,
    "huawei_aicc": HUAWEI_AICC,
}
