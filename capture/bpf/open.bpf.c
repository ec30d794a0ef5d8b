// SPDX-License-Identifier: GPL-2.0-only
/* Opens: open, openat, openat2 and creat, written when the call returns. */
#include "filter.h"

struct open_call {
	__u64 ts_ns; /* 0: the call has returned */
	__u64 path;
	__u32 flags;
	__s32 dirfd;
	__u16 mode;
	__u8 call;
	__u8 pad[5];
};

/* What struct open_how of openat2 begins with. */
struct open_how_head {
	__u64 flags;
	__u64 mode;
};

MAP_OF(BPF_MAP_TYPE_RINGBUF, open_short_ring, 0, 0, 33554432, 0)
MAP_OF(BPF_MAP_TYPE_RINGBUF, open_medium_ring, 0, 0, 16777216, 0)
MAP_OF(BPF_MAP_TYPE_RINGBUF, open_long_ring, 0, 0, 8388608, 0)
MAP_OF(BPF_MAP_TYPE_ARRAY, open_counters, 4, 64, 1, BPF_F_MMAPABLE)
/* Of each thread that ever opened something its latest open, by thread id: changed in place, which costs half of what
 * putting it in and taking it out would, and gone when the thread ends. (A thread that executes a program takes its
 * leader's id; what it had under its own stays until that id is used again.) */
MAP_OF(BPF_MAP_TYPE_HASH, open_calls, 4, 32, 65536, 0)

_Static_assert(sizeof(struct open_call) == 32, "open_calls");

#define CREAT_FLAGS 01101 /* O_CREAT | O_WRONLY | O_TRUNC, which creat(2) implies */

INLINE int enter_open_call(__u8 call, __u64 path, __u64 flags, __u64 mode, __s32 dirfd)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = id;
	struct open_call *known, open = {
		.path = path, .flags = flags, .dirfd = dirfd, .mode = mode, .call = call,
	};
	struct tk_counters *counters;

	if (!is_wanted(id >> 32)) {
		counters = counters_in(MAP(open_counters));
		COUNT(counters, seen);
		COUNT(counters, filtered);
		return PASS_ON;
	}
	open.ts_ns = bpf_ktime_get_boot_ns();
	known = bpf_map_lookup_elem(MAP(open_calls), &tid);
	if (known) {
		*known = open;
	} else if (bpf_map_update_elem(MAP(open_calls), &tid, &open, BPF_ANY)) {
		counters = counters_in(MAP(open_counters));
		COUNT(counters, seen);
		COUNT(counters, lost_state_full);
	}
	return PASS_ON;
}

PROGRAM("tp")
int on_enter_open(struct tk_enter *ctx)
{
	return enter_open_call(TK_OPEN, ctx->args[0], ctx->args[1], ctx->args[2], 0);
}

PROGRAM("tp")
int on_enter_openat(struct tk_enter *ctx)
{
	return enter_open_call(TK_OPENAT, ctx->args[1], ctx->args[2], ctx->args[3], ctx->args[0]);
}

PROGRAM("tp")
int on_enter_openat2(struct tk_enter *ctx)
{
	struct open_how_head how = {};

	bpf_probe_read_user(&how, sizeof(how), (void *)ctx->args[2]);
	return enter_open_call(TK_OPENAT2, ctx->args[1], how.flags, how.mode, ctx->args[0]);
}

PROGRAM("tp")
int on_enter_creat(struct tk_enter *ctx)
{
	return enter_open_call(TK_CREAT, ctx->args[0], CREAT_FLAGS, ctx->args[1], 0);
}

INLINE void fill_open(struct tk_open_head *head, struct open_call *call, __u64 now_ns, __s64 ret, __u16 path_bytes)
{
	__u64 id = bpf_get_current_pid_tgid();

	head->ts_ns = call->ts_ns;
	head->duration_ns = now_ns - call->ts_ns;
	head->cgroup = bpf_get_current_cgroup_id();
	head->pid = id >> 32;
	head->tid = id;
	head->uid = bpf_get_current_uid_gid();
	head->flags = call->flags;
	head->ret = ret;
	head->dirfd = call->dirfd;
	head->mode = call->mode;
	head->cpu = bpf_get_smp_processor_id();
	head->path_bytes = path_bytes;
	head->call = call->call;
	head->pad = 0;
	bpf_get_current_comm(head->comm, sizeof(head->comm));
}

/* Write the call to the ring for paths of up to so many bytes; 0 if the path is longer. */
INLINE int emit_open(void *ring, __u32 size, struct tk_counters *counters, struct open_call *call, __u64 now_ns, __s64 ret)
{
	struct tk_open_long *record = bpf_ringbuf_reserve(ring, sizeof(record->head) + size, 0);
	long read;

	if (!record) {
		COUNT(counters, lost_ring_full);
		return 1;
	}
	/* The agent compares whole fields; of the few long ones it looks for the end. */
	if (size < TK_PATH_BYTES)
		__builtin_memset(record->path, 0, size);
	read = bpf_probe_read_user_str(record->path, size, (void *)call->path);
	if (read == size && size < TK_PATH_BYTES) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return 0;
	}
	fill_open(&record->head, call, now_ns, ret, read > 0 ? read : 0);
	bpf_ringbuf_submit(record, wakeup(ring, counters));
	return 1;
}

/* Attached to all four calls. */
PROGRAM("tp")
int on_leave_open(struct tk_leave *ctx)
{
	__u64 now_ns = bpf_ktime_get_boot_ns();
	__u32 tid = bpf_get_current_pid_tgid();
	struct open_call *call = bpf_map_lookup_elem(MAP(open_calls), &tid);
	struct tk_counters *counters;
	volatile __s64 ret = ctx->ret; /* volatile: read here and once, since the verifier takes no shifted context */

	if (!call || !call->ts_ns)
		return PASS_ON; /* it began before the recording did, or nobody wants it */
	counters = counters_in(MAP(open_counters));
	COUNT(counters, seen);
	if (!emit_open(MAP(open_short_ring), TK_SHORT_PATH_BYTES, counters, call, now_ns, ret) &&
	    !emit_open(MAP(open_medium_ring), TK_MEDIUM_PATH_BYTES, counters, call, now_ns, ret))
		emit_open(MAP(open_long_ring), TK_PATH_BYTES, counters, call, now_ns, ret);
	call->ts_ns = 0;
	return PASS_ON;
}

/* Every thread's end. */
PROGRAM("raw_tp")
int on_thread_exit(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();

	bpf_map_delete_elem(MAP(open_calls), &tid);
	return 0;
}
