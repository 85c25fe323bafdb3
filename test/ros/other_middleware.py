"""The recorder on a middleware that is not Fast DDS, as far as rclpy shows it; `test_middleware` runs it.

It stamps messages with one of `STAMPS`, and has no events.
"""

import sys
import time

from rclpy.event_handler import UnsupportedEventTypeError
from rclpy.impl.implementation_singleton import rclpy_implementation

from spiking_wm_ros.nodes import recorder

STAMPS = {
    "at the take": time.time_ns,  # CycloneDDS
    "none": lambda: 0,
    "ahead": lambda: time.time_ns() + 3600 * 10**9,  # the clock was set back after they arrived
}


def has_no_events(*_) -> None:
    raise UnsupportedEventTypeError("not supported")


def main() -> None:
    stamp = STAMPS[sys.argv.pop(1)]
    take = rclpy_implementation.Subscription.take_message

    def take_and_stamp(*arguments):
        if found := take(*arguments):
            found[1]["received_timestamp"] = stamp()
        return found

    rclpy_implementation.Subscription.take_message = take_and_stamp
    rclpy_implementation.EventHandle = has_no_events
    recorder.main()


if __name__ == "__main__":
    main()
