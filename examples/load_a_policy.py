"""Load a trained policy and act with it, step by step; look at the spikes behind a decision.

Give a run folder: ``python examples/load_a_policy.py runs/NAME``. Without one a short run is trained first.
"""

import sys

import spiking_wm
from spiking_wm.neurons import probe

ENV = "InvertedPendulum-v5"


def main() -> None:
    """Play an episode, then count the spikes of one decision."""
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    run = folder or spiking_wm.train("popsan", ENV, steps=1000, evaluation={"every": 0})
    policy = spiking_wm.load_policy(run)

    env = spiking_wm.make(policy.env)
    observation, _ = env.reset(seed=0)
    policy.reset()
    total, done = 0.0, False
    while not done:
        observation, reward, terminated, truncated, _ = env.step(policy.act(observation))
        policy.rewarded(float(reward))
        total, done = total + float(reward), terminated or truncated
    print(f"return {total:.0f}")

    with probe.listen() as trains:
        policy.act(env.reset(seed=1)[0])
    for layer, train in enumerate(trains):
        steps, neurons = train.shape
        print(f"layer {layer}: {neurons} neurons, {train.sum()} spikes in {steps} time steps")


if __name__ == "__main__":
    main()
