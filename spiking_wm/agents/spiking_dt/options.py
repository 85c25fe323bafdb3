"""Options of decision transformers, spiking and not."""

from dataclasses import dataclass

from spiking_wm.core.options import option
from spiking_wm.neurons.sizes import TransformerSizes


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of the spiking decision transformer and of its control; see `config/algorithms`."""

    spiking: bool = option(True, "spiking neurons; false: softmax attention and GELU units of the same sizes")
    # what is learned from, and asked for
    dataset: str = option("", "Minari data set of demonstrations, as CartPole-v1/mixed-v0; empty: none")
    target_return: float = option(
        float("inf"),
        "return of an episode that is asked for; inf: at any time the most that demonstrations have shown to"
        " come (without any: 0)",
    )
    return_scale: float = option(1.0, "return that a token of 1 stands for", 1e-6, 1e9)
    # network
    ticks: int = option(4, "spike steps within one decision", 1, 64)
    width: int = option(64, "neurons of a token", 4, 4096)
    hidden: int = option(128, "neurons of the layers between", 1, 65536)
    heads: int = option(4, "heads of attention", 1, 64)
    layers: int = option(2, "blocks of attention", 1, 48)
    context: int = option(20, "steps that a decision goes by", 1, 1000)
    phase_code: bool = option(True, "order by phases of oscillations, where neurons spike")
    step_embeddings: bool = option(False, "tokens tell the step of the episode, by learned embeddings")
    routing: bool = option(True, "every head passes as much as all heads' activity lets it")
    local_head: float = option(0.0, "rate of the action head's three-factor plasticity; 0: none", 0, 10)
    see_actions: bool = option(
        True, "see past actions; false: their tokens are empty, so that they are not copied on and on"
    )
    # learning from demonstrations
    imitation_updates: int = option(3000, "updates by demonstrations, before the first step", 0)
    unsettled: int = option(
        0, "last steps of cut episodes that are not learned from: what came of them is not known", 0
    )
    batch: int = option(64, "stretches of `context` steps in one update", 1, 65536)
    lr: float = option(1e-3, "highest learning rate", 0, 1)
    weight_decay: float = option(1e-4, "of AdamW", 0, 1)
    warmup: int = option(500, "updates in which it rises; then it falls as 1 / sqrt(updates)", 1)
    clip: float = option(20.0, "largest norm of the gradient", 0)
    average_rate: float = option(0.004, "share of the weights that their average, which acts, takes", 1e-6, 1)
    replay: int = option(100_000, "steps remembered besides demonstrations", 1000)
    # learning on line, and in dreams, by policy gradient
    rollout: int = option(1000, "steps of experience that an update on line learns from", 2)
    online_lr: float = option(3e-4, "learning rate on line and in dreams", 0, 1)
    online_batch: int = option(16, "stretches in one update by them", 1, 65536)
    epochs: int = option(4, "times that they are learned from", 1, 100)
    discount: float = option(0.99, "discount factor per step", 0, 1)
    trace_decay: float = option(0.95, "decay of longer returns (lambda)", 0, 1)
    ratio_clip: float = option(0.2, "largest change of a probability in one update, as a share", 0, 1)
    entropy: float = option(0.001, "weight of the policy's entropy", 0, 100)
    deviation: float = option(0.3, "of continuous actions to begin with, in half ranges", 1e-3, 2)
    # dreams
    world_model: bool = option(False, "learn an ensemble of spiking world models (false: no dreams)")
    model_every: int = option(1, "updates from demonstrations per update of the models", 1, 10_000)
    model_updates: int = option(50, "updates of the models with every update on line", 0, 10_000)
    horizon: int = option(10, "steps of an imagined rollout", 1, 1000)
    dream_batch: int = option(64, "rollouts imagined at once", 1, 65536)

    def sizes(self) -> TransformerSizes:
        """Sizes of the network."""
        return TransformerSizes(
            spiking=self.spiking,
            ticks=self.ticks,
            width=self.width,
            hidden=self.hidden,
            heads=self.heads,
            layers=self.layers,
            context=self.context,
            phase_code=self.phase_code and self.spiking,
            step_embeddings=self.step_embeddings,
            routing=self.routing and self.spiking,
        )
