"""Battery model, and the scheduler of a robot's phases: acting, resting, dreaming."""
