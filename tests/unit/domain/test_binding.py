import pytest

from service.domain.binding import Binding, BindingState
from tests.builders import make_binding


@pytest.mark.parametrize(
    ("state", "held"), [(BindingState.RESERVED, True), (BindingState.LIVE, True), (BindingState.RELEASED, False)]
)
def test_binding_holds_its_resource_until_released(state: BindingState, held: bool) -> None:
    assert make_binding(state=state).held is held


@pytest.mark.parametrize(
    ("binding", "ours"),
    [
        (make_binding(), False),
        (make_binding(applied={"extension": "1001"}), True),
        (make_binding(create_sent=True), True),
        (make_binding(applied={}), True),
    ],
)
def test_reservation_alone_is_no_ownership(binding: Binding, ours: bool) -> None:
    assert binding.ours is ours
