"""The life of one service: spec, state machine, hooks, health."""
