"""Camera images of a node's simulation; without subscribers nothing is rendered."""

import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection

from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from spiking_wm.core.process import LOWEST
from spiking_wm.envs.camera import Camera
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.node import Node

_EVERY = 0.4  # seconds


class CameraPublisher:
    """Publishes JPEG images on ``camera/image_raw/compressed``; `camera_child` renders them.

    Args:
        node: the node; its executor takes snapshots of the simulation.
        camera: returns the camera to look through; called if there are subscribers.
    """

    def __init__(self, node: Node, camera: Callable[[], Camera]):
        self._node, self._camera = node, camera
        topic = "camera/image_raw/compressed"
        self._publisher = node.create_publisher(CompressedImage, topic, qos.OFFERED_SENSOR)
        self._child: subprocess.Popen | None = None
        self._ready, self._stamp = False, None  # of the child; of the image that is being rendered
        self._has_warned = False
        node.create_timer(_EVERY, self._look)

    def _look(self) -> None:
        if self._stamp or not self._publisher.get_subscription_count():
            return
        camera = self._camera()
        if (seen := camera.snap()) is None:
            if camera.failure and not self._has_warned:
                self._has_warned = True
                self._node.get_logger().warning(f"no camera images: {camera.failure}")
            return
        if self._child is None:
            self._start(camera)
        if not self._ready:
            return
        self._stamp = self._node.get_clock().now().to_msg()
        with suppress(OSError):  # the child has ended; `_receive` warns of that
            self._pipe.send(seen)

    def _start(self, camera: Camera) -> None:
        ours, theirs = socket.socketpair()
        module = "spiking_wm_ros.nodes.camera_child"
        command = [*LOWEST, sys.executable, "-m", module, str(theirs.fileno())]
        self._child = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self._pipe = Connection(ours.detach())
        threading.Thread(target=self._receive, args=(camera,), daemon=True).start()

    def _receive(self, camera: Camera) -> None:  # in a thread of its own
        try:
            self._pipe.send((camera.model, camera.name))  # blocks until the child has started
            self._ready = True
            while True:
                picture = self._pipe.recv_bytes()
                self._node.call_soon(partial(self._publish, picture))
        except (EOFError, OSError):
            if self._child:  # it was not ended by `close`
                self._node.get_logger().warning("no camera images: see the error above")

    def _publish(self, picture: bytes) -> None:
        if self._child is None:  # it arrived after `close`
            return
        header = Header(stamp=self._stamp, frame_id="camera")
        data = array("B", picture)  # with bytes, rclpy would check each value
        self._publisher.publish(CompressedImage(header=header, format="jpeg", data=data))
        self._stamp = None

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child:
            child.kill()
            child.wait()
            self._pipe.close()
