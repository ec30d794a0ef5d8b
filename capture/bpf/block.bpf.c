// SPDX-License-Identifier: GPL-2.0-only
/* Block I/O: the life of each request, from its entry into the block layer to its completion. */
#include "filter.h"

MAP_OF(BPF_MAP_TYPE_RINGBUF, block_ring, 0, 0, 16777216, 0)
MAP_OF(BPF_MAP_TYPE_ARRAY, block_counters, 4, 64, 1, BPF_F_MMAPABLE)
/* Requests in flight that are out of the ordinary, from when it is known who submitted them: with a filter for processes
 * those that are wanted, else the recorder's own. */
MAP_OF(BPF_MAP_TYPE_HASH, marked_requests, 8, 1, 16384, 0)

INLINE __u32 disk_of(__u64 request)
{
	__u64 queue = 0, disk = 0;
	__u32 major = 0, minor = 0;

	if (KERNEL_HAS(request_queue, disk)) {
		READ(queue, request, request, q);
		READ(disk, queue, request_queue, disk);
	} else if (KERNEL_HAS(request, rq_disk)) {
		/* before 5.17, commit f3fa33acca9f */
		READ(disk, request, request, rq_disk);
	}
	READ(major, disk, gendisk, major);
	READ(minor, disk, gendisk, first_minor);
	return major << 20 | minor;
}

INLINE int is_on_wanted_disk(__u32 dev)
{
	return !(CONFIG(filters) & TK_FILTER_DISK) || bpf_map_lookup_elem(MAP(filter_disks), &dev);
}

/* Whether the request's events are wanted; forgets it where its life ends. */
INLINE int is_wanted_request(struct tk_counters *counters, __u64 request, __u8 event, int ends)
{
	int marks_wanted = !!(CONFIG(filters) & TK_FILTER_TASK), wanted;
	int marked = bpf_map_lookup_elem(MAP(marked_requests), &request) != 0;
	__u8 one = 1;

	/* A request that was put back may be issued again by somebody else; but a new life may have an old address. */
	if (event == CONFIG(block_decides) && !(event == TK_BLOCK_ISSUE && marked)) {
		wanted = is_wanted(bpf_get_current_pid_tgid() >> 32);
		if (wanted != marks_wanted) {
			if (marked)
				bpf_map_delete_elem(MAP(marked_requests), &request);
		} else if (bpf_map_update_elem(MAP(marked_requests), &request, &one, BPF_ANY) && marks_wanted) {
			COUNT(counters, lost_state_full);
			return -1;
		}
		return wanted;
	}
	if (marked && ends)
		bpf_map_delete_elem(MAP(marked_requests), &request);
	return marked == marks_wanted;
}

INLINE int emit_block(__u64 request, __u8 event, __s32 status, __u32 completed_bytes)
{
	struct tk_counters *counters = counters_in(MAP(block_counters));
	__u64 id = bpf_get_current_pid_tgid(), sector = 0;
	__u32 flags = 0, bytes = 0, dev = disk_of(request);
	struct tk_block *record;
	int wanted, ends;

	READ(bytes, request, request, __data_len);
	COUNT(counters, seen);
	ends = event == TK_BLOCK_MERGE || (event == TK_BLOCK_COMPLETE && completed_bytes >= bytes);
	wanted = is_on_wanted_disk(dev) ? is_wanted_request(counters, request, event, ends) : 0;
	if (wanted <= 0) {
		if (!wanted)
			COUNT(counters, filtered);
		return 0;
	}
	READ(sector, request, request, __sector);
	READ(flags, request, request, cmd_flags);
	record = bpf_ringbuf_reserve(MAP(block_ring), sizeof(*record), 0);
	if (!record) {
		COUNT(counters, lost_ring_full);
		return 0;
	}
	record->ts_ns = bpf_ktime_get_boot_ns();
	record->request = request;
	record->sector = sector;
	record->cgroup = event == TK_BLOCK_START ? bpf_get_current_cgroup_id() : 0;
	record->pid = id >> 32;
	record->tid = id;
	record->dev = dev;
	record->flags = flags;
	record->bytes = event == TK_BLOCK_COMPLETE ? completed_bytes : bytes;
	record->status = status;
	record->cpu = bpf_get_smp_processor_id();
	record->event = event;
	__builtin_memset(record->pad, 0, sizeof(record->pad));
	bpf_get_current_comm(record->comm, sizeof(record->comm));
	bpf_ringbuf_submit(record, wakeup(MAP(block_ring), counters));
	return 0;
}

/* Before 5.11 (and 5.10.137; commit a54895fa057c) these three had the queue as their first argument. */
#define REQUEST(ctx) (CONFIG(request_arg) ? (ctx)->args[1] : (ctx)->args[0])

PROGRAM("raw_tp")
int on_block_start(struct bpf_raw_tracepoint_args *ctx)
{
	return emit_block(ctx->args[0], TK_BLOCK_START, 0, 0);
}

PROGRAM("raw_tp")
int on_block_issue(struct bpf_raw_tracepoint_args *ctx)
{
	return emit_block(REQUEST(ctx), TK_BLOCK_ISSUE, 0, 0);
}

PROGRAM("raw_tp")
int on_block_requeue(struct bpf_raw_tracepoint_args *ctx)
{
	return emit_block(REQUEST(ctx), TK_BLOCK_REQUEUE, 0, 0);
}

PROGRAM("raw_tp")
int on_block_merge(struct bpf_raw_tracepoint_args *ctx)
{
	return emit_block(REQUEST(ctx), TK_BLOCK_MERGE, 0, 0);
}

PROGRAM("raw_tp")
int on_block_complete(struct bpf_raw_tracepoint_args *ctx)
{
	return emit_block(ctx->args[0], TK_BLOCK_COMPLETE, ctx->args[1], ctx->args[2]);
}
