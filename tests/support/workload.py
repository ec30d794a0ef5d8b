"""Known workloads for the kernel tests, each a command: `python workload.py NAME ARGUMENTS...`."""

import ctypes
import mmap
import os
import platform
import signal
import sys
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
EXECVEAT = 322 if X86 else 281
OPENAT = 257 if X86 else 56
OPENAT2 = 437
OPEN, CREAT = 2, 85  # x86 only
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
NOBODY = 65534


def execs(program: str, count: str) -> None:
    """Start a program so many times, one after another, with arguments that are hard to record."""
    hard = [b"two words", b"two\nlines", b"\xff\xfe", b"", b"x" * 5000]
    for number in range(int(count)):
        arguments = [program.encode(), str(number).encode(), *hard]
        os.waitpid(os.posix_spawn(program, arguments, {}), 0)


def long_arguments(program: str) -> None:
    """Start a program with more arguments than are kept."""
    os.waitpid(os.posix_spawn(program, [program, *(f"{number:09}" for number in range(3000))], {}), 0)


def execveat(program: str) -> None:
    """Start a program by its descriptor."""
    child = os.fork()
    if child == 0:
        descriptor = os.open(program, os.O_PATH)
        os.set_inheritable(descriptor, True)
        arguments = (ctypes.c_char_p * 3)(b"by-descriptor", b"one", None)
        LIBC.syscall(EXECVEAT, descriptor, b"", arguments, None, AT_EMPTY_PATH)
        os._exit(99)
    os.waitpid(child, 0)


def thread_exec(program: str) -> None:
    """Start a program from a thread that is not its process's leader."""
    child = os.fork()
    if child == 0:
        threading.Thread(target=os.execv, args=(program, ["from-thread"])).start()
        signal.pause()
    os.waitpid(child, 0)


def missing(path: str) -> None:
    """Fail to start a program, with execve and with execveat, and do something else then."""
    child = os.fork()
    if child == 0:
        try:
            os.execv(path, ["never", "a b", "y" * 5000])
        except FileNotFoundError:
            arguments = (ctypes.c_char_p * 2)(b"nor-this", None)
            LIBC.syscall(EXECVEAT, AT_FDCWD, path.encode(), arguments, None, 0)
            os._exit(5)
    os.waitpid(child, 0)


def crowds(count: str) -> None:
    """So many processes of many threads, which all end at once."""
    for _ in range(int(count)):
        if os.fork() == 0:
            for _ in range(16):
                threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            os._exit(7)
        os.wait()


def exits() -> None:
    """End processes with 0, with 3, by SIGKILL, and with 7 after other threads have gone."""
    for code in (0, 3):
        child = os.fork()
        if child == 0:
            os._exit(code)
        os.waitpid(child, 0)
    child = os.fork()
    if child == 0:
        signal.pause()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    child = os.fork()
    if child == 0:
        threads = [threading.Thread(target=int) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        threading.Thread(target=os._exit, args=(7,)).start()
        signal.pause()
    os.waitpid(child, 0)


class OpenHow(ctypes.Structure):
    """struct open_how."""

    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def opens(folder: str, count: str) -> None:
    """Open files by each of the four calls so many times; 11 of them are missing and 13 forbidden.

    Not as root, whom nothing is forbidden; the folder holds `there` and `forbidden`.
    """
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    how = OpenHow(os.O_RDONLY | os.O_CLOEXEC, 0, 0)
    for call in ("open", "openat", "openat2", "creat") if X86 else ("openat", "openat2"):
        for number in range(int(count)):
            name = "missing/x" if number < 11 else "forbidden" if number < 24 else "there"
            path = f"{folder}/{call}/{name}".encode()
            if call == "open":
                descriptor = LIBC.syscall(OPEN, path, os.O_RDWR, 0)
            elif call == "openat":
                descriptor = LIBC.syscall(OPENAT, AT_FDCWD, path, os.O_RDWR | os.O_CREAT, 0o640)
            elif call == "openat2":
                descriptor = LIBC.syscall(OPENAT2, AT_FDCWD, path, ctypes.byref(how), ctypes.sizeof(how))
            else:
                descriptor = LIBC.syscall(CREAT, path, 0o604)
            if descriptor >= 0:
                os.close(descriptor)


def many_opens(path: str, count: str) -> None:
    """Open one file very often."""
    for _ in range(int(count)):
        os.close(os.open(path, os.O_RDONLY))


def many_paths(count: str) -> None:
    """Fail to open so many different paths."""
    for number in range(int(count)):
        LIBC.open(f"/nonexistent/{number * 2654435761 % 2**32:x}/{number}".encode(), os.O_RDONLY)


def storm(kind: str, count: str, device: str = "") -> None:
    """Called tk-storm only while it does something so many times: opens, forks (an end each), or direct reads."""
    page = mmap.mmap(-1, 4096)
    disk = os.open(device, os.O_RDONLY | os.O_DIRECT) if device else -1
    LIBC.prctl(15, b"tk-storm")  # PR_SET_NAME
    for number in range(int(count)):
        if kind == "open":
            LIBC.open(b"/none/storm", os.O_RDONLY)
        elif kind == "block":
            assert os.preadv(disk, [page], number % 512 * 65536) == 4096
        elif LIBC.fork() == 0:
            LIBC._exit(0)
        else:
            os.wait()
    LIBC.prctl(15, b"tk-calm")


def numbered(pattern: str, count: str, turns: str = "1", pause_s: str = "0") -> None:
    """Fail to open so many paths, a pattern with the number in it, in each of some turns; after each comes a pause."""
    for turn in range(int(turns)):
        for number in range(turn * int(count), (turn + 1) * int(count)):
            LIBC.open(pattern.format(number).encode(), os.O_RDONLY)
        time.sleep(float(pause_s))


def fill(file: str, left: str) -> None:
    """Fill the disk that a new file is on, but for so many bytes."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    disk = os.fstatvfs(descriptor)
    os.posix_fallocate(descriptor, 0, disk.f_bavail * disk.f_frsize - int(left))
    os.close(descriptor)


def direct(device: str, count: str) -> None:
    """Read and write a disk directly, so many times each, and sync: reads of 4 KiB, writes of 8 KiB, 64 KiB apart."""
    disk = os.open(device, os.O_RDWR | os.O_DIRECT)
    small, large = mmap.mmap(-1, 4096), mmap.mmap(-1, 8192)
    large.write(b"w" * 8192)
    for number in range(int(count)):
        assert os.preadv(disk, [small], number * 65536) == 4096
    for number in range(int(count)):
        assert os.pwritev(disk, [large], number * 65536 + 16384) == 8192
    os.fsync(disk)
    os.close(disk)


def durable(device: str, count: str) -> None:
    """Write a disk directly so many times, each write on stable storage when it returns."""
    disk = os.open(device, os.O_WRONLY | os.O_DIRECT | os.O_DSYNC)
    large = mmap.mmap(-1, 8192)
    for number in range(int(count)):
        assert os.pwritev(disk, [large], number * 65536) == 8192
    os.close(disk)


def actor(name: str, device: str, uid: str) -> None:
    """For each line of input: opens as this process and as a child of it, and direct reads; a line of output when done.

    The process is called as told, and belongs to that user.
    """
    LIBC.prctl(15, name.encode())  # PR_SET_NAME
    disk = os.open(device, os.O_RDONLY | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    os.setgid(int(uid))
    os.setuid(int(uid))
    for _ in sys.stdin:
        for _ in range(23):
            os.close(os.open("/dev/null", os.O_RDONLY))
        if os.fork() == 0:
            for _ in range(13):
                os.close(os.open("/dev/zero", os.O_RDONLY))
            os._exit(0)
        os.wait()
        for number in range(11):
            assert os.preadv(disk, [page], number * 65536) == 4096
        sys.stdout.write("done\n")
        sys.stdout.flush()


def writers(device: str, processes: str, count: str) -> None:
    """Write the same few sectors directly from several processes, so many times each."""
    page = mmap.mmap(-1, 4096)
    for _ in range(int(processes)):
        if os.fork() == 0:
            disk = os.open(device, os.O_WRONLY | os.O_DIRECT)
            for number in range(int(count)):
                os.pwritev(disk, [page], number % 3 * 4096)
            os._exit(0)
    for _ in range(int(processes)):
        os.wait()


if __name__ == "__main__":
    PR_SET_PDEATHSIG = 1
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whatever becomes of the test, its workload ends
    globals()[sys.argv[1]](*sys.argv[2:])
