"""Ports of loopback for tests that must name one before somebody listens there."""

import random
import socket

BELOW_EPHEMERAL = range(10_000, 32_000)  # the kernel gives connections those from 32768: none of them may take ours meanwhile


def free_port() -> int:
    """One that is free for TCP and UDP, and that the kernel gives to nobody who does not ask for it."""
    for port in random.Random().sample(BELOW_EPHEMERAL, 100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("a hundred ports are taken")
