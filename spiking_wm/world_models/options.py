"""Options of the ensemble of spiking world models, and of its dreams. Does not load torch."""

from dataclasses import dataclass

from spiking_wm.core.options import option


@dataclass(frozen=True)
class ModelOptions:
    """Sizes and training of the ensemble."""

    members: int = option(3, "world models in the ensemble", 2, 32, was="members")
    ticks: int = option(4, "time steps of the network per prediction", 1, 64)
    tuning_curves: int = option(8, "tuning curves per input value", 2, 64, was="tuning_curves")
    linear_input: bool = option(
        True, "input of each value itself, in addition to its tuning curves", was="linear_input"
    )
    hidden: int = option(128, "width of the model's input current", 1)
    blocks: int = option(1, "multi-scale blocks in a row", 1, 8, was="blocks")
    scales: int = option(3, "time scales per block", 1, 16, was="scales")
    neurons_per_scale: int = option(48, "neurons per time scale", 1, was="neurons_per_scale")
    readout: tuple[int, ...] = option((256,), "units of the read-out layers", 1, was="readout")
    population_readout: float = option(
        0.0, "weight of the population read-out of state change", 0, 1, was="population_readout"
    )
    batch: int = option(256, "transitions per member in one model update", 2, 65536)
    lr: float = option(1e-3, "learning rate of the world model", 0, 1)
    weight_decay: float = option(1e-5, "L2 penalty of the world model", 0, 1)
    scale_targets: bool = option(
        True, "scale each target of the model by its standard deviation", was="scale_targets"
    )


@dataclass(frozen=True)
class DreamOptions:
    """Imagined rollouts, and the filter that accepts them for training."""

    horizon: int = option(3, "steps of an imagined rollout", 1, 1000, was="horizon")
    threshold: float = option(
        0.5, "largest accepted uncertainty at the first step", 0, was="uncertainty_threshold"
    )
    threshold_decay: float = option(
        0.85, "factor on the threshold per further step", 0, 1, was="threshold_decay"
    )
    acceptance_low: float = option(
        0.5, "below this accepted share the threshold rises 5 %", 0, 1, was="acceptance_low"
    )
    acceptance_high: float = option(
        0.95, "above this accepted share the threshold falls 5 %", 0, 1, was="acceptance_high"
    )
    calibrate: bool = option(True, "scale uncertainty to the held-out squared error", was="calibrate")
    multi_step: bool = option(
        True, "imagined rewards and values extend to the end of their rollout", was="multi_step"
    )
    pessimism: float = option(
        0.1, "reward penalty per unit of uncertainty, in standard deviations of rewards", 0, was="pessimism"
    )
