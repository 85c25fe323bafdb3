"""Train a spiking agent, let it dream on, and evaluate it, without ROS."""

import spiking_wm

run = spiking_wm.train("popsan_dream", "InvertedPendulum-v5", steps=2000, seed=0)
print(run.evaluations[-1])

spiking_wm.dream(run, rollouts=500)  # goes on in the world model alone, with no environment
print(spiking_wm.evaluate(run, episodes=5))

run.plot().savefig(run.path / "my_curve.png")
