"""A trace in which every name is hostile: HTML, scripts, escape sequences, right-to-left marks, 4 KiB of arguments."""

from tracebuilder import START_NS, TraceBuilder

NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></script><svg onload=alert(1)>",
    "<!-- ]]> <![CDATA[",
    "&lt;b&gt; &#60;",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egnp.exe\u2066\u200b",
    "line\nbreak\r\ttab\x00",
    "@all `x` | **b** [a](javascript:alert(1)) https://example.com",
    "\u05d0\u05d1\u05d2 \U0001f600 Z\u0335",
    "{{7*7}} ${7*7} %s",
)
MS = 1_000_000


def hostile() -> TraceBuilder:
    """Every 700 ms each of `NAMES` runs and fails; opens fail, and disks and parents have such names, too."""
    builder = TraceBuilder().metadata(kernel=NAMES[3])
    parent = {"pid": 50, "tid": 50, "ppid": 1, "comm": NAMES[1]}
    builder.add("process", 0, start_ns=START_NS - MS, **parent)
    pid = 1000
    for turn in range(13):
        for place, name in enumerate(NAMES):
            pid, at = pid + 1, (300 + 700 * turn + 3 * place) * MS
            who = {"pid": pid, "tid": pid, "ppid": 50}
            builder.add("fork", at, comm=NAMES[1], **who)
            builder.add(
                "exec", at + 1000, comm=name, path=f"/bin/{name}", argv=[name, name * (4096 // len(name))], **who
            )
            builder.add("exit", at + 2 * MS, comm=name, start_ns=START_NS + at, exit_code=1, exit_signal=0, **who)
            io = {
                "pid": pid,
                "tid": pid,
                "comm": name,
                "disk": NAMES[place % 2],
                "dev": 8 << 20 | place % 2,
                "op": "read",
            }
            for request in range(4):
                start = at + request * 20_000
                sector = {"sector": 8 * pid, "bytes": 4096, "request": place * 4 + request}
                builder.add("block_start", start, **sector, **io).add("block_issue", start + 2000, **sector, **io)
                done = start + (400 * MS if turn == 5 and request == 0 and place < 3 else 90_000 + pid * 7)
                builder.add("block_complete", done, ret=0, **sector, **io)
                path = NAMES[(place + request) % len(NAMES)] * 20
                opened = {"pid": pid, "tid": pid, "comm": name, "path": path, "ret": -2, "duration_ns": 2000 + pid}
                builder.add("open", start + 500, **opened)
    return builder
