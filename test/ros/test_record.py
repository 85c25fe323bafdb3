"""What nodes say to each other, recorded."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rclpy.serialization import deserialize_message, serialize_message
from spiking_wm_msgs.msg import Transition as TransitionMessage
from std_msgs.msg import Bool, String

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.storage import load_facts
from spiking_wm.envs.make import make_env
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train_offline
from spiking_wm.runs.learning_run import LearningRun
from spiking_wm.training.session import Session
from spiking_wm_ros.graph.parts import NodeSpec, ResolvedGraph
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.bag import Bag, definition, message_class, messages, transitions
from spiking_wm_ros.nodes.messages import TRANSITION, stamped, to_transition
from test.conftest import ENV
from test.ros.graph import client, run_to_end, send

ROOT = Path(__file__).resolve().parents[2]
KIND = "std_msgs/msg/String"


def said(number: int) -> bytes:
    return serialize_message(String(data=f"{number:06d} " + "x" * 93))


def numbers(folder: Path) -> list[int]:
    return [int(deserialize_message(m.data, String).data[:6]) for m in messages(folder)]


def test_what_is_written_is_read_in_order_from_files_split_by_size(tmp_path):
    bag = Bag(tmp_path / "bag", 20_000, 1e6)
    for k in range(2000):
        bag.write("/told" if k % 2 else "/said", KIND, said(k), 1000 + k)
        bag.flush()
    bag.close()
    bag.close()
    files = sorted((tmp_path / "bag").iterdir())
    assert [file.name for file in files] == [f"bag_{k:04d}.mcap" for k in range(len(files))] and len(
        files
    ) > 5
    assert all(file.stat().st_size < 60_000 for file in files)
    found = list(messages(tmp_path / "bag"))
    assert numbers(tmp_path / "bag") == [*range(2000)]
    assert [m.time for m in found] == [*range(1000, 3000)]
    assert [m.topic for m in found[:2]] == ["/said", "/told"] and found[0].kind == KIND
    figures = bag.figures()
    assert figures["messages"] == 2000 and figures["files"] == len(files)
    assert figures["bytes"] == sum(file.stat().st_size for file in files)
    with pytest.raises(UserError, match="choose another folder"):
        Bag(tmp_path / "bag", 1, 1)


def test_files_are_split_by_time(tmp_path):
    bag = Bag(tmp_path, 1e9, 0.05)
    for k in range(4):
        bag.write("/said", KIND, said(k), k)
        time.sleep(0.06)
    bag.close()
    assert len(list(tmp_path.iterdir())) == 4 and numbers(tmp_path) == [0, 1, 2, 3]


def test_what_was_flushed_outlives_a_crash_and_damage_is_noticed(tmp_path):
    bag = Bag(tmp_path, 1e9, 1e9)
    for k in range(1000):
        bag.write("/said", KIND, said(k), k)
        if k % 10 == 9:
            bag.flush()
    file = tmp_path / "bag_0000.mcap"
    whole = file.read_bytes()  # as it is now: the recorder is still at it
    assert numbers(tmp_path) == [*range(1000)]
    file.write_bytes(whole[:-250])  # the last chunk did not get there whole
    assert numbers(tmp_path) == [*range(990)]
    file.write_bytes(whole[:300] + bytes(b ^ 255 for b in whole[300:308]) + whole[308:])  # in the first chunk
    with pytest.raises(UserError, match="is damaged"):
        numbers(tmp_path)
    for folder in (tmp_path / "none", tmp_path.parent / "empty"):
        with pytest.raises(UserError, match=r"holds no \.mcap files"):
            next(messages(folder))


@pytest.mark.parametrize("kind", ["spiking_wm_msgs/msg/Transition", "diagnostic_msgs/msg/DiagnosticArray"])
def test_definitions_hold_all_that_a_message_is_made_of(kind):
    parts = definition(kind).split("=" * 80 + "\n")
    named = {part.split("\n")[0] for part in parts[1:]}
    assert {"MSG: std_msgs/Header", "MSG: builtin_interfaces/Time"} <= named
    own = "MSG: spiking_wm_msgs/Array" if "spiking" in kind else "MSG: diagnostic_msgs/KeyValue"
    assert own in named and len(named) == len(parts) - 1
    assert message_class(kind).__name__ == kind.rpartition("/")[2]


def test_a_run_is_recorded_whole(tmp_path, tiny):
    run_to_end("train", tiny | {"run": tmp_path / "run", "record": "true"})
    (folder,) = (tmp_path / "run/bags").iterdir()
    found = list(messages(folder))
    by_topic = {}
    for message in found:
        by_topic.setdefault(message.topic, []).append(message)
    assert {"/observation", "/action", "/transition", "/policy_version", "/spaces", "/clock"} <= set(by_topic)
    transitions = [deserialize_message(m.data, TransitionMessage) for m in by_topic["/transition"]]
    steps = [t.step for t in transitions if not t.evaluation]
    assert steps == [*range(steps[0], 120)] and steps[0] <= 1
    (spaces,) = (deserialize_message(m.data, String) for m in by_topic["/spaces"])
    assert "observation" in json.loads(spaces.data)
    times = [m.time for m in found]
    assert times == sorted(times)
    (file,) = folder.iterdir()
    with file.open("rb") as stream:  # others read it too, and understand it
        decoded = [
            message
            for _, channel, _, message in make_reader(
                stream, decoder_factories=[DecoderFactory()]
            ).iter_decoded_messages(topics=["/transition"])
        ]
    assert len(decoded) == len(transitions)
    for mine, theirs in zip(transitions, decoded):
        assert (mine.step, mine.reward, mine.terminated) == (theirs.step, theirs.reward, theirs.terminated)
        assert list(mine.observation.values) == list(theirs.observation.values)


def test_while_the_disk_is_full_messages_are_kept_and_then_written(tmp_path):
    bag, limits = Bag(tmp_path / "bag", 1e9, 1e9), resource.getrlimit(resource.RLIMIT_FSIZE)
    said = [os.urandom(512).hex() for _ in range(60)]

    def say(words) -> None:
        for k, word in words:
            bag.write("/said", "std_msgs/msg/String", serialize_message(String(data=word)), k)

    say(enumerate(said[:20]))
    assert bag.flush()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        for k, word in enumerate(said[20:50], 20):
            say([(k, word)])
            assert not bag.flush()
        assert bag.reason == "File too large"
        before = [deserialize_message(m.data, String).data for m in messages(tmp_path / "bag")]
        assert before == said[:20]  # what was flushed can be read
        with pytest.raises(UserError, match="the last 30 messages are not recorded in .* .File too large"):
            bag.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert bag.flush() and not bag.reason
    say(enumerate(said[50:], 50))
    bag.close()
    assert [deserialize_message(m.data, String).data for m in messages(tmp_path / "bag")] == said
    assert bag.figures()["messages"] == 60 and bag.lost == 0


def test_a_file_that_nothing_reached_is_an_empty_one(tmp_path):
    bag = Bag(tmp_path, 1e9, 1e9)
    bag.write("/said", "std_msgs/msg/String", serialize_message(String(data="all")), 1)
    bag.close()
    (tmp_path / "bag_0001.mcap").touch()  # killed right after a split
    assert [deserialize_message(m.data, String).data for m in messages(tmp_path)] == ["all"]


def recording(folder: Path) -> Processes:
    return Processes(ResolvedGraph([NodeSpec("recorder", {"folder": str(folder)})], folder))


def test_a_killed_recorder_loses_next_to_nothing(tmp_path):
    with client() as made, recording(tmp_path / "bag") as processes:
        publisher = made.node.create_publisher(String, "said", qos.EVERY)
        hidden = made.node.create_publisher(String, "act/_action/feedback", qos.EVERY)
        made.until(lambda: publisher.get_subscription_count())
        sent, end = 0, time.monotonic() + 5
        while time.monotonic() < end:
            publisher.publish(String(data=f"{sent:06d} "))
            hidden.publish(String())
            sent += 1
            time.sleep(0.005)
        send(processes, "recorder", signal.SIGKILL)
        recorded = list(messages(tmp_path / "bag"))
        assert not any("/_" in m.topic for m in recorded)
        told = [m for m in recorded if m.topic == "/said"]
        assert len({m.time for m in told}) == len(told)  # each by when it came, not when it was written
        found = [int(deserialize_message(m.data, String).data) for m in told]
        assert found == [*range(found[0], found[0] + len(found))]  # none is missing in between
        assert sent - found[-1] < 100 and len(found) > 0.8 * sent  # half a second, on a crowded machine


def test_messages_that_are_lost_are_counted(tmp_path):
    with client() as made, recording(tmp_path / "bag") as processes:
        publisher = made.node.create_publisher(Bool, "said", qos.SENSOR)
        heard = made.listen(DiagnosticArray, "/diagnostics", 10)
        made.until(lambda: publisher.get_subscription_count())

        def lost() -> int:
            statuses = [s for message in heard for s in message.status if s.name == "recorder"]
            return max((int(v.value) for s in statuses for v in s.values if v.key == "lost"), default=0)

        def recorded() -> bool:
            return any(message.topic == "/said" for message in messages(tmp_path / "bag"))

        # Fast DDS counts from the first message that a reader has heard; what is lost before goes unnoticed
        made.until(lambda: publisher.publish(Bool()) or recorded())
        send(processes, "recorder", signal.SIGSTOP)
        for _ in range(20_000):
            publisher.publish(Bool())
        send(processes, "recorder", signal.SIGCONT)
        made.until(lambda: publisher.publish(Bool()) or lost() > 0)
        made.until(lambda: any("messages lost" in s.message for m in heard for s in m.status))


def test_every_graph_can_be_recorded(tmp_path):
    given = {"run": str(tmp_path / "r"), "record": "true"}
    recorder, *_ = resolve_graph("train", given).nodes
    assert recorder.executable == "recorder" and not recorder.vital
    assert Path(recorder.parameters["folder"]).is_relative_to(tmp_path / "r/bags")
    assert "recorder" not in [n.executable for n in resolve_graph("train", given | {"record": "false"}).nodes]


# --- learning from recordings ---


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[Path, list[Transition]]:
    """A bag of 150 random steps, an evaluation's among them, and the same transitions."""
    folder, session = tmp_path_factory.mktemp("bags") / "bag", Session(ENV, 0, 10**6)
    bag, rng, made = Bag(folder, 1e9, 1e9), np.random.default_rng(0), []
    for k in range(150):
        (pending,) = session.pending()
        made += session.apply([rng.uniform(-3, 3, 1).astype(np.float32)], 1)
        for transition in [made[-1]] + [made[-1]._replace(evaluation=True)] * (k == 70):
            data = TRANSITION.pack(to_transition(transition, stamped(pending.step / 50)))
            bag.write("/transition", "spiking_wm_msgs/msg/Transition", data, k)
    bag.close()
    return folder, made


def test_learning_from_recordings_is_learning_from_what_happened(recorded, tmp_path, tiny):
    folder, made = recorded
    settled = resolve("popsan_dream", ENV, tiny | {"steps": 150, "evaluate_every": 0, "checkpoint_every": 0})
    offline = train_offline(
        Run.create(tmp_path / "offline", settled, ENV), lambda spaces: transitions(folder, spaces)
    )
    live = LearningRun(Run.create(tmp_path / "live", settled, ENV), offline.agent.spaces)
    while live.learner.work():
        pass
    for transition in made:
        live.learner.observe(transition)
        while live.learner.work():
            pass
    live.close()
    one, other = live.learner.agent.snapshot(), offline.agent.snapshot()
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert offline.step == 150 and offline.dreams == live.learner.dreams > 0
    (judged,) = Run(tmp_path / "offline").table("evaluations")
    assert int(judged["step"]) == 150 and len(judged["returns"].split()) == 2


def test_bags_of_something_else_are_refused(recorded, tmp_path):
    folder, _ = recorded
    with pytest.raises(UserError, match="another env"):
        next(transitions(folder, Spaces.of(make_env("Pendulum-v1"))))
    bag = Bag(tmp_path / "talk", 1e9, 1e9)
    bag.write("/said", KIND, said(0), 0)
    bag.close()
    with pytest.raises(UserError, match="no transitions"):
        next(transitions(tmp_path / "talk", Spaces.of(make_env(ENV))))
    command = [sys.executable, "-m", "spiking_wm_ros.cli", "train", f"bag:={tmp_path}"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 2 and "holds no .mcap files" in told.stderr


def test_a_dreamer_learns_from_a_bag_before_it_dreams(recorded, tmp_path, tiny):
    folder, _ = recorded
    settled = resolve("popsan_dream", ENV, tiny)
    train_offline(Run.create(tmp_path / "run", settled, ENV), lambda spaces: transitions(folder, spaces))

    def counters() -> dict:
        return load_facts(Run(tmp_path / "run").newest() / "agent.safetensors")["learner"]

    counts = [counters()]
    run_to_end("dream", {"checkpoint": tmp_path / "run", "bag": folder, "rollouts": 48})
    counts.append(counters())
    assert counts[1]["step"] == counts[0]["step"] + 150
    assert counts[1]["dreams"] > counts[0]["dreams"] and counts[1]["updates"] > counts[0]["updates"]
    *scheduled, asked = Run(tmp_path / "run").table("dreams")  # as with what comes, some on the way
    assert len(scheduled) > 2 and asked["rollouts"] == "48"
