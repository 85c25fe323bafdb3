"""Pictures of a node's simulation for those who look; where nobody does, nothing is drawn."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import gymnasium as gym
from builtin_interfaces.msg import Time
from PIL import Image
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from spiking_wm_ros.envs.camera import Camera, Draw
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.node import Node
from spiking_wm_ros.process import give_way

_EVERY = 0.2  # seconds
_QUALITY = 80  # of JPEG, percent


class CameraPublisher:
    """Publishes JPEG pictures on ``camera/image_raw/compressed``.

    Args:
        node: whose; its executor takes snapshots, a thread of this draws them.
        env: gives what is to be looked at now.
    """

    def __init__(self, node: Node, env: Callable[[], gym.Env]):
        self._node, self._env = node, env
        self._cameras: dict[int, Camera] = {}  # by the identity of what they look at
        topic = "camera/image_raw/compressed"
        self._publisher = node.create_publisher(CompressedImage, topic, qos.OFFERED_SENSOR)
        self._drawing = ThreadPoolExecutor(1, initializer=give_way)
        self._busy = False
        node.create_timer(_EVERY, self._look)

    def _look(self) -> None:
        if self._busy or not self._publisher.get_subscription_count():
            return
        env = self._env()
        if id(env) not in self._cameras:
            self._cameras[id(env)] = Camera(env)
        if draw := self._cameras[id(env)].snap():
            self._busy = True
            self._drawing.submit(self._draw, draw, self._node.get_clock().now().to_msg())

    def _draw(self, draw: Draw, stamp: Time) -> None:  # in the thread
        try:
            file = BytesIO()
            Image.fromarray(draw()).save(file, "JPEG", quality=_QUALITY)
            header = Header(stamp=stamp, frame_id="camera")
            message = CompressedImage(header=header, format="jpeg", data=file.getvalue())
            self._node.call_soon(lambda: self._publisher.publish(message))
        except Exception as error:  # a machine that cannot draw can still learn
            self._node.get_logger().warning(f"no pictures of the simulation: {error}", once=True)
        finally:
            self._busy = False

    def close(self) -> None:
        """End the thread."""
        for camera in self._cameras.values():
            self._drawing.submit(camera.close)
        self._drawing.shutdown()
