"""Environments as the stack sees them. No ROS here."""

import gymnasium
from ale_py.registration import rom_id_to_name
from ale_py.roms import get_all_rom_ids

from spiking_wm.envs.dm_control import TASKS
from spiking_wm.envs.minatar import GAMES, LONGEST_GAME

gymnasium.register("Rover-v0", "spiking_wm.envs.rover:Rover", max_episode_steps=1000)
gymnasium.register("PongRam-v0", "spiking_wm.envs.atari:PongRam", max_episode_steps=100)
gymnasium.register("PongPixels-v0", "spiking_wm.envs.atari:PongPixels", max_episode_steps=100)
gymnasium.register("BoxingPixels-v0", "spiking_wm.envs.atari:BoxingPixels", max_episode_steps=100)
for task in TASKS:
    entry = "spiking_wm.envs.dm_control:DMControl"
    gymnasium.register(f"dm_control/{task}-v0", entry, kwargs={"task": task})
    gymnasium.register(f"dm_control/{task}-pixels-v0", entry, kwargs={"task": task, "pixels": True})
for game in GAMES:
    entry = "spiking_wm.envs.minatar:MinAtar"
    gymnasium.register(f"minatar/{game}-v0", entry, max_episode_steps=LONGEST_GAME, kwargs={"game": game})
for game in map(rom_id_to_name, get_all_rom_ids()):
    entry = "spiking_wm.envs.atari_84:Atari84"
    for name, sticky in ((f"atari/{game}-v0", 0.0), (f"atari/{game}-sticky-v0", 0.25)):
        gymnasium.register(name, entry, max_episode_steps=18_000, kwargs={"game": game, "sticky": sticky})
