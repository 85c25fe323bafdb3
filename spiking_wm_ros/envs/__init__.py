"""Environments as the stack sees them. No ROS here."""

import gymnasium

from spiking_wm_ros.envs.dm_control import TASKS

gymnasium.register("Rover-v0", "spiking_wm_ros.envs.rover:Rover", max_episode_steps=1000)
gymnasium.register("PongRam-v0", "spiking_wm_ros.envs.atari:PongRam", max_episode_steps=100)
gymnasium.register("PongPixels-v0", "spiking_wm_ros.envs.atari:PongPixels", max_episode_steps=100)
gymnasium.register("BoxingPixels-v0", "spiking_wm_ros.envs.atari:BoxingPixels", max_episode_steps=100)
for task in TASKS:
    entry = "spiking_wm_ros.envs.dm_control:DMControl"
    gymnasium.register(f"dm_control/{task}-v0", entry, kwargs={"task": task})
    gymnasium.register(f"dm_control/{task}-pixels-v0", entry, kwargs={"task": task, "pixels": True})
