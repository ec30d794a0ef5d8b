"""What other tools print and write, in small."""

import blktrace_files as files

PERF = b"""\
# os release : 6.18.0
# reference time: 2026-11-23 02:18:30.280169 = 1795400310.280169 (TOD) = 100.000000000 (monotonic)
  sh  0/0  [000]   0.000000000: PERF_RECORD_FORK(50:50):(1:1)
  sh 50/50 [001] 101.000000000: sched:sched_process_fork: comm=sh pid=50 child_comm=sh child_pid=60
  sh 60/60 [001] 101.000100000: sched:sched_process_exec: filename=/opt/a pid=60 old_pid=60
  sh 60/61 [000] 101.000200000: syscalls:sys_enter_openat: dfd: 0xffffff9c, filename: 0x7f5f, flags: 0x80000, mode: 0x0
  sh 60/61 [000] 101.000300000: syscalls:sys_exit_openat: 0x3
  sh 60/60 [001] 101.000400000: PERF_RECORD_LOST lost 12
  sh 60/60 [001] 101.001000000: block:block_rq_issue: 254,16 WS 4096 () 36986352 + 8 0x2,0,4 [sh]
  sh  0/0  [000] 101.001110000: block:block_rq_complete: 254,16 WS () 36986352 + 8 0x2,0,4 [-5]
  sh 60/60 [001] 101.003000000: sched:sched_process_exit: comm=sh pid=60 prio=120 group_dead=true
"""
TOOLS = (
    b"TIME(s)       UID   PID    COMM               FD ERR FLAGS    MODE PATH\n"
    b"0.000290000   1000  3187374 a very long nam    -1   2 02000101 0644 /dev/two  words\nPossibly lost 17 samples\n",
    b"TIME     TIME(s) PCOMM            PID     PPID    RET ARGS\n"
    b"14:08:23 2.849   mount            18049   1045      0 /bin/mount -p\n",
    b"TIME-UTC     LABEL PCOMM            PID     PPID    TID     AGE(s)  EXIT_CODE \n"
    b"13:20:22.997 exit  bash             18300   17656   18300   1.65    signal 9 (KILL)\n",
    b"TIME(s)     COMM           PID     DISK      T SECTOR     BYTES  QUE(ms) LAT(ms)\n"
    b"0.000000    kworker/u72:1  13379   nvme1n1   W 1142400    4096      0.01    0.55\n",
)
BLKPARSE = (
    b"  8,16 1 4 0.000090010 0 C R 0 + 8 [0]\n  8,16 1 9 0.000100000 72 G WS 4096 + 16 [a b]\n"
    b"Skips: 1 forward (4 - 1%)\n"
)
BLKTRACE = b"".join(
    files.record(n, n, files.ISSUE | files.READ, sector=n, size=512, payload=b"z" * (n % 5)) for n in range(1, 9)
) + files.process(5, b"hello")
