"""Options of decision transformers with and without spikes. Does not load torch."""

from dataclasses import dataclass

from spiking_wm.core.options import group, option


@dataclass(frozen=True)
class NetworkOptions:
    """Sizes and parts of the transformer."""

    ticks: int = option(4, "time steps of the neurons within one decision", 1, 64, was="ticks")
    width: int = option(64, "width of a token", 4, 4096, was="width")
    hidden: int = option(128, "neurons of the feed-forward layer of a block", 1, 65536, was="hidden")
    heads: int = option(4, "attention heads", 1, 64, was="heads")
    layers: int = option(2, "transformer blocks", 1, 48, was="layers")
    context: int = option(20, "environment steps that a decision attends to", 1, 1000, was="context")
    phase_code: bool = option(
        True, "code the order by phases of oscillations (spiking networks only)", was="phase_code"
    )
    step_embeddings: bool = option(
        False, "add a learned embedding of the step in the episode to tokens", was="step_embeddings"
    )
    routing: bool = option(
        True, "gate every head by the activity of all heads (spiking networks only)", was="routing"
    )
    see_actions: bool = option(
        True,
        "input of past actions; false: empty tokens, so that the policy does not copy them",
        was="see_actions",
    )
    deviation: float = option(
        0.3, "initial standard deviation of continuous actions, in half ranges", 1e-3, 2, was="deviation"
    )


@dataclass(frozen=True)
class ImitationOptions:
    """Learning from demonstrations, before the first step."""

    updates: int = option(3000, "updates from demonstrations, before the first step", 0)
    truncation_tail: int = option(
        0, "last steps of truncated episodes to exclude: their return is unknown", 0, was="unsettled"
    )
    batch: int = option(64, "segments of `network.context` steps in one update", 1, 65536, was="batch")
    lr: float = option(1e-3, "highest learning rate", 0, 1, was="lr")
    warmup: int = option(
        500, "updates in which the learning rate rises; then it falls as 1 / sqrt(updates)", 1, was="warmup"
    )
    average_rate: float = option(
        0.004,
        "rate of the running average of weights, per update; the average acts",
        1e-6,
        1,
        was="average_rate",
    )
    local_head: float = option(
        0.0, "learning rate of the action head's three-factor plasticity; 0: none", 0, 10, was="local_head"
    )


@dataclass(frozen=True)
class OnlineOptions:
    """Learning online and in dreams, by PPO."""

    rollout: int = option(1000, "environment steps between online updates", 2, was="rollout")
    lr: float = option(3e-4, "learning rate online and in dreams", 0, 1)
    batch: int = option(16, "segments in one update", 1, 65536)
    epochs: int = option(4, "passes over the segments", 1, 100, was="epochs")
    trace_decay: float = option(0.95, "decay of longer returns (lambda of GAE)", 0, 1, was="trace_decay")
    ratio_clip: float = option(
        0.2, "clip of the probability ratio, around 1 (epsilon of PPO)", 0, 1, was="ratio_clip"
    )
    entropy: float = option(0.001, "weight of the policy's entropy", 0, 100, was="entropy")


@dataclass(frozen=True)
class OptimiserOptions:
    """AdamW, for demonstrations and online learning."""

    weight_decay: float = option(1e-4, "weight decay of AdamW", 0, 1, was="weight_decay")
    clip: float = option(20.0, "largest norm of the gradient", 0, was="clip")


@dataclass(frozen=True)
class ReplayOptions:
    """Replay memory."""

    size: int = option(100_000, "steps stored in addition to demonstrations", 1000, was="replay")


@dataclass(frozen=True)
class ModelOptions:
    """How often the ensemble of spiking world models learns."""

    every: int = option(1, "updates from demonstrations per update of the world models", 1, 10_000)
    updates: int = option(50, "updates of the world models per online update", 0, 10_000)


@dataclass(frozen=True)
class DreamOptions:
    """Imagined rollouts."""

    horizon: int = option(10, "steps of an imagined rollout", 1, 1000, was="horizon")
    batch: int = option(64, "rollouts imagined in parallel", 1, 65536)


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of the decision transformer, with spikes or without (control)."""

    spiking: bool = option(True, "spiking neurons; false: softmax attention and GELU units of the same sizes")
    dataset: str = option("", "Minari data set of demonstrations, as CartPole-v1/mixed-v0; empty: none")
    target_return: float = option(
        float("inf"),
        "return-to-go at the start of an episode; inf: the highest one in the demonstrations (0 without any)",
    )
    return_scale: float = option(1.0, "return-to-go that is scaled to 1", 1e-6, 1e9)
    discount: float = option(0.99, "discount factor per step, online and in dreams", 0, 1)
    world_model: bool = option(False, "learn an ensemble of spiking world models (false: no dreams)")
    network: NetworkOptions = group(NetworkOptions())
    imitation: ImitationOptions = group(ImitationOptions())
    online: OnlineOptions = group(OnlineOptions())
    optimiser: OptimiserOptions = group(OptimiserOptions())
    replay: ReplayOptions = group(ReplayOptions())
    model: ModelOptions = group(ModelOptions())
    dream: DreamOptions = group(DreamOptions())
