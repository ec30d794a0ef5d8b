/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which events are wanted. The agent makes and fills these maps, one of each for all programs, and says in the
 * configuration which of them count; a filter that is not asked for costs nothing, since the verifier removes its code.
 */
#ifndef TRACEKIT_FILTER_H
#define TRACEKIT_FILTER_H

#include "loader.h"

MAP_OF(BPF_MAP_TYPE_HASH, filter_pids, 4, 1, 1, 0)
/* Processes of the trees that are wanted: the agent puts the first in, the tree programs keep it. */
MAP_OF(BPF_MAP_TYPE_HASH, filter_tree, 4, 1, 1, 0)
MAP_OF(BPF_MAP_TYPE_HASH, filter_comms, 16, 1, 1, 0)
MAP_OF(BPF_MAP_TYPE_HASH, filter_uids, 4, 1, 1, 0)
MAP_OF(BPF_MAP_TYPE_HASH, filter_cgroups, 8, 1, 1, 0)
MAP_OF(BPF_MAP_TYPE_HASH, filter_disks, 4, 1, 1, 0)

#define CGROUP_LEVELS 32

INLINE int is_in_wanted_cgroup(void)
{
	__u64 set = 0, css = 0, cgroup = 0, node = 0, own = 0, id = 0;
	__u32 level;

	READ(set, bpf_get_current_task(), task_struct, cgroups);
	if (CONFIG(cgroup_subsystem) == TK_UNIFIED) {
		READ(cgroup, set, css_set, dfl_cgrp);
	} else {
		bpf_probe_read_kernel(&css, sizeof(css),
				      (void *)(ADDRESS(set, css_set, subsys) + 8 * CONFIG(cgroup_subsystem)));
		READ(cgroup, css, cgroup_subsys_state, cgroup);
	}
	for (level = 0; level < CGROUP_LEVELS && cgroup; level++) {
		READ(node, cgroup, cgroup, kn);
		READ(id, node, kernfs_node, id);
		if (bpf_map_lookup_elem(MAP(filter_cgroups), &id))
			return 1;
		/* A group's own state, whatever the controller, has that of the group above it as parent. */
		own = ADDRESS(cgroup, cgroup, self);
		READ(css, own, cgroup_subsys_state, parent);
		cgroup = 0;
		if (css)
			READ(cgroup, css, cgroup_subsys_state, cgroup);
	}
	return 0;
}

/* Whether events of a process are wanted, which runs now or is just being started by what runs now. */
INLINE int is_wanted(__u32 pid)
{
	__u32 current = bpf_get_current_pid_tgid() >> 32, uid = bpf_get_current_uid_gid();
	char comm[TK_COMM_BYTES] = {};

	if (pid == CONFIG(self_pid))
		return 0;
	if (CONFIG(filters) & TK_FILTER_PID && !bpf_map_lookup_elem(MAP(filter_pids), &pid))
		return 0;
	if (CONFIG(filters) & TK_FILTER_TREE && !bpf_map_lookup_elem(MAP(filter_tree), &current))
		return 0;
	if (CONFIG(filters) & TK_FILTER_UID && !bpf_map_lookup_elem(MAP(filter_uids), &uid))
		return 0;
	if (CONFIG(filters) & TK_FILTER_COMM) {
		bpf_get_current_comm(comm, sizeof(comm));
		if (!bpf_map_lookup_elem(MAP(filter_comms), comm))
			return 0;
	}
	if (CONFIG(filters) & TK_FILTER_CGROUP && !is_in_wanted_cgroup())
		return 0;
	return 1;
}

#endif
