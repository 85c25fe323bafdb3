"""Boxing by the code of an auto-encoder that is trained once."""

import gymnasium as gym
import numpy as np

import spiking_wm.envs  # noqa: F401  registers the environments
from spiking_wm.envs import autoencoder
from spiking_wm.envs.autoencoder import CODE, AutoEncoder, auto_encoder


def squares(places: np.ndarray) -> np.ndarray:
    """Screens with a bright square at ``places [count, 2]``."""
    screens = np.full((len(places), 42, 32), 60, np.uint8)
    for screen, (y, x) in zip(screens, places):
        screen[y : y + 12, x : x + 12] = 220
    return screens


def test_what_is_coded_can_be_drawn_again_though_it_was_never_seen(monkeypatch):
    monkeypatch.setattr(autoencoder, "_EPOCHS", 40)
    places = np.argwhere(np.ones((30, 20)))
    unseen = places.sum(1) % 5 == 0
    coder = AutoEncoder(autoencoder.train("squares", squares(np.tile(places[~unseen], (4, 1)))))
    usual = np.full((42, 32), 60.0)
    assert np.array_equal(coder._usual, usual)
    errors = usual_errors = 0.0
    for screen in squares(places[unseen]):
        code = coder.encode(screen)
        assert code.shape == (CODE,)
        errors += np.square(coder.decode(code) - screen.astype(float)).mean()
        usual_errors += np.square(usual - screen).mean()
    assert errors < 0.25 * usual_errors


def test_it_is_trained_once_kept_and_mended_if_damaged(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(autoencoder, "_SCREENS", 60)
    monkeypatch.setattr(autoencoder, "_EPOCHS", 1)
    asked = []

    def screens(count: int) -> np.ndarray:
        asked.append(count)
        return squares(np.random.default_rng(0).integers(0, (30, 20), (count, 2)))

    screen = squares(np.array([[5, 5]]))[0]
    first = auto_encoder("squares", screens).encode(screen)
    assert np.array_equal(auto_encoder("squares", screens).encode(screen), first) and asked == [60]
    (kept,) = tmp_path.glob("*/*.safetensors")
    kept.write_bytes(kept.read_bytes()[:1000])
    assert np.array_equal(auto_encoder("squares", screens).encode(screen), first)  # by its seed
    assert asked == [60, 60]


def test_boxing_is_seen_by_its_code_and_plays_by_its_seed(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(autoencoder, "_SCREENS", 256)
    monkeypatch.setattr(autoencoder, "_EPOCHS", 2)
    env = gym.make("BoxingPixels-v0")

    def game(seed: int) -> tuple[np.ndarray, float]:
        observation, _ = env.reset(seed=seed)
        seen, total, over = [observation], 0.0, False
        while not over:
            observation, reward, _, over, _ = env.step(len(seen) % 18)
            assert env.observation_space.contains(observation)
            seen.append(observation)
            total += reward
        return np.stack(seen), total

    (one, points), (again, same), (other, _) = game(1), game(1), game(2)
    assert one.shape == (101, CODE) and env.unwrapped.environment_steps == 300
    assert np.array_equal(one, again) and points == same and not np.array_equal(one, other)
    assert (one.std(0) > 0).all()
    assert env.unwrapped.picture(observation=one[0]).shape == (210, 160, 3) == env.render().shape
    env.close()


def test_a_picture_of_pong_s_memory_shows_what_the_screen_does():
    env = gym.make("PongRam-v0")
    observation, _ = env.reset(seed=0)
    for _ in range(20):
        observation, *_ = env.step(2)
    screen, picture = env.render(), env.unwrapped.picture(observation)
    field = np.s_[34:194, 10:150]
    own = (picture[field] == (92, 186, 92)).all(-1)
    assert own.sum() > 10 and (screen[field][own] == (92, 186, 92)).all(-1).mean() > 0.8
