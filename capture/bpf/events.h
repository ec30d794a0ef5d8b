/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the BPF programs write into their rings, and the counters they keep: the one definition for both loaders.
 * capture/wire.py mirrors it; both sides assert the sizes.
 *
 * Times are CLOCK_BOOTTIME nanoseconds. pid is the thread-group id and tid the thread id, as user space says it.
 */
#ifndef TRACEKIT_EVENTS_H
#define TRACEKIT_EVENTS_H

#define TK_COMM_BYTES 16
#define TK_PATH_BYTES 4096 /* PATH_MAX, terminator included */
#define TK_SHORT_PATH_BYTES 56
#define TK_MEDIUM_PATH_BYTES 184
#define TK_ARGV_BYTES 16384

enum tk_process_event { TK_FORK, TK_EXEC, TK_EXEC_FAILED, TK_EXIT };
enum tk_block_event { TK_BLOCK_START, TK_BLOCK_ISSUE, TK_BLOCK_REQUEUE, TK_BLOCK_MERGE, TK_BLOCK_COMPLETE };
enum tk_open_call { TK_OPEN, TK_OPENAT, TK_OPENAT2, TK_CREAT };

/* Followed by path_bytes of path and argv_bytes of arguments, both with their terminators. */
struct tk_process {
	__u64 ts_ns;
	__u64 start_ns; /* exit: when the process started */
	__u64 cgroup;	/* id in the unified hierarchy */
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	__s32 status; /* exit: as wait(2) has it; exec_failed: -errno */
	__u32 argv_total_bytes;
	__u32 path_bytes;
	__u32 argv_bytes;
	__u16 cpu;
	__u8 event;
	__u8 pad[5];
	char comm[TK_COMM_BYTES];
};

struct tk_block {
	__u64 ts_ns;
	__u64 request; /* address: pairs the events of one request, and never leaves the agent */
	__u64 sector;
	__u64 cgroup;
	__u32 pid;
	__u32 tid;
	__u32 dev;
	__u32 flags; /* cmd_flags */
	__u32 bytes;
	__s32 status; /* complete: -errno, or blk_status_t on kernels that pass that */
	__u16 cpu;
	__u8 event;
	__u8 pad[5];
	char comm[TK_COMM_BYTES];
};

struct tk_open_head {
	__u64 ts_ns;
	__u64 duration_ns;
	__u64 cgroup;
	__u32 pid;
	__u32 tid;
	__u32 uid;
	__u32 flags;
	__s32 ret;
	__s32 dirfd;
	__u16 mode;
	__u16 cpu;
	__u16 path_bytes; /* terminator included; 0: the path could not be read */
	__u8 call;
	__u8 pad;
	char comm[TK_COMM_BYTES];
};

/* Nearly every path is short. Each of three sizes has a ring of its own, so that a ring has one record size. */
struct tk_open_short {
	struct tk_open_head head;
	char path[TK_SHORT_PATH_BYTES];
};

struct tk_open_medium {
	struct tk_open_head head;
	char path[TK_MEDIUM_PATH_BYTES];
};

struct tk_open_long {
	struct tk_open_head head;
	char path[TK_PATH_BYTES]; /* not zero behind the terminator */
};

/* One per CPU and family. seen = filtered + lost_ring_full + lost_state_full + what reached a ring. */
struct tk_counters {
	__u64 seen;
	__u64 filtered;
	__u64 lost_ring_full;
	__u64 lost_state_full;
	__u64 truncated;
	__u64 pad[3]; /* a cache line each */
};

/* Filters that count; each wants what is in its map, and an event must be wanted by all. */
#define TK_FILTER_PID 1
#define TK_FILTER_TREE 2
#define TK_FILTER_COMM 4
#define TK_FILTER_UID 8
#define TK_FILTER_CGROUP 16
#define TK_FILTER_DISK 32 /* block events only */
#define TK_FILTER_TASK (TK_FILTER_PID | TK_FILTER_TREE | TK_FILTER_COMM | TK_FILTER_UID | TK_FILTER_CGROUP)

/* In the place of a controller's number: the unified hierarchy. */
#define TK_UNIFIED 255

/* What the agent tells the programs before they are loaded. */
struct tk_config {
	__u32 self_pid;		 /* the recorder: its own events are filtered */
	__u32 request_arg;	 /* position of the request among the arguments of block_rq_{issue,requeue,merge} */
	__u32 exit_tells_last;	 /* sched_process_exit says whether the thread is the last */
	__u32 block_decides;	 /* the event that tells who submitted a request: its start, or its issue if there is no other */
	__u32 filters;		 /* TK_FILTER_... */
	__u32 cgroup_subsystem;	 /* number of the controller whose hierarchy the cgroups are of, or TK_UNIFIED */
};

_Static_assert(sizeof(struct tk_process) == 80, "wire format");
_Static_assert(sizeof(struct tk_block) == 80, "wire format");
_Static_assert(sizeof(struct tk_open_head) == 72, "wire format");
_Static_assert(sizeof(struct tk_open_short) == 128, "wire format");
_Static_assert(sizeof(struct tk_open_medium) == 256, "wire format");
_Static_assert(sizeof(struct tk_open_long) == 4168, "wire format");
_Static_assert(sizeof(struct tk_counters) == 64, "wire format");
_Static_assert(sizeof(struct tk_config) == 24, "wire format");

#endif
