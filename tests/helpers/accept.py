#!/usr/bin/python3
"""usage: accept.py NAME. A server on the sockets it is handed (LISTEN_FDS): answers a line with its name and the descriptor's
number, a moment later. On SIGTERM it accepts no more, finishes what it has, and ends."""

import asyncio
import os
import signal
import socket
import sys

MOMENT = 0.02


async def serve(name):
    assert os.environ["LISTEN_PID"] == str(os.getpid()), "the descriptors are another process's"
    loop, stop, open_now = asyncio.get_running_loop(), asyncio.Event(), set()
    listeners = [socket.socket(fileno=3 + i) for i in range(int(os.environ["LISTEN_FDS"]))]

    async def answer(fd, s):
        try:
            await loop.sock_recv(s, 64)
            await asyncio.sleep(MOMENT)
            await loop.sock_sendall(s, f"{name} {fd} {os.environ['LISTEN_FDNAMES']}\n".encode())
        except OSError:
            pass
        s.close()

    def accept(listener):
        try:
            s, _ = listener.accept()
        except BlockingIOError:  # another instance was quicker
            return
        s.setblocking(False)
        task = loop.create_task(answer(listener.fileno(), s))
        open_now.add(task)
        task.add_done_callback(open_now.discard)

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    for listener in listeners:
        listener.setblocking(False)
        loop.add_reader(listener, accept, listener)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    await stop.wait()
    for listener in listeners:
        loop.remove_reader(listener)
        listener.close()
    while open_now:
        await asyncio.wait(open_now)


asyncio.run(serve(sys.argv[1]))
