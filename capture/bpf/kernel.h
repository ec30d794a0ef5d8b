/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fields of kernel structs that the programs read. Only the names count: libbpf finds each offset in the running
 * kernel's type information. The bcc loader takes the same names from capture/probes.py.
 */
#ifndef TRACEKIT_KERNEL_H
#define TRACEKIT_KERNEL_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct signal_struct {
	struct {
		int counter;
	} live;
	int group_exit_code;
	unsigned int flags;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	__u64 start_boottime;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct signal_struct *signal;
	struct mm_struct *mm;
	struct css_set *cgroups;
};

struct linux_binprm {
	const char *filename;
};

struct gendisk {
	int major;
	int first_minor;
};

struct request_queue {
	struct gendisk *disk;
};

struct request {
	struct request_queue *q;
	struct gendisk *rq_disk;
	unsigned int cmd_flags;
	unsigned int __data_len;
	__u64 __sector;
};

#pragma clang attribute pop

#endif
