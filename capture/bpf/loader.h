/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One source, two loaders. `core` compiles these programs when the package is built, and libbpf relocates each field
 * access to the running kernel. `bcc` (TK_BCC) compiles them on the target, perhaps with headers of another kernel: it
 * therefore never looks at a kernel struct of those headers, but gets each offset as a macro, taken from the kernel's
 * own type information, and each map as a descriptor of one that the agent made from its MAP_OF line.
 */
#ifndef TRACEKIT_LOADER_H
#define TRACEKIT_LOADER_H

#define INLINE static __attribute__((always_inline)) inline

/*
 * MAP_OF(type, name, key bytes, value bytes, entries, flags)   declare a map; the agent changes the entries at will
 * MAP(name)                                                   the map, as the helpers want it
 * READ(into, address, type, field)                            copy one field of the kernel struct at address
 * ADDRESS(address, type, field)                              where that field is
 * KERNEL_HAS(type, field)                                     the running kernel's struct has that field
 * CONFIG(field)                                               struct tk_config
 */
#ifdef TK_BCC

#include "events.h"

#define PROGRAM(kind)
#define MAP_OF(type, name, key_bytes, value_bytes, entries, flags)
#define MAP(name) ((void *)bpf_pseudo_fd(1, FD_##name))
#define READ(into, address, type, field) \
	bpf_probe_read_kernel(&(into), sizeof(into), (void *)((address) + OFFSET_##type##_##field))
#define ADDRESS(address, type, field) ((address) + OFFSET_##type##_##field)
#define KERNEL_HAS(type, field) HAS_##type##_##field
#define CONFIG(field) CONFIG_##field

#else

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "events.h"
#include "kernel.h"

#define PROGRAM(kind) SEC(kind)
#define MAP_OF(map_type, name, key_bytes, value_bytes, entries, flags) \
	struct {                                                       \
		__uint(type, map_type);                                \
		__uint(key_size, key_bytes);                           \
		__uint(value_size, value_bytes);                       \
		__uint(max_entries, entries);                          \
		__uint(map_flags, flags);                              \
	} name SEC(".maps");
#define MAP(name) ((void *)&name)
#define READ(into, address, type, field) bpf_core_read(&(into), sizeof(into), &((struct type *)(address))->field)
#define ADDRESS(address, type, field) \
	((__u64)__builtin_preserve_access_index(&((struct type *)(address))->field))
#define KERNEL_HAS(type, field) bpf_core_field_exists(((struct type *)0)->field)
#define CONFIG(field) config.field

const volatile struct tk_config config;
char LICENSE[] SEC("license") = "GPL";

#endif

/* What a program at a plain tracepoint returns: with 0 it would take the event away from perf, which may record it, too. */
#define PASS_ON 1

/* The layout of every tracepoint of a system call. */
struct tk_enter {
	__u64 common;
	__u64 number;
	__u64 args[6];
};

struct tk_leave {
	__u64 common;
	__u64 number;
	__s64 ret;
};

#define COUNT(counters, what)                                        \
	do {                                                         \
		if (counters)                                        \
			__sync_fetch_and_add(&(counters)->what, 1);  \
	} while (0)

/* The length that a helper returned, or 0 if it failed or has more than the limit. The compiler must not take the
 * comparison apart, or the verifier does not see that it holds. */
INLINE __u64 length_of(long returned, __u64 limit)
{
	__u64 length = returned;

	asm volatile("" : "+r"(length));
	return length > limit ? 0 : length;
}

/* The counters of this CPU. A plain array with an entry per CPU, since only that can be mapped by the agent; the
 * additions are atomic, since an interrupt may bring an event of the same family in between. */
INLINE struct tk_counters *counters_in(void *map)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(map, &cpu);
}

/* The agent drains on a timer, and is woken where a ring has passed a quarter; looked at now and then, since asking the
 * ring twice costs as much as a clock. */
INLINE __u64 wakeup(void *ring, struct tk_counters *counters)
{
	/* An odd number, or of events that come in turns some would never be looked at. */
	if (counters && counters->seen % 127)
		return BPF_RB_NO_WAKEUP;
	return bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) < bpf_ringbuf_query(ring, BPF_RB_RING_SIZE) / 4 ?
		       BPF_RB_NO_WAKEUP :
		       BPF_RB_FORCE_WAKEUP;
}

#endif
