"""Base class of ROS 2 managed (lifecycle) nodes, which are activated in order and can be stopped."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn

from spiking_wm_ros.nodes.node import Node

_ENTITIES = ("publisher", "subscription", "timer", "service", "client")


class ManagedNode(LifecycleNodeMixin, Node):
    """A node with the states of a ROS 2 lifecycle; `manager` configures and activates it.

    A subclass declares its parameters in its constructor. `configure` creates everything else: a cleanup
    destroys the publishers, subscriptions, timers, services and clients that it has made, and `release` frees
    what ROS does not destroy. Both may be called again. State that must survive a cleanup (the learner, the
    episode) is freed in `close`. Callbacks that move a robot or learn must check `active`, or the subclass
    overrides `activate` and `deactivate`. An exception in any of these methods ends the node.
    """

    def __init__(self, name: str):
        self.active = False
        self._configured = self._configuring = False
        self._configurations = 0
        self._made: list[tuple[str, Any]] = []  # kinds and entities, of the last `configure`
        Node.__init__(self, name)  # may subscribe, see there
        LifecycleNodeMixin.__init__(self)
        service = next(s for s in self.services if s.srv_type is ChangeState)
        self._change_state, service.callback = service.callback, self._on_change_state

    def configure(self) -> None:
        """Create publishers, subscriptions, timers, and what they need."""

    def activate(self) -> None:
        """Start acting; `active` is already true."""

    def deactivate(self) -> None:
        """Stop acting; `active` is already false."""

    def release(self) -> None:
        """Free what `configure` made, except publishers, subscriptions, timers, services and clients."""

    def hearing(self, callback: Callable) -> Callable:
        """Wrap a callback so that it does nothing after a cleanup, if `configure` makes its entity.

        The executor may still have a message for a subscription that is destroyed before the callback runs.
        """
        kept, made_in = self.keeping(callback), self._configurations if self._configuring else 0

        @wraps(callback)
        def call(*args) -> None:
            if not made_in or (self._configured and self._configurations == made_in):
                kept(*args)

        return call

    def end(self) -> None:
        """Stop acting and free everything."""
        self._stop_and_release()
        self.close()

    def _stop_and_release(self) -> None:
        if self.active:
            self.active = False
            self.deactivate()
        if self._configured:
            self._configured = False
            self.release()

    # --- transitions ---

    def _on_change_state(self, request: ChangeState.Request, response: ChangeState.Response):
        """Refuse a transition that is invalid in the current state (rclpy would raise an exception)."""
        try:
            return self._change_state(request, response)
        except Exception as error:
            self.get_logger().warning(f"no such transition now: {error}")
            response.success = False
            return response

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unconfigured to inactive."""
        before = self._entities()
        self._configurations += 1
        self._configuring = True
        outcome = self._try(self.configure)
        self._configuring = False
        self._made = [made for made in self._entities() if made not in before]
        self._configured = outcome == TransitionCallbackReturn.SUCCESS
        return outcome

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Inactive to active."""
        self.active = True
        return self._try(self.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Active to inactive."""
        self.active = False
        return self._try(self.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Inactive to unconfigured."""
        return self._try(self._clean_up)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Any state to finalized."""
        return self._try(self._clean_up)

    def _clean_up(self) -> None:
        self._stop_and_release()
        for kind, entity in self._made:
            getattr(self, f"destroy_{kind}")(entity)
        self._made = []

    def _entities(self) -> list[tuple[str, Any]]:
        return [(kind, entity) for kind in _ENTITIES for entity in getattr(self, f"{kind}s")]

    def _try(self, transition: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            transition()
        except BaseException as error:  # rclpy would discard it
            self.raised = error
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS
