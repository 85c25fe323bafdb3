"""Register the environments with Gymnasium. Their dependencies are imported when one is made."""

import gymnasium

from spiking_wm.core.extras import missing_extra
from spiking_wm.envs.dm_control import TASKS
from spiking_wm.envs.minatar import GAMES, LONGEST_GAME

_LONGEST_ATARI_GAME = 18_000  # steps


def register() -> None:
    """Register all environments whose ids are known without importing other packages."""
    gymnasium.register("Rover-v0", "spiking_wm.envs.rover:Rover", max_episode_steps=1000)
    for name in ("PongRam", "PongPixels", "BoxingPixels"):
        gymnasium.register(f"{name}-v0", f"spiking_wm.envs.atari:{name}", max_episode_steps=100)
    for task in TASKS:
        entry = "spiking_wm.envs.dm_control:DMControl"
        gymnasium.register(f"dm_control/{task}-v0", entry, kwargs={"task": task})
        gymnasium.register(f"dm_control/{task}-pixels-v0", entry, kwargs={"task": task, "pixels": True})
    for game in GAMES:
        entry = "spiking_wm.envs.minatar:MinAtar"
        kwargs = {"game": game}
        gymnasium.register(f"minatar/{game}-v0", entry, max_episode_steps=LONGEST_GAME, kwargs=kwargs)


def register_for(env_id: str) -> None:
    """Register the games of the Atari console if ``env_id`` is one; ale_py lists their names.

    Raises:
        UserError: if the extra with ale_py is not installed.
    """
    if not env_id.startswith("atari/") or env_id in gymnasium.registry:
        return
    with missing_extra():
        from ale_py.registration import rom_id_to_name
        from ale_py.roms import get_all_rom_ids
    for game in map(rom_id_to_name, get_all_rom_ids()):
        for name, sticky in ((f"atari/{game}-v0", 0.0), (f"atari/{game}-sticky-v0", 0.25)):
            gymnasium.register(
                name,
                "spiking_wm.envs.atari_84:Atari84",
                max_episode_steps=_LONGEST_ATARI_GAME,
                kwargs={"game": game, "sticky": sticky},
            )
