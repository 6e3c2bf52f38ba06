"""Tells bulkhead what this program has in flight, so that it is not stopped in the middle of it.

    from bulkhead_work import draining, work

    while not draining():
        job = take()
        with work():
            run(job)

A module with `track = api` finds its counter page by $BULKHEAD_WORK; without it every call does nothing. An exception
that leaves the `with` counts as an error. <bulkhead/work.h> is the same for C and says what the page is like.

Python cannot add atomically, so each process counts in a slot of its own, its threads one at a time, and slots are taken
under a lock on the file. What is started, completed and in flight is exact. The peak, and max_in_flight in try_begin(),
come from a sum over the processes' slots that is read without a lock: exact for one process, with several off by what
begins at the very same moment. 128 processes of a module can have a slot at a time; what further ones do is not counted.
"""

import contextlib
import fcntl
import mmap
import os
import threading
import time

MAGIC, VERSION = 0x6B726F77646B6C62, 1
HEADER, SLOTS, FIRST, WORDS = 16, 256, 128, 40  # in words of 64 bits: the header, slots, the first of ours, a slot's size
OWNER, STARTED, COMPLETED, ERRORS, REJECTED, PEAK, HEARTBEAT, LATENCY, TOTAL_USEC = 0, 2, 3, 4, 5, 6, 7, 8, 32
IN_FLIGHT = 8  # in the header: of those who count with atomics
DRAINING, MAX_IN_FLIGHT = 3, 4  # in the control page, in words of 32 bits
PID_BITS = 22

_lock = threading.RLock()
_page = _control = _slot = None  # words of both pages; the first word of our slot
_file = -1


def _open(path, write, size):
    fd = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return fd, memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_WRITE if write else mmap.ACCESS_READ))
    except (OSError, ValueError):
        os.close(fd)
        raise


def _connect():
    global _page, _control, _file
    path = os.environ.get("BULKHEAD_WORK")
    if not path:
        return
    try:
        fd, control = _open(path + ".control", False, 64)
        os.close(fd)
        _file, page = _open(path, True, (HEADER + SLOTS * WORDS) * 8)
    except (OSError, ValueError):
        return
    magic, version = (control.cast("Q")[0], page.cast("Q")[0]), (control.cast("I")[2], page.cast("I")[2])
    if magic == (MAGIC, MAGIC) and version == (VERSION, VERSION):
        _page, _control = page.cast("Q"), control.cast("I")


def _alive(pid):
    try:
        os.getpgid(pid)
    except ProcessLookupError:
        return False
    return True


def _claim():
    """Takes a slot, and writes down as errors what its last owner, and other dead ones, had begun and not ended."""
    global _slot
    me, free = os.getpid(), None
    fcntl.lockf(_file, fcntl.LOCK_EX)
    try:
        for at in range(HEADER + FIRST * WORDS, HEADER + SLOTS * WORDS, WORDS):
            owner = _page[at + OWNER] & (1 << PID_BITS) - 1
            if owner and (owner == me or not _alive(owner)):
                _page[at + ERRORS] = max(_page[at + STARTED] - _page[at + COMPLETED], 0)
                _page[at + OWNER] = 0
            if not _page[at + OWNER] and free is None:
                free = at
        if free is not None:
            now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000
            _page[free + OWNER] = now << PID_BITS | me
            _slot = free
    finally:
        fcntl.lockf(_file, fcntl.LOCK_UN)


def supervised():
    """Whether a supervisor counts. Only needed before the process changes its user or its root directory."""
    if _page is None or _slot is not None:
        return _page is not None
    with _lock:
        if _slot is None:
            try:
                _claim()
            except OSError:  # somebody has closed the descriptor
                return False
    return _slot is not None


def _in_flight():
    """Of the whole module."""
    of_all = HEADER + FIRST * WORDS
    started, completed, errors = (sum(_page[of_all + k :: WORDS]) for k in (STARTED, COMPLETED, ERRORS))
    with_atomics = _page[IN_FLIGHT]
    return started - completed - errors + (with_atomics if with_atomics < 1 << 63 else 0)


def _begin(ask):
    if not supervised():
        return True
    with _lock:
        _page[_slot + STARTED] += 1
        n = _in_flight()
        if ask and (_control[DRAINING] or 0 < _control[MAX_IN_FLIGHT] < n):
            _page[_slot + STARTED] -= 1
            _page[_slot + REJECTED] += 1
            return False
        _page[_slot + PEAK] = max(n, _page[_slot + PEAK])
    return True


def begin():
    """Work begins. Always counted."""
    _begin(False)


def try_begin():
    """Work begins if it may: False while the module drains and where max_in_flight are in flight already."""
    return _begin(True)


def end(ok=True, since=None):
    """Work ends; since: time.monotonic_ns() at its begin, for the latencies."""
    if _slot is None:
        return
    with _lock:
        if since is not None:
            usec = max(time.monotonic_ns() - since, 0) // 1000
            _page[_slot + LATENCY + min(max(usec.bit_length() - 1, 0), 23)] += 1
            _page[_slot + TOTAL_USEC] += usec
        _page[_slot + (COMPLETED if ok else ERRORS)] += 1


@contextlib.contextmanager
def work():
    """with work(): … is one piece of work."""
    begin()
    since = time.monotonic_ns()
    try:
        yield
    except BaseException:
        end(False, since)
        raise
    end(True, since)


def draining():
    """Whether the daemon wants no more new work begun."""
    return _control is not None and _control[DRAINING] != 0


def heartbeat():
    """"I get on": the time of the last one is shown."""
    if supervised():
        _page[_slot + HEARTBEAT] = time.monotonic_ns()


def _forked():
    global _lock, _slot
    _lock, _slot = threading.RLock(), None


os.register_at_fork(after_in_child=_forked)
_connect()
