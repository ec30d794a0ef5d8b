// SPDX-License-Identifier: GPL-2.0-only
/* Keeps the set of processes that the filter for process trees wants. */
#include "filter.h"

PROGRAM("raw_tp")
int on_tree_fork(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 parent = bpf_get_current_pid_tgid() >> 32, pid = 0, tid = 0;
	__u64 child = ctx->args[1];
	__u8 one = 1;

	READ(pid, child, task_struct, tgid);
	READ(tid, child, task_struct, pid);
	if (pid == tid && bpf_map_lookup_elem(MAP(filter_tree), &parent))
		bpf_map_update_elem(MAP(filter_tree), &pid, &one, BPF_ANY);
	return 0;
}

/* Attached behind the program that writes the exit. Where the kernel says which thread is the last, only that one takes
 * the process out: several threads that leave at once may all find nobody alive, before the last has been written. */
PROGRAM("raw_tp")
int on_tree_exit(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32, live = 0;
	__u64 signal = 0;

	if (CONFIG(exit_tells_last)) {
		live = !(ctx->args[1] & 1);
	} else {
		READ(signal, ctx->args[0], task_struct, signal);
		READ(live, signal, signal_struct, live);
	}
	if (!live)
		bpf_map_delete_elem(MAP(filter_tree), &pid);
	return 0;
}
