"""Operations of a decision, against counts by hand."""

import pytest
import torch

from spiking_wm.agents.dqn.conversion import convert
from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.operations import count
from spiking_wm.agents.dqn.options import NetworkOptions
from spiking_wm.chips.energy import PER_ADDITION, PER_PRODUCT

SIZES = NetworkOptions(channels=(3, 5), kernels=(3, 2), strides=(2, 1), hidden=7, ticks=6)
FIRST, LAST = (
    4 * 4 * 3 * (3 * 3 * 2),
    7 * 4,
)  # products of the first layer (4 x 4 places), and of the read-out


def pictures() -> torch.Tensor:
    return torch.randint(1, 256, (3, 9, 9, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def additions(spikes: list[torch.Tensor], at: int) -> int:
    """Weights that spikes of one decision add: each spike one for every unit that it reaches."""
    first, second = (layer[:, at] for layer in spikes[:2])
    total = int(second.sum()) * 7
    for _, y, x, _ in first.nonzero().tolist():
        rows, columns = (len({max(place - 1, 0), min(place, 2)}) for place in (y, x))
        total += rows * columns * 5
    return total


@pytest.mark.parametrize("converted", [False, True])
def test_synaptic_operations_are_spikes_times_what_they_reach(converted):
    torch.manual_seed(0)
    network = QNetwork((9, 9, 2), 4, SIZES)
    if converted:
        dense = QNetwork((9, 9, 2), 4, SIZES, spiking=False)
        network = convert(dense, pictures(), 99.9, 6)
    spikes, found = network.activity(pictures()).spikes, count(network, pictures())
    assert found.synaptic_operations == sum(additions(spikes, k) for k in range(3)) / 3 > 0
    assert found.products == FIRST + LAST
    assert found.rates == tuple(float(layer.mean()) for layer in spikes)
    expected = found.synaptic_operations * PER_ADDITION + found.products * PER_PRODUCT
    assert found.energy == pytest.approx(expected / 1000)


def test_without_spikes_all_are_products():
    torch.manual_seed(0)
    found = count(QNetwork((9, 9, 2), 4, SIZES, spiking=False), pictures())
    assert found.synaptic_operations == 0 and found.rates == ()
    assert found.products == FIRST + 3 * 3 * 5 * (2 * 2 * 3) + 45 * 7 + LAST
