// SPDX-License-Identifier: GPL-2.0-only
/* Opens: open, openat, openat2 and creat, written when the call returns. */
#include "loader.h"

struct open_call {
	__u64 ts_ns;
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

MAP_OF(BPF_MAP_TYPE_RINGBUF, open_ring, 0, 0, 33554432, 0)
MAP_OF(BPF_MAP_TYPE_RINGBUF, open_long_ring, 0, 0, 8388608, 0)
MAP_OF(BPF_MAP_TYPE_ARRAY, open_counters, 4, 64, 1, BPF_F_MMAPABLE)
/* Threads inside of an open, by thread id. */
MAP_OF(BPF_MAP_TYPE_HASH, open_calls, 4, 32, 16384, 0)

_Static_assert(sizeof(struct open_call) == 32, "open_calls");

#define CREAT_FLAGS 01101 /* O_CREAT | O_WRONLY | O_TRUNC, which creat(2) implies */

INLINE int enter_open_call(__u8 call, __u64 path, __u64 flags, __u64 mode, __s32 dirfd)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = id;
	struct tk_counters *counters;
	struct open_call open = {
		.path = path, .flags = flags, .dirfd = dirfd, .mode = mode, .call = call,
	};

	if (id >> 32 == CONFIG(self_pid)) {
		counters = counters_in(MAP(open_counters));
		COUNT(counters, seen);
		COUNT(counters, filtered);
		return 0;
	}
	open.ts_ns = bpf_ktime_get_boot_ns();
	if (bpf_map_update_elem(MAP(open_calls), &tid, &open, BPF_ANY)) {
		counters = counters_in(MAP(open_counters));
		COUNT(counters, seen);
		COUNT(counters, lost_state_full);
	}
	return 0;
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

INLINE void fill_open(struct tk_open_head *head, struct open_call *open, __u64 now_ns, __s64 ret, __u16 path_bytes)
{
	__u64 id = bpf_get_current_pid_tgid();

	head->ts_ns = open->ts_ns;
	head->duration_ns = now_ns - open->ts_ns;
	head->cgroup = bpf_get_current_cgroup_id();
	head->pid = id >> 32;
	head->tid = id;
	head->uid = bpf_get_current_uid_gid();
	head->flags = open->flags;
	head->ret = ret;
	head->dirfd = open->dirfd;
	head->mode = open->mode;
	head->cpu = bpf_get_smp_processor_id();
	head->path_bytes = path_bytes;
	head->call = open->call;
	head->pad = 0;
	bpf_get_current_comm(head->comm, sizeof(head->comm));
}

INLINE void emit_long_open(struct tk_counters *counters, struct open_call *open, __u64 now_ns, __s64 ret)
{
	struct tk_open_long *record = bpf_ringbuf_reserve(MAP(open_long_ring), sizeof(*record), 0);
	long read;

	if (!record) {
		COUNT(counters, lost_ring_full);
		return;
	}
	read = bpf_probe_read_user_str(record->path, sizeof(record->path), (void *)open->path);
	fill_open(&record->head, open, now_ns, ret, read > 0 ? read : 0);
	bpf_ringbuf_submit(record, wakeup(MAP(open_long_ring)));
}

/* Attached to all four calls. */
PROGRAM("tp")
int on_leave_open(struct tk_leave *ctx)
{
	__u64 now_ns = bpf_ktime_get_boot_ns();
	__u32 tid = bpf_get_current_pid_tgid();
	struct open_call *found = bpf_map_lookup_elem(MAP(open_calls), &tid);
	struct tk_counters *counters;
	struct tk_open *record;
	struct open_call open;
	long read;

	if (!found)
		return 0; /* it began before the recording did */
	open = *found;
	bpf_map_delete_elem(MAP(open_calls), &tid);
	counters = counters_in(MAP(open_counters));
	COUNT(counters, seen);
	record = bpf_ringbuf_reserve(MAP(open_ring), sizeof(*record), 0);
	if (!record) {
		COUNT(counters, lost_ring_full);
		return 0;
	}
	/* The agent hashes the whole field. */
	__builtin_memset(record->path, 0, sizeof(record->path));
	read = bpf_probe_read_user_str(record->path, sizeof(record->path), (void *)open.path);
	if (read == sizeof(record->path)) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		emit_long_open(counters, &open, now_ns, ctx->ret);
		return 0;
	}
	fill_open(&record->head, &open, now_ns, ctx->ret, read > 0 ? read : 0);
	bpf_ringbuf_submit(record, wakeup(MAP(open_ring)));
	return 0;
}
