// SPDX-License-Identifier: GPL-2.0-only
/* Processes: fork, exec, failed exec, exit. */
#include "filter.h"

struct record {
	struct tk_process head;
	char data[TK_PATH_BYTES + TK_ARGV_BYTES];
};

struct exec_call {
	__u64 path;
	__u64 argv;
};

MAP_OF(BPF_MAP_TYPE_RINGBUF, process_ring, 0, 0, 8388608, 0)
MAP_OF(BPF_MAP_TYPE_ARRAY, process_counters, 4, 64, 1, BPF_F_MMAPABLE)
/* Records vary in size, so they are put together here. One each, since a failing exec may be preempted. */
MAP_OF(BPF_MAP_TYPE_PERCPU_ARRAY, exec_record, 4, 20560, 1, 0)
MAP_OF(BPF_MAP_TYPE_PERCPU_ARRAY, failed_record, 4, 20560, 1, 0)
/* Threads inside of execve, by thread id. */
MAP_OF(BPF_MAP_TYPE_HASH, exec_calls, 4, 16, 8192, 0)
/* Processes whose exit is written, on kernels that do not say which thread is the last. */
MAP_OF(BPF_MAP_TYPE_LRU_HASH, exited, 16, 4, 4096, 0)

_Static_assert(sizeof(struct record) == 20560, "exec_record, failed_record");
_Static_assert(sizeof(struct exec_call) == 16, "exec_calls");

#define SIGNAL_GROUP_EXIT 4 /* include/linux/sched/signal.h */

/* Arguments a failing exec is asked for, at most. */
#define MAX_ARGUMENTS 64
#define FAILED_ARGV_BYTES (TK_ARGV_BYTES - TK_PATH_BYTES)

INLINE void fill_process(struct tk_process *head, __u8 event)
{
	__u64 id = bpf_get_current_pid_tgid();

	__builtin_memset(head, 0, sizeof(*head));
	head->ts_ns = bpf_ktime_get_boot_ns();
	head->pid = id >> 32;
	head->tid = id;
	head->uid = bpf_get_current_uid_gid();
	head->cgroup = bpf_get_current_cgroup_id();
	head->cpu = bpf_get_smp_processor_id();
	head->event = event;
	bpf_get_current_comm(head->comm, sizeof(head->comm));
}

INLINE __u32 parent_of(__u64 task)
{
	__u64 parent = 0;
	__u32 pid = 0;

	READ(parent, task, task_struct, real_parent);
	READ(pid, parent, task_struct, tgid);
	return pid;
}

/* Count the event; 0 if nobody wants it. */
INLINE int wanted_process(struct tk_counters *counters, __u32 pid)
{
	COUNT(counters, seen);
	if (is_wanted(pid))
		return 1;
	COUNT(counters, filtered);
	return 0;
}

INLINE void emit_process(struct tk_counters *counters, void *record, __u32 bytes)
{
	if (bpf_ringbuf_output(MAP(process_ring), record, bytes, wakeup(MAP(process_ring), counters)))
		COUNT(counters, lost_ring_full);
}

PROGRAM("raw_tp")
int on_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct tk_counters *counters = counters_in(MAP(process_counters));
	__u64 child = ctx->args[1];
	struct tk_process head;
	__u32 pid = 0, tid = 0;

	READ(pid, child, task_struct, tgid);
	READ(tid, child, task_struct, pid);
	if (pid != tid)
		return 0; /* a thread */
	if (!wanted_process(counters, pid))
		return 0;
	fill_process(&head, TK_FORK);
	head.pid = pid;
	head.tid = tid;
	head.ppid = parent_of(child);
	emit_process(counters, &head, sizeof(head));
	return 0;
}

PROGRAM("raw_tp")
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct tk_counters *counters = counters_in(MAP(process_counters));
	__u64 task = ctx->args[0], binprm = ctx->args[2];
	__u64 filename = 0, mm = 0, start = 0, end = 0;
	__u32 zero = 0, old_tid = ctx->args[1];
	struct record *record;
	__u64 bytes;

	/* A thread that is not the leader takes the leader's id here: its call returns under another name. */
	bpf_map_delete_elem(MAP(exec_calls), &old_tid);
	if (!wanted_process(counters, bpf_get_current_pid_tgid() >> 32))
		return 0;
	record = bpf_map_lookup_elem(MAP(exec_record), &zero);
	if (!record)
		return 0;
	fill_process(&record->head, TK_EXEC);
	record->head.ppid = parent_of(task);

	READ(filename, binprm, linux_binprm, filename);
	bytes = length_of(bpf_probe_read_kernel_str(record->data, TK_PATH_BYTES, (void *)filename), TK_PATH_BYTES);
	record->head.path_bytes = bytes;

	READ(mm, task, task_struct, mm);
	READ(start, mm, mm_struct, arg_start);
	READ(end, mm, mm_struct, arg_end);
	end = end > start ? end - start : 0;
	record->head.argv_total_bytes = end;
	if (end > TK_ARGV_BYTES)
		end = TK_ARGV_BYTES;
	if (bpf_probe_read_user(record->data + bytes, end, (void *)start))
		end = 0;
	record->head.argv_bytes = end;
	if (end < record->head.argv_total_bytes)
		COUNT(counters, truncated);
	emit_process(counters, record, sizeof(record->head) + bytes + end);
	return 0;
}

INLINE int enter_exec(__u64 path, __u64 argv)
{
	struct exec_call call = { .path = path, .argv = argv };
	struct tk_counters *counters;
	__u32 tid = bpf_get_current_pid_tgid();

	if (!bpf_map_update_elem(MAP(exec_calls), &tid, &call, BPF_ANY))
		return PASS_ON;
	counters = counters_in(MAP(process_counters));
	COUNT(counters, seen);
	COUNT(counters, lost_state_full);
	return PASS_ON;
}

PROGRAM("tp")
int on_enter_execve(struct tk_enter *ctx)
{
	return enter_exec(ctx->args[0], ctx->args[1]);
}

PROGRAM("tp")
int on_enter_execveat(struct tk_enter *ctx)
{
	return enter_exec(ctx->args[1], ctx->args[2]);
}

/* The failed call's memory is still there: the arguments, one by one. Those that do not fit are read for their length,
 * behind the others. Of a very long one, of very many, and of those in a page that is not in memory only a part is known:
 * the total is then more than what is held.
 * The sums live in the record, where the verifier does not follow their ranges through every turn of the loop. */
INLINE void read_arguments(struct record *record, __u64 at, __u64 argv)
{
	__u64 pointer, held;
	long read;
	int i;

	for (i = 0; i <= MAX_ARGUMENTS; i++) {
		pointer = 0;
		if (bpf_probe_read_user(&pointer, sizeof(pointer), (void *)(argv + i * sizeof(pointer))))
			break;
		if (!pointer)
			return;
		if (i == MAX_ARGUMENTS)
			break;
		held = record->head.argv_bytes;
		if (held > FAILED_ARGV_BYTES)
			held = FAILED_ARGV_BYTES;
		read = bpf_probe_read_user_str(record->data + at + held, TK_PATH_BYTES, (void *)pointer);
		if (read <= 0)
			break;
		if (held + read <= FAILED_ARGV_BYTES && held == record->head.argv_total_bytes)
			record->head.argv_bytes = held + read;
		record->head.argv_total_bytes += read + (read == TK_PATH_BYTES);
	}
	record->head.argv_total_bytes++;
}

/* Attached to execve and to execveat. */
PROGRAM("tp")
int on_leave_exec(struct tk_leave *ctx)
{
	__u32 zero = 0, tid = bpf_get_current_pid_tgid();
	struct exec_call *found = bpf_map_lookup_elem(MAP(exec_calls), &tid);
	struct tk_counters *counters = counters_in(MAP(process_counters));
	struct exec_call call;
	struct record *record;
	__u64 bytes;

	if (!found)
		return PASS_ON;
	call = *found;
	bpf_map_delete_elem(MAP(exec_calls), &tid);
	if (ctx->ret >= 0)
		return PASS_ON; /* on_exec has it */
	if (!wanted_process(counters, bpf_get_current_pid_tgid() >> 32))
		return PASS_ON;
	record = bpf_map_lookup_elem(MAP(failed_record), &zero);
	if (!record)
		return PASS_ON;
	fill_process(&record->head, TK_EXEC_FAILED);
	record->head.ppid = parent_of(bpf_get_current_task());
	record->head.status = ctx->ret;
	bytes = length_of(bpf_probe_read_user_str(record->data, TK_PATH_BYTES, (void *)call.path), TK_PATH_BYTES);
	record->head.path_bytes = bytes;
	read_arguments(record, bytes, call.argv);
	if (record->head.argv_bytes < record->head.argv_total_bytes)
		COUNT(counters, truncated);
	bytes += record->head.argv_bytes;
	if (bytes > sizeof(record->data))
		bytes = sizeof(record->data);
	emit_process(counters, record, sizeof(record->head) + bytes);
	return PASS_ON;
}

/* Whether this exiting thread is its process's last. Older kernels do not pass it; there, two threads that leave at once
 * may both find nobody alive, and the first takes it. */
INLINE int is_last(struct bpf_raw_tracepoint_args *ctx, __u64 signal, __u32 pid, __u64 start_ns)
{
	struct {
		__u64 pid, start_ns;
	} key = { pid, start_ns };
	__u32 live = 0;

	if (CONFIG(exit_tells_last))
		return ctx->args[1] & 1;
	READ(live, signal, signal_struct, live);
	return !live && !bpf_map_update_elem(MAP(exited), &key, &live, BPF_NOEXIST);
}

PROGRAM("raw_tp")
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct tk_counters *counters;
	__u64 task = ctx->args[0], leader = 0, signal = 0, start_ns = 0;
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct tk_process head;
	__u32 flags = 0;
	__s32 status = 0;

	READ(leader, task, task_struct, group_leader);
	READ(start_ns, leader, task_struct, start_boottime);
	READ(signal, task, task_struct, signal);
	if (!is_last(ctx, signal, pid, start_ns))
		return 0;
	counters = counters_in(MAP(process_counters));
	if (!wanted_process(counters, pid))
		return 0;
	fill_process(&head, TK_EXIT);
	head.ppid = parent_of(leader);
	head.start_ns = start_ns;
	READ(flags, signal, signal_struct, flags);
	if (flags & SIGNAL_GROUP_EXIT)
		READ(status, signal, signal_struct, group_exit_code);
	else
		READ(status, leader, task_struct, exit_code);
	head.status = status;
	emit_process(counters, &head, sizeof(head));
	return 0;
}
